//! Why something could not be done with images.

use std::path::PathBuf;
use std::{fmt, io};

use crate::{ImageId, ImageName};

/// Why something could not be done with images.
#[derive(Debug)]
pub enum ImageError {
    /// An operation of this host failed.
    Failed {
        /// What was being done, with the object's name.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The directory is no store, or somebody else than root could write there.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The archive was refused, with the unpacker's words.
    Refused(String),
    /// There is no image of this name.
    NoName(ImageName),
    /// There is no image of this digest.
    NoImage(ImageId),
    /// A launcher has it, or somebody works with it.
    InUse(ImageId),
    /// The file of a name is not what was put there; which image it stood for is not known any more.
    DamagedName {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What is in the store is not what was put there.
    Damaged {
        /// The image.
        id: ImageId,
        /// What is wrong.
        why: String,
    },
}

impl ImageError {
    /// A failed operation of this host.
    pub(crate) fn failed(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Failed { doing, source }
    }

    /// A short, stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            ImageError::Failed { .. } => "failed",
            ImageError::NotOurs { .. } => "not_ours",
            ImageError::Refused(_) => "archive_refused",
            ImageError::NoName(_) | ImageError::NoImage(_) => "not_imported",
            ImageError::InUse(_) => "in_use",
            ImageError::DamagedName { .. } | ImageError::Damaged { .. } => "damaged",
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Failed { doing, .. } => f.write_str(doing),
            ImageError::NotOurs { path, why } => {
                write!(f, "cannot use {} for images: {why}", path.display())
            }
            ImageError::Refused(why) => write!(f, "the image is refused: {why}"),
            ImageError::NoName(name) => write!(
                f,
                "image {name} is not imported: supervisorctl image import ARCHIVE --name {name}"
            ),
            ImageError::NoImage(id) => {
                write!(f, "image {id} is not imported: supervisorctl image import ARCHIVE")
            }
            ImageError::InUse(id) => write!(
                f,
                "image {id} is in use: a sandbox has it, or somebody works with it; try again when what \
                 runs in it has ended; `supervisorctl reload` gives up what is parked in it"
            ),
            ImageError::DamagedName { path, why } => write!(
                f,
                "the file of a name, {}, is damaged: {why}; nothing is collected until its image is imported \
                 again with the same --name, or the file is removed and the name with it",
                path.display()
            ),
            ImageError::Damaged { id, why } => {
                write!(f, "image {id} is damaged: {why}; import it again while nothing runs on it")
            }
        }
    }
}

impl std::error::Error for ImageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ImageError::Failed { source, .. } => Some(source),
            _ => None,
        }
    }
}
