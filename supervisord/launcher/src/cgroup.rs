//! cgroup v2: one leaf for each sandbox beneath a directory of ours. Every limit that is written
//! is read back; a controller that is not there is reported, never replaced in silence.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, major, minor, mkdirat};
use nix::unistd::{UnlinkatFlags, getpid, read, unlinkat, write};
use supervisor_launch::{Applied, SandboxLimits};
use supervisor_sys::{clone_tree, random_bits, without};

use crate::arguments::{Arguments, CgroupPlace};
use crate::failure::{Fatal, fatal};

/// The controllers that hold limits, in the order of their bits.
pub const CONTROLLERS: [(&str, u8); 4] = [
    ("memory", Applied::MEMORY),
    ("pids", Applied::PIDS),
    ("cpu", Applied::CPU),
    ("io", Applied::IO),
];

/// The period of `cpu.max` in microseconds, the kernel's default. One percent is a hundredth of it.
pub const CPU_PERIOD: u64 = 100_000;

/// How often and how long a leaf may refuse to go once its last process was waited for. The kernel
/// needs an instant to take the last thread off; five seconds is far beyond that.
const REMOVE_TRIES: u32 = 500;
const REMOVE_PAUSE_MS: u8 = 10;

/// What a directory is called that is a launcher's own: this, its pid, and more where another has that name.
const OWN: &str = "supervisor-";

/// Names that are tried. Of another's that has our pid in its own namespace there may be one for each of those.
const NAMES: u32 = 8;

/// The directory beneath which sandboxes have their leaves.
pub struct Base {
    directory: OwnedFd,
    controllers: u8,
    disks: BTreeSet<(u64, u64)>,
    private: Option<Private>,
}

/// A directory that is ours to remove.
struct Private {
    parent: OwnedFd,
    name: String,
    /// Locked for as long as we live: a pid says nothing to a launcher in another pid namespace, which would take us
    /// for dead and the directory for left over.
    _held: File,
}

impl Base {
    /// Finds or makes the directory. `None` where there is no cgroup v2 that we may write to: then
    /// a sandbox is ended by its init's pidfd alone.
    pub fn make(arguments: &Arguments) -> Result<Option<Self>, Fatal> {
        let (Some(mount), Some(own)) = (mount_point(), own_path()) else { return Ok(None) };
        let own = mount.join(own.strip_prefix("/").unwrap_or(&own));
        match arguments.cgroup {
            CgroupPlace::Own => {
                let result = take_over(&own).and_then(|()| Self::open(&own, arguments, None));
                fatal("take over the delegated cgroup", result).map(Some)
            }
            CgroupPlace::Private => Ok(Self::make_private(&mount, &own, arguments)),
        }
    }

    /// Beneath our own cgroup where its parent hands controllers on, else beneath the root.
    fn make_private(mount: &Path, own: &Path, arguments: &Arguments) -> Option<Self> {
        let mut parents = [own, mount];
        parents.sort_by_key(|parent| controllers(parent, "cgroup.subtree_control").count_zeros());
        for parent in parents {
            sweep(parent);
            let Ok((name, held)) = claim(parent) else { continue };
            let path = parent.join(&name);
            let base = File::open(parent).and_then(|parent| {
                let private = Private { parent: parent.into(), name, _held: held };
                Self::open(&path, arguments, Some(private))
            });
            match base {
                Ok(base) => return Some(base),
                Err(_) => drop(fs::remove_dir(&path)), // no use to us
            }
        }
        None
    }

    fn open(path: &Path, arguments: &Arguments, private: Option<Private>) -> io::Result<Self> {
        for (name, bit) in CONTROLLERS {
            if controllers(path, "cgroup.controllers") & bit != 0 {
                fs::write(path.join("cgroup.subtree_control"), format!("+{name}"))?;
            }
        }
        // What a payload reads comes from the image, what the daemon keeps goes to its state.
        let paths = [Path::new("/usr"), &arguments.disk];
        let disks: BTreeSet<_> = paths.into_iter().filter_map(whole_disk).collect();
        let mut controllers = controllers(path, "cgroup.subtree_control");
        if disks.is_empty() {
            controllers &= !Applied::IO;
        }
        // A mount of its own that hangs nowhere: whoever gets a descriptor beneath it can't climb out
        // of it to the host's root by "..".
        let directory = clone_tree(&CString::new(path.as_os_str().as_bytes())?)?;
        Ok(Self { directory, controllers, disks, private })
    }

    /// The controllers that hold limits here.
    pub fn controllers(&self) -> u8 {
        self.controllers
    }

    /// Beneath which sandboxes have their leaves, if their owner has no directory of its own.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Writes a leaf's limits and reads each of them back.
    pub fn limit(&self, leaf: &Leaf, limits: &SandboxLimits) -> io::Result<()> {
        if self.controllers & Applied::MEMORY != 0 {
            // memory.max is in pages; the number that is read back is rounded down to one.
            leaf.set("memory.max", &(limits.memory_max / 4096 * 4096).to_string())?;
            leaf.set("memory.oom.group", "1")?;
            leaf.set_if_there("memory.swap.max", "0")?;
            leaf.set_if_there("memory.zswap.max", "0")?;
        }
        if self.controllers & Applied::PIDS != 0 {
            // One more for init.
            leaf.set("pids.max", &limits.pids_max.saturating_add(1).to_string())?;
        }
        if self.controllers & Applied::CPU != 0 {
            let quota = limits.cpu_max.saturating_mul(CPU_PERIOD / 100);
            leaf.set("cpu.max", &format!("{quota} {CPU_PERIOD}"))?;
        }
        if self.controllers & Applied::IO != 0 {
            for disk in &self.disks {
                limit_io(leaf, *disk, limits)?;
            }
        }
        Ok(())
    }

    /// Removes the directory itself, if we made it.
    pub fn end(&self) -> io::Result<()> {
        let Some(private) = &self.private else { return Ok(()) };
        Ok(unlinkat(&private.parent, private.name.as_str(), UnlinkatFlags::RemoveDir)?)
    }
}

/// A cgroup of ours: of one sandbox, or of all of one uid.
pub struct Leaf {
    directory: OwnedFd,
    name: String,
}

impl Leaf {
    /// Makes one without limits. One that a launcher before us left goes first, with whatever is in it that is
    /// not quite dead and with its limits: nobody else makes any here.
    pub fn make(parent: BorrowedFd<'_>, name: String) -> io::Result<Self> {
        let make = || mkdirat(parent, name.as_str(), Mode::from_bits_truncate(0o755));
        match make() {
            Err(nix::Error::EEXIST) => {
                Self::open(parent, name.clone())?.end(parent)?;
                make()?;
            }
            other => other?,
        }
        match Self::open(parent, name.clone()) {
            Ok(made) => Ok(made),
            Err(error) => {
                unlinkat(parent, name.as_str(), UnlinkatFlags::RemoveDir)?;
                Err(error)
            }
        }
    }

    fn open(parent: BorrowedFd<'_>, name: String) -> io::Result<Self> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        Ok(Self { directory: openat(parent, name.as_str(), flags, Mode::empty())?, name })
    }

    /// Ends all that is in it and in the leaves beneath it, and removes them and it.
    fn end(&self, parent: BorrowedFd<'_>) -> io::Result<()> {
        self.kill()?;
        for entry in Dir::from_fd(self.directory.try_clone()?)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if entry.file_type() == Some(Type::Directory) && !name.starts_with('.') {
                Self::open(self.directory(), name.to_owned())?.remove(self.directory())?;
            }
        }
        self.remove(parent)
    }

    /// Removes it, when nothing lives in it any more.
    pub fn remove(&self, parent: BorrowedFd<'_>) -> io::Result<()> {
        for _ in 0..REMOVE_TRIES {
            match unlinkat(parent, self.name.as_str(), UnlinkatFlags::RemoveDir) {
                Ok(()) | Err(nix::Error::ENOENT) => return Ok(()),
                Err(nix::Error::EBUSY) => wait_for_event(self)?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(nix::Error::EBUSY.into())
    }

    /// Its directory, for CLONE_INTO_CGROUP and for reading.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Opens one of its files for writing.
    pub fn writer(&self, file: &str) -> io::Result<OwnedFd> {
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        Ok(openat(&self.directory, file, flags, Mode::empty())?)
    }

    /// Ends every process in it (`cgroup.kill`, Linux 5.14).
    pub fn kill(&self) -> io::Result<()> {
        if !without("cgroup-kill") {
            write(self.writer("cgroup.kill")?, b"1")?;
        }
        Ok(())
    }

    /// Writes one of its files and reads it back. A test takes the one away by the file's name.
    pub fn set(&self, file: &str, value: &str) -> io::Result<()> {
        if !without(file) {
            write(self.writer(file)?, value.as_bytes())?;
        }
        let held = self.read(file)?;
        if held.trim() == value || without("limits-read-back") {
            return Ok(());
        }
        Err(io::Error::other(format!("{file} holds {held:?} after {value:?} was written")))
    }

    /// The same for a file that not every kernel has.
    pub fn set_if_there(&self, file: &str, value: &str) -> io::Result<()> {
        match self.set(file, value) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn read(&self, file: &str) -> io::Result<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.directory, file, flags, Mode::empty())?;
        let mut buffer = [0; 4096]; // every file we set is shorter
        let length = read(&fd, &mut buffer)?;
        Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
    }
}

fn limit_io(leaf: &Leaf, disk: (u64, u64), limits: &SandboxLimits) -> io::Result<()> {
    let asked = [
        ("rbps", limits.io_read_bps),
        ("wbps", limits.io_write_bps),
        ("riops", limits.io_read_iops),
        ("wiops", limits.io_write_iops),
    ];
    if asked.iter().all(|(_, value)| *value == 0) {
        return Ok(());
    }
    let word = |value: u64| if value == 0 { "max".to_owned() } else { value.to_string() };
    let words: Vec<String> =
        asked.iter().map(|(name, value)| format!("{name}={}", word(*value))).collect();
    let line = format!("{}:{} {}", disk.0, disk.1, words.join(" "));
    write(leaf.writer("io.max")?, line.as_bytes())?;
    let held = leaf.read("io.max")?;
    if held.lines().any(|each| each == line) {
        return Ok(());
    }
    Err(io::Error::other(format!("io.max holds {held:?} after {line:?} was written")))
}

/// The kernel marks `cgroup.events` when a leaf becomes empty. The pause bounds the wait for an
/// event that came before we looked.
fn wait_for_event(leaf: &Leaf) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let events = openat(&leaf.directory, "cgroup.events", flags, Mode::empty())?;
    let mut buffer = [0; 256];
    read(&events, &mut buffer)?; // a file that was never read is marked from the beginning
    let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
    poll(&mut fds, PollTimeout::from(REMOVE_PAUSE_MS))?;
    Ok(())
}

/// "No internal processes": controllers can be handed on only by a cgroup that holds no process, so
/// we move to a leaf first (cgroup-v2.rst).
fn take_over(own: &Path) -> io::Result<()> {
    let leaf = own.join("launcher");
    match fs::create_dir(&leaf) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    fs::write(leaf.join("cgroup.procs"), "0")?;
    for entry in fs::read_dir(own)?.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("uid-") || name.starts_with("ex-")) {
            remove_beneath(&entry.path(), 1); // of a launcher that was killed
        }
    }
    Ok(())
}

/// Makes a directory that is ours for as long as what is returned with its name is open.
fn claim(parent: &Path) -> io::Result<(String, File)> {
    let mut name = format!("{OWN}{}", getpid());
    for _ in 0..NAMES {
        let path = parent.join(&name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => {
                made?;
                if let Some(held) = hold(&path) {
                    return Ok((name, held));
                }
            }
        }
        // A launcher in another pid namespace has our pid, or took ours for left over before it was locked.
        name = format!("{OWN}{}-{:08x}", getpid(), random_bits()? as u32);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Locks a directory, unless somebody else has or it is removed.
fn hold(path: &Path) -> Option<File> {
    let held = File::open(path).ok().filter(|directory| directory.try_lock().is_ok())?;
    let (ours, there) = (held.metadata().ok()?, fs::metadata(path).ok()?);
    (ours.ino() == there.ino()).then_some(held)
}

/// Removes directories that an earlier launcher could not remove because it was killed. One that lives has its
/// locked, and one that holds a process refuses to go.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(OWN)) else { continue };
        let Ok(pid) = rest.split('-').next().unwrap_or_default().parse::<i32>() else { continue };
        // One of a version before locks nothing, and is not dead while its pid is there. An earlier process had ours.
        let may_be_dead = pid == getpid().as_raw() || !Path::new(&format!("/proc/{pid}")).exists();
        if may_be_dead && let Some(_held) = hold(&entry.path()) {
            remove_beneath(&entry.path(), 2); // uids, and their sandboxes
        }
    }
}

fn remove_beneath(directory: &Path, depth: u32) {
    let children = fs::read_dir(directory).into_iter().flatten().flatten();
    for child in children.filter(|_| depth > 0) {
        remove_beneath(&child.path(), depth - 1);
    }
    drop(fs::remove_dir(directory)); // a file, or one that is still in use, stays
}

fn controllers(directory: &Path, file: &str) -> u8 {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    let named = |name: &str| text.split_whitespace().any(|word| word == name);
    CONTROLLERS.iter().filter(|(name, _)| named(name)).map(|(_, bit)| bit).sum()
}

/// Where cgroup v2 is mounted (proc(5), mountinfo: fields after ` - ` begin with the type).
fn mount_point() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let is_v2 = kind.split(' ').next() == Some("cgroup2");
        is_v2.then(|| place.split(' ').nth(4).map(PathBuf::from)).flatten()
    })
}

/// Our own place in it (cgroups(7), /proc/PID/cgroup: `0::PATH`).
fn own_path() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// The disk under a path. `io.max` wants whole disks, so a partition stands for the disk it is on.
fn whole_disk(path: &Path) -> Option<(u64, u64)> {
    let device = fs::metadata(path).ok()?.dev();
    let entry = PathBuf::from(format!("/sys/dev/block/{}:{}", major(device), minor(device)));
    let entry = fs::canonicalize(entry).ok()?;
    let disk = if entry.join("partition").exists() { entry.parent()? } else { entry.as_path() };
    let text = fs::read_to_string(disk.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_cgroup_that_was_left_over_is_made_anew_without_its_processes_and_their_own_cgroups() {
        let mount = mount_point().unwrap();
        let name = format!("supervisor-leaf-test-{}", getpid());
        let place = mount.join(&name);
        let inner = place.join("uid-1/ex-1");
        fs::create_dir_all(&inner).unwrap();
        let mut sleeper = Command::new("sleep").arg("1000").spawn().unwrap();
        fs::write(inner.join("cgroup.procs"), sleeper.id().to_string()).unwrap();
        fs::write(place.join("uid-1/cgroup.max.descendants"), "7").unwrap();
        let parent = fs::File::open(&place).unwrap();
        // Somebody waits for what is left, as the host's init does; until then it keeps its cgroup.
        let waiting = std::thread::spawn(move || sleeper.wait().unwrap());
        let made = Leaf::make(parent.as_fd(), "uid-1".to_owned()).unwrap();
        let status = waiting.join().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
        assert_eq!(made.read("cgroup.max.descendants").unwrap().trim(), "max");
        assert!(!inner.exists(), "what was beneath it is still there");
        made.remove(parent.as_fd()).unwrap();
        fs::remove_dir(&place).unwrap();
    }

    #[test]
    fn a_launchers_directory_is_nobodys_to_remove_while_it_lives_whatever_its_pid_is_elsewhere() {
        let place = mount_point().unwrap().join(format!("supervisor-claim-test-{}", getpid()));
        fs::create_dir(&place).unwrap();
        let left = place.join("supervisor-2147483647"); // there is no such pid
        fs::create_dir_all(left.join("uid-1/ex-1")).unwrap();
        let (name, held) = claim(&place).unwrap();
        sweep(&place); // as one that has our pid in another namespace
        let (another, held_too) = claim(&place).unwrap();
        assert!(place.join(&name).exists() && !left.exists());
        assert!(name != another && another.starts_with(&name), "{another}");
        drop((held, held_too));
        sweep(&place);
        assert!(!place.join(&name).exists() && !place.join(&another).exists());
        fs::remove_dir(&place).unwrap();
    }
}
