//! A whole workspace into an empty one.
//!
//! Files are copied by the kernel (copy_file_range(2)), which makes two files share what they hold where one
//! file system has both and can: Btrfs, and XFS made with reflink. Then the time it takes grows with the
//! number of files, not with their size. Elsewhere the bytes are copied, and holes stay holes.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::NixPath;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, copy_file_range, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, futimens, mkdirat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, ftruncate, lseek, symlinkat, syncfs};
use supervisor_api::{CopyReport, FileKind};

use super::error::{FileError, denied};
use crate::workspace::beneath;
use crate::workspace::path::MAX_DEPTH;

/// Bytes that one call copies: what ends in between is noticed after that.
const CHUNK: usize = 64 << 20;

/// Bytes that are read and written at once where the kernel doesn't copy.
const BUFFER: usize = 1 << 20;

/// Entries of a copy at the most, those that are left out among them: more than the inodes of any workspace that
/// policies give out by default.
const MAX_ENTRIES: u64 = 1_000_000;

/// How long a copy takes at the most, as an archive: it has one of the threads for all callers.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Copies all of a workspace, and has it on disk. Files, directories and links as they are, with their
/// permissions and times, as far as these say anything: no set-id bits, no attributes. Each name of a file with
/// several is a file of its own; FIFOs and sockets are left out, and counted. `goes_on` is asked now and then.
///
/// # Errors
/// Where something changes meanwhile, there is no room, or the tree is deeper than paths here can be.
pub fn copy(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    goes_on: &dyn Fn() -> bool,
) -> Result<CopyReport, FileError> {
    let mut copier = Copier::new(goes_on);
    let source = beneath::open_root(from).map_err(failed("open the workspace"))?;
    let target = beneath::open_root(to).map_err(failed("open the copy"))?;
    copier.directory(source, target.as_fd(), MAX_DEPTH)?;
    syncfs(&target).map_err(failed("have the copy on disk"))?;
    Ok(copier.report)
}

/// Copies a file or a link at a path of one workspace to a name in a directory of another, and gives what it is
/// and its size.
pub fn copy_one(
    from: BorrowedFd<'_>,
    path: &str,
    to: BorrowedFd<'_>,
    name: &str,
) -> Result<(FileKind, u64), FileError> {
    let (parent, own) = path.rsplit_once('/').unwrap_or((".", path));
    let mut copier = Copier { path: path.into(), ..Copier::new(&|| true) };
    let opened = beneath::open_directory(from, parent);
    let opened = opened.map_err(copier.kept("open a directory"))?;
    let found = beneath::stat(opened.as_fd(), own).map_err(copier.kept("look at a file"))?;
    let (source, names) = (opened.as_fd(), (own, name));
    let size = u64::try_from(found.st_size).unwrap_or_default();
    match beneath::kind_of(&found) {
        SFlag::S_IFLNK => copier.link(source, to, names).map(|()| (FileKind::SymbolicLink, size)),
        SFlag::S_IFREG => copier.file(source, to, names).map(|()| (FileKind::File, size)),
        SFlag::S_IFDIR => Ok((FileKind::Directory, size)),
        _ => Ok((FileKind::Other, size)),
    }
}

struct Copier<'g> {
    report: CopyReport,
    /// What is copied now, beneath the workspace.
    path: Vec<u8>,
    goes_on: &'g dyn Fn() -> bool,
    /// Entries that it may yet have.
    left: u64,
    until: Instant,
}

impl<'g> Copier<'g> {
    fn new(goes_on: &'g dyn Fn() -> bool) -> Self {
        let (report, until) = (CopyReport::default(), Instant::now() + PATIENCE);
        Self { report, path: Vec::new(), goes_on, left: MAX_ENTRIES, until }
    }

    /// What an answer means where something of the workspace is opened or looked at.
    fn kept(&self, operation: &'static str) -> impl Fn(Errno) -> FileError {
        move |errno| match errno {
            Errno::EACCES | Errno::EPERM => denied(&self.path),
            errno => failed(operation)(errno),
        }
    }

    fn go_on(&self) -> Result<(), FileError> {
        if Instant::now() >= self.until {
            return Err(FileError::TooMuch("the copy took longer than an hour".to_owned()));
        }
        if !(self.goes_on)() {
            return Err(FileError::TooMuch("the copy was broken off".to_owned()));
        }
        Ok(())
    }

    fn directory(
        &mut self,
        source: OwnedFd,
        target: BorrowedFd<'_>,
        depth: usize,
    ) -> Result<(), FileError> {
        let found = fstat(&source).map_err(failed("look at a directory"))?;
        let listed = beneath::open_directory(source.as_fd(), ".");
        let listed = listed.and_then(Dir::from_fd).map_err(failed("read a directory"))?;
        // One by one: hard links make names without inodes, so no limit of the workspace bounds those of a directory.
        for entry in listed {
            let entry = entry.map_err(failed("read a directory"))?;
            let (name, above) = (entry.file_name(), self.path.len());
            if name != c"." && name != c".." {
                self.path.extend((above > 0).then_some(b'/'));
                self.path.extend(name.to_bytes());
                self.entry(source.as_fd(), target, name, depth)?;
                self.path.truncate(above);
            }
        }
        keep(target, &found)
    }

    fn entry(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        name: &CStr,
        depth: usize,
    ) -> Result<(), FileError> {
        self.go_on()?;
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            FileError::TooMuch(format!("the workspace has more than {MAX_ENTRIES} entries"))
        })?;
        let found = beneath::stat(source, name).map_err(self.kept("look at a file"))?;
        match beneath::kind_of(&found) {
            SFlag::S_IFDIR => {
                let Some(depth) = depth.checked_sub(1) else {
                    let problem = format!("directories lie deeper than {MAX_DEPTH} in each other");
                    return Err(FileError::TooMuch(problem));
                };
                let inner = beneath::open_directory(source, name);
                let inner = inner.map_err(self.kept("open a directory"))?;
                mkdirat(target, name, Mode::S_IRWXU).map_err(failed("make a directory"))?;
                let made = beneath::open_directory(target, name);
                let made = made.map_err(failed("open a directory"))?;
                self.directory(inner, made.as_fd(), depth)?;
                self.report.directories += 1;
            }
            SFlag::S_IFLNK => self.link(source, target, (name, name))?,
            SFlag::S_IFREG => self.file(source, target, (name, name))?,
            _ => self.report.left_out += 1,
        }
        Ok(())
    }

    fn link<P: NixPath + ?Sized>(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        (name, new): (&P, &P),
    ) -> Result<(), FileError> {
        let leads = readlinkat(source, name).map_err(failed("read a link"))?;
        symlinkat(leads.as_os_str(), target, new).map_err(failed("make a link"))?;
        self.report.links += 1;
        Ok(())
    }

    fn file<P: NixPath + ?Sized>(
        &mut self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        (name, new): (&P, &P),
    ) -> Result<(), FileError> {
        let opened = beneath::open_file(source, name).map_err(self.kept("open a file"))?;
        let found = fstat(&opened).map_err(failed("look at a file"))?;
        if beneath::kind_of(&found) != SFlag::S_IFREG {
            return Err(FileError::TooMuch("a file became another meanwhile".to_owned()));
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL;
        let made = beneath::open(target, new, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let made = made.map_err(failed("make a file"))?;
        self.content(&opened, &made, found.st_size)?;
        keep(made.as_fd(), &found)?;
        self.report.files += 1;
        self.report.bytes += u64::try_from(found.st_size).unwrap_or_default();
        Ok(())
    }

    /// What a file holds, from one end of data to the next.
    fn content(&mut self, from: &OwnedFd, to: &OwnedFd, size: i64) -> Result<(), FileError> {
        ftruncate(to, size).map_err(failed("make a file"))?;
        let mut place = 0;
        while place < size {
            let data = match lseek(from, place, Whence::SeekData) {
                Err(Errno::ENXIO) => return Ok(()), // nothing but a hole
                other => other.map_err(failed("read a file"))?,
            };
            let hole = lseek(from, data, Whence::SeekHole).map_err(failed("read a file"))?;
            place = self.stretch(from, to, data, hole.min(size))?;
        }
        Ok(())
    }

    fn stretch(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        mut place: i64,
        end: i64,
    ) -> Result<i64, FileError> {
        while place < end {
            self.go_on()?;
            let most = usize::try_from(end - place).unwrap_or(CHUNK).min(CHUNK);
            let (mut read, mut written) = (place, place);
            let copied = match copy_file_range(from, Some(&mut read), to, Some(&mut written), most)
            {
                Err(Errno::EXDEV | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => {
                    carry(from, to, place, most.min(BUFFER))?
                }
                other => other.map_err(failed("copy a file"))?,
            };
            if copied == 0 {
                return Ok(end); // it has become shorter
            }
            place = place.saturating_add_unsigned(copied as u64);
        }
        Ok(place)
    }
}

/// Reads and writes, between file systems that have nothing in common.
fn carry(from: &OwnedFd, to: &OwnedFd, place: i64, most: usize) -> Result<usize, FileError> {
    let mut buffer = vec![0; most];
    let length = nix::sys::uio::pread(from, &mut buffer, place).map_err(failed("read a file"))?;
    let mut left = buffer.get(..length).unwrap_or_default();
    let mut at = place;
    while !left.is_empty() {
        let written = nix::sys::uio::pwrite(to, left, at).map_err(failed("write a file"))?;
        left = left.get(written..).unwrap_or_default();
        at = at.saturating_add_unsigned(written as u64);
    }
    Ok(length)
}

/// Permissions and times as they were.
fn keep(target: BorrowedFd<'_>, found: &FileStat) -> Result<(), FileError> {
    fchmod(target, beneath::mode_of(found) & Mode::from_bits_truncate(0o777))
        .map_err(failed("set permissions"))?;
    let access = TimeSpec::new(found.st_atime, found.st_atime_nsec);
    let change = TimeSpec::new(found.st_mtime, found.st_mtime_nsec);
    futimens(target, &access, &change).map_err(failed("set times"))
}

fn failed(operation: &'static str) -> impl Fn(Errno) -> FileError {
    move |errno| match errno {
        Errno::ENOSPC | Errno::EDQUOT => FileError::NoRoom,
        Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EEXIST => {
            FileError::TooMuch("the workspace changed while it was copied".to_owned())
        }
        errno => {
            FileError::System { operation: operation.to_owned(), source: io::Error::from(errno) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use nix::unistd::mkfifo;

    use super::*;
    use crate::workspace::testing::{Fixture, as_ordinary_user};

    fn copied(from: &Fixture) -> (Fixture, CopyReport) {
        let to = Fixture::new();
        let report = copy(from.root().as_fd(), to.root().as_fd(), &|| true).unwrap();
        (to, report)
    }

    #[test]
    fn everything_is_there_and_links_lead_where_they_led() {
        let from = Fixture::new();
        from.file("d/e/file", "words");
        from.file("tool", "#!/bin/sh");
        from.set_mode("tool", 0o755);
        symlink("/etc/passwd", from.at("link")).unwrap();
        mkfifo(&from.at("fifo"), Mode::S_IRWXU).unwrap();
        fs::hard_link(from.at("tool"), from.at("second")).unwrap();
        let (to, report) = copied(&from);
        assert_eq!(fs::read_to_string(to.at("d/e/file")).unwrap(), "words");
        assert_eq!(to.mode_of("tool"), 0o755);
        assert_eq!(fs::read_link(to.at("link")).unwrap().to_str(), Some("/etc/passwd"));
        assert!(!to.at("fifo").exists());
        assert_eq!(fs::metadata(to.at("second")).unwrap().nlink(), 1);
        let times = |fixture: &Fixture| fs::metadata(fixture.at("tool")).unwrap().mtime_nsec();
        assert_eq!(times(&from), times(&to));
        let expected =
            CopyReport { files: 3, directories: 2, links: 1, bytes: 5 + 9 + 9, left_out: 1 };
        assert_eq!(report, expected);
    }

    #[test]
    fn what_can_not_be_read_is_named_whatever_its_name_is() {
        as_ordinary_user(|| {
            for (name, told) in [("d/one", "d/one"), ("d/a\nb", "\"d/a\\nb\"")] {
                let (from, to) = (Fixture::new(), Fixture::new());
                from.file("d/before/file", "");
                from.file(name, "content");
                // A second name, and so the permissions are not given back.
                fs::hard_link(from.at(name), from.outside().join("two")).unwrap();
                from.set_mode(name, 0o000);
                let refused = copy(from.root().as_fd(), to.root().as_fd(), &|| true).unwrap_err();
                assert!(
                    matches!(&refused, FileError::Denied { path } if path == told),
                    "{refused}"
                );
                fs::remove_file(from.outside().join("two")).unwrap();
                let one = copy_one(from.root().as_fd(), name, to.root().as_fd(), "one");
                assert!(one.is_ok(), "its only name: {one:?}");
            }
        });
    }

    #[test]
    fn a_file_of_a_terabyte_of_nothing_stays_one() {
        let from = Fixture::new();
        let file = fs::File::create(from.at("sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"end", (1 << 40) - 3).unwrap();
        let (to, report) = copied(&from);
        let made = fs::metadata(to.at("sparse")).unwrap();
        assert_eq!((made.len(), report.bytes), (1 << 40, 1 << 40));
        assert!(made.blocks() < 1024, "{} blocks", made.blocks());
        let mut end = [0; 3];
        let file = fs::File::open(to.at("sparse")).unwrap();
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut end, (1 << 40) - 3).unwrap();
        assert_eq!(&end, b"end");
    }

    #[test]
    fn a_copy_has_so_many_entries_however_few_inodes_they_take_and_so_much_time() {
        let from = Fixture::new();
        for name in ["a", "b", "c"] {
            mkfifo(&from.at(name), Mode::S_IRWXU).unwrap();
        }
        fs::hard_link(from.at("a"), from.at("d")).unwrap();
        let (source, to) = (from.root(), Fixture::new());
        let target = to.root();
        let copy = |left: u64, until: Instant| {
            let mut copier = Copier { left, until, ..Copier::new(&|| true) };
            let source = beneath::open_root(source.as_fd()).unwrap();
            copier.directory(source, target.as_fd(), MAX_DEPTH).map(|()| copier.report.left_out)
        };
        let later = Instant::now() + PATIENCE;
        assert_eq!(copy(4, later).unwrap(), 4);
        let error = copy(3, later).unwrap_err();
        assert!(error.to_string().contains("entries"), "{error}");
        let error = copy(4, Instant::now()).unwrap_err();
        assert!(error.to_string().contains("longer"), "{error}");
    }

    #[test]
    fn a_tree_that_is_too_deep_and_a_copy_that_is_broken_off_are_refused() {
        let from = Fixture::new();
        from.file("file", "");
        let to = Fixture::new();
        assert!(copy(from.root().as_fd(), to.root().as_fd(), &|| false).is_err());
        let deep = vec!["d"; MAX_DEPTH + 1].join("/");
        fs::create_dir_all(from.at(&deep)).unwrap();
        let to = Fixture::new();
        let error = copy(from.root().as_fd(), to.root().as_fd(), &|| true).unwrap_err();
        assert!(error.to_string().contains("deeper"), "{error}");
    }
}
