//! Interim responses (RFC 9110 §15.2) of one request. They are not passed on, so an upstream that makes
//! nothing else would keep us busy for as long as its answer is waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Request;
use hyper::ext::on_informational;
use tokio::sync::Notify;

use crate::limits::MAX_INTERIM;

/// How many there were.
#[derive(Debug, Default)]
pub struct Interim {
    count: AtomicU32,
    enough: Notify,
}

impl Interim {
    /// Counts those of a request that is about to be sent over HTTP/1.1; of HTTP/2 the frames are counted.
    pub fn of<B>(request: &mut Request<B>) -> Arc<Self> {
        let interim = Arc::new(Self::default());
        let counted = interim.clone();
        on_informational(request, move |_| {
            if counted.count.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
                counted.enough.notify_one();
            }
        });
        interim
    }

    /// Ready when there are more than anybody needs.
    pub async fn too_many(&self) {
        self.enough.notified().await;
    }
}
