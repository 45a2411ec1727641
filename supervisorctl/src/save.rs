//! Artifacts on their way to this machine's disk. Their names and bytes are the payload's choice,
//! so everything is checked again here: a name stays beneath the directory that the operator named,
//! no symbolic link beneath it is followed, nothing that exists is overwritten unless the operator
//! said so, and a file whose digest is wrong does not stay.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::failure::Failure;
use crate::{paths, terminal};

/// Mode of new directories, before the umask.
const DIRECTORY_MODE: u32 = 0o777;

/// Mode of new files, before the umask. Never executable: what a sandboxed program wrote should not
/// run outside by a slip of the fingers.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o666);

/// Temporary names of this process.
static TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// The directory that artifacts are saved beneath. If we made it and it stays empty, it disappears
/// again.
#[derive(Debug)]
pub struct Destination {
    path: PathBuf,
    directory: OwnedFd,
    force: bool,
    is_new: bool,
}

/// A file that is being written. It disappears again unless it is committed.
#[derive(Debug)]
pub struct Pending {
    directory: OwnedFd,
    file: File,
    /// The name it has now.
    current: OsString,
    /// The name it gets in the end.
    name: OsString,
    committed: bool,
    shown: PathBuf,
}

impl Destination {
    /// A directory that must not exist yet.
    pub fn create(path: PathBuf, force: bool) -> Result<Self, Failure> {
        std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&path).map_err(Failure::local(
            format!("cannot make the directory {} for the artifacts", path.display()),
        ))?;
        Self::open(path, force, true)
    }

    /// A directory that the operator named; made if it is missing.
    pub fn create_or_open(path: PathBuf, force: bool) -> Result<Self, Failure> {
        match std::fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&path) {
            Ok(()) => Self::open(path, force, true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Self::open(path, force, false)
            }
            Err(source) => {
                let doing = format!("cannot make the directory {}", path.display());
                Err(Failure::Local { doing, source })
            }
        }
    }

    fn open(path: PathBuf, force: bool, is_new: bool) -> Result<Self, Failure> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = open(&path, flags, Mode::empty())
            .map_err(|errno| failed("cannot open the directory", &path, errno))?;
        Ok(Self { path, directory, force, is_new })
    }

    /// Begins a file beneath the directory; the directories on its way are made.
    pub fn begin(&self, path: &str) -> Result<Pending, Failure> {
        if !paths::is_beneath(path) {
            let name = terminal::name(path).into_owned();
            return Err(Failure::Negative(format!(
                "the artifact path {name} leaves its directory"
            )));
        }
        let shown = self.path.join(path);
        let (parents, name) = match path.rsplit_once('/') {
            Some((parents, name)) => (Some(parents), name),
            None => (None, path),
        };
        let mut directory = self
            .directory
            .try_clone()
            .map_err(Failure::local("cannot duplicate the directory's descriptor"))?;
        for part in parents.iter().flat_map(|parents| parents.split('/')) {
            directory = descend(directory, part)
                .map_err(|errno| failed("cannot make the directories of", &shown, errno))?;
        }
        begin(directory, name.as_ref(), self.force, shown)
    }
}

/// Begins a file at a path of the operator's choice. What stands there stays until the new one is whole, and is
/// replaced, not written through, if it is a link.
pub fn file(path: &Path, force: bool) -> Result<Pending, Failure> {
    let name = path.file_name().ok_or_else(|| {
        Failure::Usage(format!("{} is no name for a file", terminal::name(&path.to_string_lossy())))
    })?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let directory = open(parent.unwrap_or(Path::new(".")), flags, Mode::empty())
        .map_err(|errno| failed("cannot open the directory of", path, errno))?;
    begin(directory, name, force, path.to_owned())
}

fn begin(
    directory: OwnedFd,
    name: &OsStr,
    force: bool,
    shown: PathBuf,
) -> Result<Pending, Failure> {
    let current = if force { temporary_name() } else { name.to_owned() };
    let replaced = fstatat(directory.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW);
    // Such as a device, which bytes would go to and which nobody wants replaced.
    if let (true, Ok(found)) = (force, replaced)
        && ![SFlag::S_IFREG, SFlag::S_IFLNK].contains(&kind(found.st_mode))
    {
        return Err(failed("cannot replace", &shown, Errno::EEXIST));
    }
    let flags =
        OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file =
        openat(directory.as_fd(), current.as_os_str(), flags, FILE_MODE).map_err(|errno| {
            match errno {
                Errno::EEXIST => {
                    let shown = shown.to_string_lossy();
                    let doing =
                        format!("cannot create {} (--force replaces)", terminal::name(&shown));
                    Failure::Local { doing, source: errno.into() }
                }
                errno => failed("cannot create", &shown, errno),
            }
        })?;
    let (file, name) = (File::from(file), name.to_owned());
    Ok(Pending { directory, file, current, name, committed: false, shown })
}

fn kind(mode: u32) -> SFlag {
    SFlag::from_bits_truncate(mode) & SFlag::S_IFMT
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.is_new {
            // This removes empty directories only, so what was saved stays.
            std::fs::remove_dir(&self.path).ok();
        }
    }
}

impl Pending {
    /// Appends bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let doing = || format!("cannot write {}", self.shown.display());
        self.file.write_all(bytes).map_err(|source| Failure::Local { doing: doing(), source })
    }

    /// Waits until the bytes are on the disk.
    pub fn sync(&self) -> Result<(), Failure> {
        let doing = || format!("cannot write {}", self.shown.display());
        self.file.sync_all().map_err(|source| Failure::Local { doing: doing(), source })
    }

    /// Gives the file its name and leaves it; tells where it is.
    pub fn commit(mut self) -> Result<PathBuf, Failure> {
        if self.current != self.name {
            let (from, to) = (self.current.as_os_str(), self.name.as_os_str());
            renameat(self.directory.as_fd(), from, self.directory.as_fd(), to)
                .map_err(|errno| failed("cannot replace", &self.shown, errno))?;
        }
        self.committed = true;
        Ok(self.shown.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            // The failure that led here is what the operator is told.
            let name = self.current.as_os_str();
            unlinkat(self.directory.as_fd(), name, UnlinkatFlags::NoRemoveDir).ok();
        }
    }
}

/// Enters a directory, made if missing; a symbolic link in its place is an error.
fn descend(directory: OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match mkdirat(directory.as_fd(), name, Mode::from_bits_truncate(DIRECTORY_MODE)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory.as_fd(), name, flags, Mode::empty())
}

fn temporary_name() -> OsString {
    let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
    format!(".supervisorctl-{}-{number}", std::process::id()).into()
}

fn failed(doing: &str, path: &Path, errno: Errno) -> Failure {
    let shown = path.to_string_lossy();
    Failure::Local { doing: format!("{doing} {}", terminal::name(&shown)), source: errno.into() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn save(destination: &Destination, path: &str, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let mut pending = destination.begin(path)?;
        pending.write(bytes)?;
        pending.commit()
    }

    #[test]
    fn a_file_is_saved_beneath_directories_of_its_own_and_is_not_executable() {
        let scratch = tempfile::tempdir().expect("a directory");
        let destination = Destination::create(scratch.path().join("out"), false).expect("new");
        let path = save(&destination, "a/b/c.txt", b"x").expect("saved");
        assert_eq!(fs::read(&path).expect("there"), b"x");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o111, 0);
    }

    #[test]
    fn what_stands_at_a_path_of_the_operators_choice_stays_until_the_new_file_is_whole() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (path, other) = (scratch.path().join("kept"), scratch.path().join("other"));
        fs::write(&path, "old").expect("written");
        assert!(file(&path, false).is_err());
        let mut broken = file(&path, true).expect("begun");
        broken.write(b"ne").expect("room");
        drop(broken);
        assert_eq!(fs::read(&path).expect("there"), b"old");
        symlink(&path, &other).expect("a link");
        let mut new = file(&other, true).expect("begun");
        new.write(b"new").expect("room");
        new.commit().expect("committed");
        let read = |path: &Path| fs::read(path).expect("there");
        assert_eq!((read(&path), read(&other)), (b"old".to_vec(), b"new".to_vec()));
        nix::unistd::mkfifo(&scratch.path().join("fifo"), Mode::S_IRWXU).expect("made");
        assert!(file(&scratch.path().join("fifo"), true).is_err());
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 3);
    }

    #[test]
    fn an_artifact_cannot_leave_the_directory() {
        let scratch = tempfile::tempdir().expect("a directory");
        let out = scratch.path().join("out");
        let destination = Destination::create(out.clone(), true).expect("new");
        symlink(scratch.path(), out.join("up")).expect("a link");
        for path in ["../x", "/x", "a/../../x", "up/x", ""] {
            assert!(save(&destination, path, b"x").is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(scratch.path()).expect("readable").count(), 1);
    }

    #[test]
    fn an_existing_file_is_overwritten_only_with_force_and_a_link_is_replaced_not_followed() {
        let scratch = tempfile::tempdir().expect("a directory");
        let out = scratch.path().join("out");
        let careful = Destination::create(out.clone(), false).expect("new");
        fs::write(out.join("x"), b"old").expect("written");
        fs::write(scratch.path().join("victim"), b"old").expect("written");
        symlink("../victim", out.join("link")).expect("a link");
        assert!(save(&careful, "x", b"new").is_err());
        assert!(save(&careful, "link", b"new").is_err());
        assert_eq!(fs::read(out.join("x")).expect("there"), b"old");
        let bold = Destination::create_or_open(out.clone(), true).expect("there");
        save(&bold, "x", b"new").expect("replaced");
        save(&bold, "link", b"new").expect("replaced");
        assert_eq!(fs::read(out.join("x")).expect("there"), b"new");
        assert_eq!(fs::read(scratch.path().join("victim")).expect("there"), b"old");
    }

    #[test]
    fn a_file_that_is_not_committed_disappears_and_what_it_would_replace_stays() {
        let scratch = tempfile::tempdir().expect("a directory");
        let out = scratch.path().join("out");
        let bold = Destination::create(out.clone(), true).expect("new");
        fs::write(out.join("x"), b"old").expect("written");
        for name in ["x", "y"] {
            let mut pending = bold.begin(name).expect("begun");
            pending.write(b"half").expect("written");
            drop(pending);
        }
        let names: Vec<_> = fs::read_dir(&out).expect("readable").collect();
        assert_eq!(names.len(), 1);
        assert_eq!(fs::read(out.join("x")).expect("there"), b"old");
    }

    #[test]
    fn a_directory_that_stayed_empty_is_taken_away() {
        let scratch = tempfile::tempdir().expect("a directory");
        let out = scratch.path().join("out");
        drop(Destination::create(out.clone(), false).expect("new"));
        assert!(!out.exists());
        fs::create_dir(&out).expect("made");
        drop(Destination::create_or_open(out.clone(), false).expect("there"));
        assert!(out.exists());
    }
}
