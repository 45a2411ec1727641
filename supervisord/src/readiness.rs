//! Waiting for descriptors that the runtime has no type for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime.
#[expect(
    deprecated,
    reason = "its successor is unsafe for types that may change their descriptor under the \
              runtime; a type that hands out its descriptor by AsFd keeps it (I/O safety)"
)]
pub fn register<T: AsFd + AsRawFd>(fd: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(fd, interest)
}
