//! The caller's files, written into the workspace before the payload starts.
//!
//! Their paths are checked when they are submitted; they are written when the workspace is there,
//! in which an earlier payload of the session may have planted anything. Nothing is replaced and no
//! link is followed. After an error the files before the one it names stay.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, mkdirat};
use supervisor_api::{InputFile, Limit};

use super::beneath;
use super::path::{InvalidPath, WorkspacePath};
use super::usage::usage;

/// Files of one submission: more than that is an archive's work.
pub const MAX_FILES: usize = 1024;

const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);
const EXECUTABLE: Mode = Mode::from_bits_truncate(0o755);
const PLAIN: Mode = Mode::from_bits_truncate(0o644);

/// What is wrong with a submission's files, before anything is written. Indices count from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidFiles {
    /// There are more than [`MAX_FILES`].
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A path breaks a rule.
    Path {
        /// The file.
        index: usize,
        /// The rule.
        rule: InvalidPath,
    },
    /// A path is there twice.
    Duplicate {
        /// The second file.
        index: usize,
        /// The first one.
        first: usize,
    },
    /// A path needs a directory where another file of the submission is.
    BeneathFile {
        /// The file whose path it is.
        index: usize,
        /// The file that is in the way.
        file: usize,
    },
}

/// Why a file was not written.
#[derive(Debug)]
pub enum WriteFilesError {
    /// The files can't be written anywhere.
    Invalid(InvalidFiles),
    /// Something stands at the path already.
    Occupied {
        /// The file.
        index: usize,
    },
    /// Something stands where the path needs a directory: a file, or a link wherever it leads.
    NotADirectory {
        /// The file.
        index: usize,
    },
    /// The workspace is full.
    Full {
        /// The file.
        index: usize,
        /// `workspace_bytes` or `workspace_inodes`.
        limit: Limit,
    },
    /// The system refused.
    System {
        /// The file.
        index: usize,
        /// What was being done.
        operation: &'static str,
        /// The answer.
        source: std::io::Error,
    },
}

/// Checks the paths of a submission's files, alone and against each other.
pub fn check_files(files: &[InputFile]) -> Result<Vec<WorkspacePath>, InvalidFiles> {
    if files.len() > MAX_FILES {
        return Err(InvalidFiles::TooMany { count: files.len() });
    }
    let mut paths = Vec::with_capacity(files.len());
    for (index, file) in files.iter().enumerate() {
        let path = WorkspacePath::try_from(file.path.as_str());
        paths.push(path.map_err(|rule| InvalidFiles::Path { index, rule })?);
    }
    let mut by_path = HashMap::with_capacity(paths.len());
    for (index, path) in paths.iter().enumerate() {
        if let Some(first) = by_path.insert(path.as_str(), index) {
            return Err(InvalidFiles::Duplicate { index, first });
        }
    }
    for (index, path) in paths.iter().enumerate() {
        if let Some(&file) = path.ancestors().find_map(|parent| by_path.get(parent)) {
            return Err(InvalidFiles::BeneathFile { index, file });
        }
    }
    Ok(paths)
}

/// Writes a submission's files into the workspace, with the directories that lead to them. Files
/// get mode 0644, or 0755 if they are executable, directories 0755, whatever the umask is.
///
/// The caller bounds the number of bytes, by the size of the request that held them.
pub fn write_files(root: BorrowedFd<'_>, files: &[InputFile]) -> Result<(), WriteFilesError> {
    let paths = check_files(files).map_err(WriteFilesError::Invalid)?;
    for (index, (file, path)) in files.iter().zip(&paths).enumerate() {
        write_file(root, file, path).map_err(|failed| failed.about(root, index))?;
    }
    Ok(())
}

impl InvalidFiles {
    /// The field of the request that it is about, such as `files[3].path`.
    pub fn field(&self) -> String {
        match self {
            Self::TooMany { .. } => "files".to_owned(),
            Self::Path { index, .. }
            | Self::Duplicate { index, .. }
            | Self::BeneathFile { index, .. } => path_field(*index),
        }
    }
}

impl fmt::Display for InvalidFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { count } => write!(f, "{count} files are more than {MAX_FILES}"),
            Self::Path { rule, .. } => rule.fmt(f),
            Self::Duplicate { first, .. } => {
                write!(f, "the path is that of {} again", path_field(*first))
            }
            Self::BeneathFile { file, .. } => {
                write!(f, "the path needs a directory where {} puts a file", path_field(*file))
            }
        }
    }
}

impl std::error::Error for InvalidFiles {}

impl WriteFilesError {
    /// The field of the request that it is about, such as `files[3].path`.
    pub fn field(&self) -> String {
        match self {
            Self::Invalid(invalid) => invalid.field(),
            Self::Occupied { index } | Self::NotADirectory { index } => path_field(*index),
            Self::Full { index, .. } | Self::System { index, .. } => format!("files[{index}]"),
        }
    }
}

impl fmt::Display for WriteFilesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Occupied { .. } => {
                write!(f, "{}: something stands there already", self.field())
            }
            Self::NotADirectory { .. } => {
                write!(
                    f,
                    "{}: the path leads through something else than directories",
                    self.field()
                )
            }
            Self::Full { limit, .. } => {
                write!(f, "{} does not fit into the workspace: {limit} is reached", self.field())
            }
            Self::System { operation, .. } => write!(f, "{operation} {} failed", self.field()),
        }
    }
}

impl std::error::Error for WriteFilesError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            Self::Invalid(_)
            | Self::Occupied { .. }
            | Self::NotADirectory { .. }
            | Self::Full { .. } => None,
        }
    }
}

struct Failed {
    operation: &'static str,
    source: std::io::Error,
}

impl Failed {
    fn at<E: Into<std::io::Error>>(operation: &'static str) -> impl Fn(E) -> Self {
        move |source| Self { operation, source: source.into() }
    }

    fn about(self, root: BorrowedFd<'_>, index: usize) -> WriteFilesError {
        let Self { operation, source } = self;
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EEXIST) => WriteFilesError::Occupied { index },
            Some(Errno::ELOOP | Errno::ENOTDIR) => WriteFilesError::NotADirectory { index },
            Some(Errno::ENOSPC | Errno::EDQUOT) => match full_limit(root) {
                Ok(limit) => WriteFilesError::Full { index, limit },
                Err(source) => {
                    let operation = "counting the full workspace while writing";
                    WriteFilesError::System { index, operation, source }
                }
            },
            _ => WriteFilesError::System { index, operation, source },
        }
    }
}

fn path_field(index: usize) -> String {
    format!("files[{index}].path")
}

/// ENOSPC and EDQUOT don't say what there is too much of.
fn full_limit(root: BorrowedFd<'_>) -> std::io::Result<Limit> {
    let usage = usage(root)?;
    let no_inode_left = usage.inodes > 0 && usage.inodes_free == 0;
    Ok(if no_inode_left { Limit::WorkspaceInodes } else { Limit::WorkspaceBytes })
}

fn write_file(root: BorrowedFd<'_>, file: &InputFile, path: &WorkspacePath) -> Result<(), Failed> {
    let (parents, name) = path.split();
    let mut innermost: Option<OwnedFd> = None;
    for parent in parents {
        let directory = innermost.as_ref().map_or(root, |opened| opened.as_fd());
        innermost = Some(enter(directory, parent)?);
    }
    let directory = innermost.as_ref().map_or(root, |opened| opened.as_fd());
    let mode = if file.executable { EXECUTABLE } else { PLAIN };
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
    let created = beneath::open(directory, name, flags, mode).map_err(Failed::at("creating"))?;
    let mut created = File::from(created);
    created.write_all(&file.content.0).map_err(Failed::at("writing"))?;
    fchmod(&created, mode).map_err(Failed::at("setting the mode of"))
}

/// Opens a directory that leads to a file, or makes it.
fn enter(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd, Failed> {
    let opening = Failed::at("opening a directory of");
    let path_only = OFlag::O_PATH | OFlag::O_DIRECTORY;
    match beneath::open(directory, name, path_only, Mode::empty()) {
        Err(Errno::ENOENT) => {}
        opened => return opened.map_err(opening),
    }
    mkdirat(directory, name, DIRECTORY).map_err(Failed::at("making a directory of"))?;
    let made = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let made = beneath::open(directory, name, made, Mode::empty()).map_err(opening)?;
    fchmod(&made, DIRECTORY).map_err(Failed::at("setting the mode of a directory of"))?;
    Ok(made)
}

#[cfg(test)]
mod tests;
