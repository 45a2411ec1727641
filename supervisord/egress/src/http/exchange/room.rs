//! Room in memory for a request, from when its head is here to the end of its answer.

use http::Request;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::super::fields;
use super::Conversation;
use crate::limits::{FIELD, REQUEST_KIB};
use crate::refused::Refused;

impl Conversation {
    /// Room for a request. Nobody waits for it: a head that waits is held.
    ///
    /// # Errors
    ///
    /// When the session's requests under way take all that there is.
    pub(super) fn room_for(
        &self,
        request: &Request<Incoming>,
    ) -> Result<OwnedSemaphorePermit, Refused> {
        let fields = request.headers();
        let head = fields::size(fields) + FIELD * fields.len() + target(request);
        let kib = REQUEST_KIB + 2 * head.div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        self.session.requests.clone().try_acquire_many_owned(kib).map_err(|_| {
            let refused = Refused::too_many("requests under way");
            self.session.refuse_crowd(self.via.subject(), &refused);
            refused
        })
    }
}

fn target(request: &Request<Incoming>) -> usize {
    request.uri().path_and_query().map_or(1, |target| target.as_str().len())
}
