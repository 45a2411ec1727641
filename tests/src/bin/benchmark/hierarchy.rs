//! The control groups as the peers want to see them.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::environment::Environment;
use crate::failure::Failure;

const ROOT: &str = "/sys/fs/cgroup";

/// crun refuses hosts where version 1 is mounted as well. From here on this thread, and what it starts,
/// sees version 2 alone, in a mount namespace of its own. Whoever was started before sees the host's.
pub fn show_version_2_alone(environment: &Environment) -> Result<(), Failure> {
    let is_hybrid = !Path::new(ROOT).join("cgroup.controllers").exists();
    let filesystems = fs::read_to_string("/proc/filesystems")
        .map_err(Failure::of("read which file systems there are"))?;
    if !environment.is_root || !is_hybrid || !filesystems.contains("cgroup2") {
        return Ok(());
    }
    let nothing: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)
        .and_then(|()| mount(nothing, "/", nothing, private, nothing))
        .and_then(|()| mount(Some("cgroup2"), ROOT, Some("cgroup2"), MsFlags::empty(), nothing))
        .map_err(Failure::of("mount version 2 of the control groups for the peers"))
}
