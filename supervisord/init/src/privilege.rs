//! What a process of the sandbox is, and what it may no longer become.

use std::io;
use std::os::fd::AsFd;

use caps::CapSet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{get_no_new_privs, set_dumpable, set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid, setsid};
use supervisor_launch::{INIT_ID, Setup, Step};
use supervisor_sys::{
    empty_bounding_set, empty_capability_sets, no_capabilities_left, set_securebits, without,
};

use crate::failure::{Failed, at, ensure};
use crate::inherited::Inherited;

/// The most that there is: where the host has no memory left, a sandbox goes first, and neither the launcher,
/// whose own mark we have inherited, nor a service of the host.
const FIRST_TO_GO: &str = "1000";

/// Marks us and all that we start. While we are the launcher's user, whom this file belongs to; what is marked
/// can't take it back, since its /proc can't be written.
pub fn go_first() -> Result<(), Failed> {
    if without("first-to-go") {
        return Ok(());
    }
    at(Step::BecomeInit, std::fs::write("/proc/self/oom_score_adj", FIRST_TO_GO))
}

/// Root of this sandbox's user namespace, and no host id or group that the launcher has; a session of
/// its own, away from any terminal of whoever started the launcher.
pub fn become_init(setup: &Setup) -> Result<(), Failed> {
    if !setup.single_id {
        // Without privilege the kernel doesn't let a caller's groups go.
        at(Step::BecomeInit, setgroups(&[]))?;
    }
    let (user, group) = (Uid::from_raw(INIT_ID), Gid::from_raw(INIT_ID));
    at(Step::BecomeInit, setresgid(group, group, group))?;
    at(Step::BecomeInit, setresuid(user, user, user))?;
    at(Step::BecomeInit, setsid()).map(drop)
}

/// Asks the kernel to kill us when the launcher dies, and looks whether it has died before we
/// asked: then nobody holds the other end of the setup pipe any more. No change of ids comes after
/// this, which would take the wish back (prctl(2), PR_SET_PDEATHSIG).
pub fn die_with_launcher(inherited: &Inherited) -> Result<(), Failed> {
    at(Step::DieWithLauncher, set_pdeathsig(Signal::SIGKILL))?;
    let mut fds = [PollFd::new(inherited.setup.as_fd(), PollFlags::empty())];
    let hung_up = at(Step::DieWithLauncher, poll(&mut fds, PollTimeout::ZERO))? > 0;
    ensure(Step::DieWithLauncher, !hung_up)
}

/// No user namespace can be made in this one, nor in one beneath it: in a fresh one a process has every
/// capability, and with them comes most of the kernel. Without privilege the payload's own is the only one.
pub fn forbid_namespaces(setup: &Setup) -> Result<(), Failed> {
    let most = if setup.single_id { "1" } else { "0" };
    if without("namespace-limit") {
        return Ok(());
    }
    at(Step::ForbidNamespaces, std::fs::write("/proc/sys/user/max_user_namespaces", most))
}

/// Nothing is inherited from the launcher's process: no blocked signal, no file mode mask. Signals that are
/// ignored are the payload's to change back, just before it is executed.
pub fn reset_process() -> Result<(), Failed> {
    let nothing = SigSet::empty();
    at(Step::ResetProcess, sigprocmask(SigmaskHow::SIG_SETMASK, Some(&nothing), None))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// no_new_privs, and read back.
pub fn forbid_gain() -> Result<(), Failed> {
    if without("no-new-privs") {
        return Ok(());
    }
    at(Step::NoNewPrivileges, set_no_new_privs())?;
    let held = at(Step::NoNewPrivileges, get_no_new_privs())?;
    ensure(Step::NoNewPrivileges, held)
}

/// Empties the bounding set and makes uid 0 mean nothing; while we still have CAP_SETPCAP.
pub fn close_the_way_back() -> Result<(), Failed> {
    at(Step::DropCapabilities, set_securebits())?;
    if without("bounding-set") {
        return Ok(());
    }
    at(Step::DropCapabilities, empty_bounding_set())?;
    let bounding = caps::read(None, CapSet::Bounding).map_err(io::Error::other);
    ensure(Step::DropCapabilities, at(Step::DropCapabilities, bounding)?.is_empty())
}

/// Empties every other set, and reads back. What isn't permitted or inheritable can't be ambient
/// (capabilities(7)).
pub fn empty_all_sets() -> Result<(), Failed> {
    at(Step::DropCapabilities, empty_capability_sets())?;
    ensure(Step::DropCapabilities, at(Step::DropCapabilities, no_capabilities_left())?)
}

/// What init itself gives up once the payload's process is made: it can't be traced or looked into,
/// and holds no capability over the sandbox any more.
pub fn drop_everything() -> Result<(), Failed> {
    at(Step::DropCapabilities, set_dumpable(without("dumpable")))?;
    empty_all_sets()
}
