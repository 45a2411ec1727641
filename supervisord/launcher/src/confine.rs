//! What the launcher gives up before it reads its first request.

use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use nix::errno::Errno;
use nix::libc::{EDQUOT, EPERM};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::{set_dumpable, set_no_new_privs};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use supervisor_launch::seccomp::{Architecture, Profile, compile};
use supervisor_launch::{Applied, NO_DUMP};
use supervisor_sys::{Instruction, install_filter, leave_session_keyring, without};

use crate::failure::{Fatal, fatal, tell};

/// What a privileged launcher keeps.
const KEPT: [Capability; 6] = [
    Capability::CAP_SYS_ADMIN,        // mounts, id maps of mounts
    Capability::CAP_SETUID,           // user maps with ids that are not ours
    Capability::CAP_SETGID,           // group maps with ids that are not ours
    Capability::CAP_NET_ADMIN,        // loopback and routes in networks that the seed makes
    Capability::CAP_NET_BIND_SERVICE, // ports 53, 80 and 443 in them
    Capability::CAP_KILL, // sandboxes, whose user namespaces are not ours; also when we die
];

/// Drops what isn't needed, and last of all installs a filter that init and payloads inherit. An unprivileged launcher has capabilities over its own user namespace
/// only, and all that was said above is about those.
pub fn confine(privileged: bool, own_cgroup: bool) -> Result<(), Fatal> {
    if !without("launcher-no-new-privs") {
        fatal("set no_new_privs", set_no_new_privs())?;
    }
    if privileged {
        // Without privilege, only a dumpable process may write its child's id maps; and whoever has
        // our one host id could have started us himself.
        fatal("become non-dumpable", set_dumpable(false))?;
        fatal("drop capabilities", keep_only(own_cgroup))?;
    }
    if without("launcher-seccomp") {
        return Ok(());
    }
    let filter: Vec<Instruction> = compile(Profile::Launcher, Architecture::NATIVE)
        .into_iter()
        .map(|each| Instruction { code: each.code, jt: each.jt, jf: each.jf, k: each.k })
        .collect();
    fatal("install the system call filter", install_filter(&filter))
}

/// No network is ours: the seed makes those of sandboxes.
pub fn leave_network() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWNET)?)
}

/// Each sandbox takes a dozen descriptors here, so the usual soft limit of 1,024 is not enough.
pub fn raise_descriptors() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Of ours, and of what we start: sandboxes can't raise what we have not got. Without privilege we have
/// what the caller had. Whether sandboxes can have the limit at which the kernel starts no collector: below it,
/// which takes CAP_SYS_RESOURCE to leave, no file is written, but a collector is started.
pub fn forbid_dumps(privileged: bool) -> io::Result<bool> {
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
    if !privileged {
        return Ok(hard >= NO_DUMP);
    }
    match setrlimit(Resource::RLIMIT_CORE, NO_DUMP, NO_DUMP) {
        Err(Errno::EPERM) if hard < NO_DUMP => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Not even a keyring of root's is a sandbox's: payloads can't use one, so they need not have it. Whether it was
/// left: a filter around us may not let us (EPERM), and then nobody within can use it; or there are as many keys
/// as may be (EDQUOT).
pub fn leave_keyring() -> io::Result<bool> {
    match leave_session_keyring() {
        Err(error) if [Some(EPERM), Some(EDQUOT)].contains(&error.raw_os_error()) => Ok(false),
        other => other.map(|()| true),
    }
}

/// What of the host's could not be kept away, for the daemon to tell; and for the journal.
pub fn exposed(no_dumps: bool, no_keyring: bool) -> u8 {
    if !no_dumps {
        tell(format_args!(
            "core dumps: the hard limit is 0 and can't be raised to 1, at which the kernel starts no collector"
        ));
    }
    if !no_keyring {
        tell(format_args!("the session keyring that this was started with can't be left"));
    }
    [(no_dumps, Applied::DUMPS), (no_keyring, Applied::KEYRING)]
        .into_iter()
        .filter(|(held, _)| !held)
        .fold(0, |bits, (_, bit)| bits | bit)
}

fn keep_only(own_cgroup: bool) -> io::Result<()> {
    let mut kept: CapsHashSet = KEPT.into_iter().collect();
    if !own_cgroup {
        // The directory that we made beneath a cgroup that isn't ours is ours to remove, and such
        // directories grant nobody the right to write.
        kept.insert(Capability::CAP_DAC_OVERRIDE);
    }
    for capability in caps::runtime::thread_all_supported() {
        let bounded =
            caps::has_cap(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
        // What is gone already, as from a systemd unit's own set, takes no CAP_SETPCAP to drop.
        if bounded && !kept.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(io::Error::other)?;
        }
    }
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(io::Error::other)?;
    }
    let held = caps::read(None, CapSet::Permitted).map_err(io::Error::other)?;
    let kept = &kept & &held;
    // Without it a sandbox would outlive us, and nobody would be told.
    if !kept.contains(&Capability::CAP_KILL) {
        return Err(io::Error::other("CAP_KILL is not among those that this was started with"));
    }
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(io::Error::other)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Says in a process of its own, under this shell's words, what the launcher would find.
    fn told(setting: &str) -> String {
        let own = std::env::current_exe().unwrap();
        let script = format!("{setting} \"$0\" --exact confine::tests::say --nocapture");
        let output = Command::new("sh").args(["-c", &script]).arg(own).env(SAY, "1").output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    const SAY: &str = "SUPERVISOR_TEST_SAY_EXPOSED";

    #[test]
    fn say() {
        if std::env::var_os(SAY).is_some() {
            println!("exposed {}", exposed(forbid_dumps(true).unwrap(), leave_keyring().unwrap()));
        }
    }

    #[test]
    fn a_hard_limit_of_0_that_can_not_be_raised_is_told_and_ends_nobody() {
        let said = told("ulimit -c 0; setpriv --bounding-set=-sys_resource");
        assert!(said.contains(&format!("exposed {}", Applied::DUMPS)), "{said}");
        let said = told("");
        assert!(said.contains("exposed 0"), "{said}");
    }
}
