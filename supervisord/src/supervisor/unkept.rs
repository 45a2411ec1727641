//! What a caller is told where the state directory does not take what is to be kept there.

use std::io;

use supervisor_api::{ApiError, ErrorCode};

use super::{internal, not_found};
use crate::descriptors;
use crate::store::StoreError;

/// A file of the state could not be read or written.
pub(crate) fn storage(error: io::Error) -> ApiError {
    match error {
        error if is_full(&error) => full(),
        error if descriptors::are_short(&error) => descriptors::refusal(),
        error if is_unwritable(&error) => unwritable(error),
        error => internal(error),
    }
}

/// Whether the file system is there to be read only, or fails.
fn is_unwritable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EROFS | nix::libc::EIO))
}

fn unwritable(error: impl std::fmt::Display) -> ApiError {
    tracing::error!(%error, "the state directory can't be written");
    ApiError::new(ErrorCode::Unavailable, "the state directory can't be written").with_hint(
        "an administrator looks at its disk (is it mounted read-only? what does the kernel's log say?); the daemon's \
         journal has the cause",
    )
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn full() -> ApiError {
    ApiError::new(ErrorCode::StorageFull, "the state directory is full")
        .with_hint("try again later; nothing was run")
}

/// The store did not do it.
pub(crate) fn from_store(error: &StoreError) -> ApiError {
    match error {
        StoreError::Full { .. } => full(),
        StoreError::Unknown { .. } => not_found(),
        other if other.is_of_the_disk() => unwritable(other),
        other => internal(other),
    }
}
