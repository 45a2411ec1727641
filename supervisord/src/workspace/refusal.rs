//! Why a file of a workspace is not kept, and what ends collecting altogether.

use std::{fmt, io};

use nix::errno::Errno;

use super::path::InvalidPath;

/// The reason of what lies deeper than paths here go, or has a longer one.
pub const TOO_DEEP: &str = "too_deep";

/// The reason of what the disk that artifacts are kept on has no room for.
pub const NO_ROOM: &str = "no_room";

/// Why a path that matched is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is a symbolic link.
    SymbolicLink,
    /// It is a directory, FIFO, socket or device.
    NotRegularFile,
    /// It has a second name, which may be anywhere.
    HardLink,
    /// It is larger than what is left of `artifact_bytes`.
    ArtifactBytes,
    /// `artifact_count` is reached, or the list has no room for its path.
    ArtifactCount,
    /// The state's file system has no more room than stays free.
    NoRoom,
    /// Its name is not UTF-8 or holds a control character.
    InvalidName,
    /// It is deeper or its path longer than a [`WorkspacePath`](super::WorkspacePath) can be.
    TooDeep,
    /// It was another file, or of another size, than a moment before.
    Changed,
    /// The file system won't let the daemon read it, or it belongs to somebody else.
    Unreadable,
}

/// What kept a file from being kept.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The file itself: it is left out, the others go on.
    Refused(Refusal),
    /// The daemon's own store or resources: nothing can go on.
    Failed(io::Error),
}

#[derive(Debug)]
struct Failure {
    operation: String,
    source: io::Error,
}

impl Refusal {
    /// The reason as it stands in the list of artifacts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::SymbolicLink => "symbolic_link",
            Self::NotRegularFile => "not_regular_file",
            Self::HardLink => "hard_link",
            Self::ArtifactBytes => "artifact_bytes",
            Self::ArtifactCount => "artifact_count",
            Self::NoRoom => NO_ROOM,
            Self::InvalidName => "invalid_name",
            Self::TooDeep => TOO_DEEP,
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether a limit is the reason.
    pub(super) const fn is_limit(self) -> bool {
        matches!(self, Self::ArtifactBytes | Self::ArtifactCount | Self::NoRoom | Self::TooDeep)
    }
}

impl From<InvalidPath> for Refusal {
    fn from(rule: InvalidPath) -> Self {
        match rule {
            InvalidPath::TooLong | InvalidPath::TooDeep => Self::TooDeep,
            InvalidPath::Empty
            | InvalidPath::Absolute
            | InvalidPath::Outside
            | InvalidPath::EmptyComponent
            | InvalidPath::DotComponent
            | InvalidPath::LongComponent
            | InvalidPath::ControlCharacter
            | InvalidPath::NotUtf8 => Self::InvalidName,
        }
    }
}

impl Obstacle {
    /// What it means that a file which was just seen can't be opened or looked at.
    pub(super) fn of_open(error: Errno) -> Self {
        match error {
            // No file can bring these about: the daemon is out of something, or confined wrongly.
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOMEM
            | Errno::EBADF
            | Errno::EINVAL
            | Errno::ENOSYS => Self::failed("opening a file of the workspace", error),
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP => Self::Refused(Refusal::Changed),
            _ => Self::Refused(Refusal::Unreadable),
        }
    }

    /// An operation of the daemon's own that went wrong.
    pub(super) fn failed(operation: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Failed(failure(operation, source))
    }
}

/// An error that says what was being done, with the system's answer as its source.
pub(super) fn failure(operation: impl Into<String>, source: impl Into<io::Error>) -> io::Error {
    let (operation, source) = (operation.into(), source.into());
    io::Error::new(source.kind(), Failure { operation, source })
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.operation)
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}
