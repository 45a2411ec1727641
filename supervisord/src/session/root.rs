//! The root directory of a session's workspace, as the daemon has it open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use crate::admission::KeptPlace;
use crate::elsewhere::Elsewhere;

/// It is closed elsewhere.
pub type Root = Elsewhere<Open>;

/// Its blocks are its owner's for as long as anybody has it open, whatever has become of the session: with the last who
/// closes it the session's place is given back.
#[derive(Debug)]
pub struct Open {
    directory: OwnedFd,
    _place: Option<Arc<KeptPlace>>, // dropped in this order
}

impl Open {
    /// As it was given by the launcher, in this place of its owner's.
    pub fn of(directory: OwnedFd, place: Option<Arc<KeptPlace>>) -> Self {
        Self { directory, _place: place }
    }
}

impl AsFd for Open {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::admission::{Admission, Bounds};

    #[test]
    fn a_sessions_place_is_taken_until_the_last_who_has_it_open_has_closed_it() {
        let admission = Admission::new(Bounds {
            running: 1,
            running_per_uid: 1,
            waiting_per_uid: 1,
            waiting: 1,
            memory_per_uid: 0,
            workspace_bytes_per_uid: 0,
            kept_per_uid: 1,
            submission_bytes: 0,
            submission_bytes_per_uid: 0,
        });
        let place = Arc::new(admission.keep(1, 1).unwrap());
        let open = || {
            let directory = File::open("/").unwrap().into();
            Root::new(1, Open::of(directory, Some(place.clone())))
        };
        let (one, other) = (open(), open());
        drop(place);
        drop(one);
        assert!(admission.keep(1, 1).is_err());
        drop(other);
        assert!(admission.keep(1, 1).is_ok());
    }
}
