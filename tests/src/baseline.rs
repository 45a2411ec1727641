//! What the host looks like before and after a test. Others may use the host meanwhile, so only what
//! can be told apart as ours is looked at.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::inspect;

/// How long the kernel may take to let go of what has ended.
const SETTLING: Duration = crate::PATIENCE;

/// Descriptors that may come or go without being a leak: a connection that is being closed.
const SLACK: usize = 2;

/// Formatted images that a launcher remembers at the most.
const TEMPLATES: usize = 8;

/// Places where the launcher, init and the daemon mount in namespaces of their own. In the host's,
/// nothing may ever appear there.
const MOUNT_POINTS: [&str; 8] =
    ["/tmp", "/workspace", "/images", "/state", "/empty", "/proc/acpi", "/proc/kcore", "/dev/pts"];

/// Files that no test may change.
const UNTOUCHED: [&str; 4] = ["/etc/passwd", "/etc/shadow", "/usr/bin/python3", "/usr/bin/env"];

/// What was there.
#[derive(Debug)]
pub struct Baseline {
    /// Of the world that is looked at.
    directory: PathBuf,
    mounts: BTreeSet<String>,
    files: Vec<(PathBuf, Option<[i64; 5]>)>,
    daemon: usize,
    launcher: usize,
}

impl Baseline {
    /// Looks at the host and at the two programs.
    pub fn take(directory: &Path, daemon: u32, launcher: u32) -> Self {
        Self {
            directory: directory.to_owned(),
            mounts: mounts(directory),
            files: files(),
            daemon: held(daemon).len(),
            launcher: held(launcher).len(),
        }
    }

    /// The programs were started anew.
    pub fn renew(&mut self, daemon: u32, launcher: u32) {
        self.daemon = held(daemon).len();
        self.launcher = held(launcher).len();
    }

    /// Fails unless everything is back as it was. The launcher's own directory may still be there.
    #[track_caller]
    pub fn assert_back(&self, daemon: u32, launcher: u32, launchers: &[u32]) {
        settle(|| {
            let mut left = leftovers(launchers);
            let own = format!("supervisor-{launcher}");
            left.retain(|each| !each.ends_with(&own));
            left.extend(
                mounts(&self.directory)
                    .difference(&self.mounts)
                    .map(|line| format!("mount {line}")),
            );
            for (what, pid, before) in
                [("daemon", daemon, self.daemon), ("launcher", launcher, self.launcher)]
            {
                let now = held(pid);
                if now.len() > before + SLACK {
                    left.push(format!("the {what} had {before} descriptors, now {now:?}"));
                }
            }
            if templates(launcher) > TEMPLATES {
                left.push(format!("{} formatted images", templates(launcher)));
            }
            if files() != self.files {
                left.push(format!("a file of the host changed: {:?}", self.files));
            }
            left
        });
    }
}

/// What a program has open, but for [`templates`].
fn held(pid: u32) -> Vec<String> {
    inspect::descriptors(pid).into_iter().filter(|open| !is_template(open)).collect()
}

/// Formatted images that a launcher remembers.
fn templates(pid: u32) -> usize {
    inspect::descriptors(pid).iter().filter(|open| is_template(open)).count()
}

fn is_template(open: &str) -> bool {
    open.starts_with("/memfd:template")
}

/// Fails unless no process and no cgroup of these launchers is left.
#[track_caller]
pub fn assert_gone(launchers: &[u32]) {
    settle(|| leftovers(launchers));
}

#[track_caller]
fn settle(look: impl Fn() -> Vec<String>) {
    let deadline = Instant::now() + SETTLING;
    loop {
        let left = look();
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {left:#?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes and cgroups of sandboxes that these launchers have made.
fn leftovers(launchers: &[u32]) -> Vec<String> {
    let names: Vec<String> = launchers.iter().map(|pid| format!("supervisor-{pid}")).collect();
    let mut seeds = Vec::new();
    let of_ours = |pid: &u32| {
        let cgroups = inspect::cgroups(*pid);
        let in_cgroup = names.iter().any(|name| cgroups.contains(&format!("/{name}/")));
        let parent = inspect::parent(*pid).filter(|parent| launchers.contains(parent));
        let is_sandbox = inspect::owner_uid(*pid).is_some_and(crate::is_sandbox_id);
        if let (false, false, Some(launcher)) = (in_cgroup, is_sandbox, parent)
            && inspect::process_ids().contains(&launcher)
            && !seeds.contains(&launcher)
        {
            seeds.push(launcher); // one process of each living launcher: what inits are copies of
            return false;
        }
        in_cgroup || parent.is_some() || is_orphan(*pid)
    };
    let processes = inspect::process_ids().into_iter().filter(of_ours);
    let mut left: Vec<String> = processes.map(|pid| format!("process {pid}")).collect();
    if let Some(root) = cgroup_root() {
        cgroups_named(&root, &names, 0, &mut left);
    }
    left
}

/// A process with a sandbox's id that the host's own init had to adopt.
fn is_orphan(pid: u32) -> bool {
    inspect::owner_uid(pid).is_some_and(crate::is_sandbox_id) && inspect::parent(pid) == Some(1)
}

/// The launcher makes its directory at the root or in its own cgroup, which no system nests deeper.
const CGROUP_DEPTH: u32 = 6;

fn cgroups_named(directory: &Path, names: &[String], depth: u32, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        if names.contains(&name) {
            let leaves = fs::read_dir(&path).into_iter().flatten().flatten();
            let leaves = leaves.filter(|leaf| leaf.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(leaves.map(|leaf| format!("cgroup {}", leaf.path().display())));
            found.push(format!("cgroup {}", path.display()));
        } else if depth < CGROUP_DEPTH {
            cgroups_named(&path, names, depth + 1, found);
        }
    }
}

/// Where cgroup v2 is mounted.
fn cgroup_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let place = words.nth(1)?;
        (words.next() == Some("cgroup2")).then(|| PathBuf::from(place))
    })
}

/// Mounts at places that are ours alone, and whatever has a loop device behind it. What its file system says of itself
/// is left out: an error changes that. So are disks that other worlds' tests have mounted at their own.
fn mounts(directory: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let worlds = std::env::temp_dir().join("supervisor-test-").display().to_string();
    let theirs =
        |place: &str| place.starts_with(&worlds) && !Path::new(place).starts_with(directory);
    let ours = |line: &&str| {
        let place = line.split(' ').nth(4).unwrap_or_default();
        !theirs(place) && (MOUNT_POINTS.contains(&place) || line.contains(" /dev/loop"))
    };
    let lines = text.lines().filter(ours).filter_map(|line| line.split(" - ").next());
    lines.map(str::to_owned).collect()
}

fn files() -> Vec<(PathBuf, Option<[i64; 5]>)> {
    let facts = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let (size, inode) = (i64::try_from(found.len()).ok()?, i64::try_from(found.ino()).ok()?);
        Some([size, inode, found.mtime(), found.ctime(), i64::from(found.mode())])
    };
    UNTOUCHED.iter().map(|path| (PathBuf::from(path), facts(Path::new(path)))).collect()
}
