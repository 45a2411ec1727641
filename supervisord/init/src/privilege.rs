//! What a process of the sandbox is, and what it may no longer become.

use std::io;
use std::os::fd::AsFd;

use caps::CapSet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::{get_no_new_privs, set_dumpable, set_no_new_privs, set_pdeathsig};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use supervisor_launch::Step;
use supervisor_sys::{empty_bounding_set, no_capabilities_left, set_securebits};

use crate::failure::{Failed, at, ensure};
use crate::inherited::Inherited;

/// Asks the kernel to kill us when the launcher dies, and looks whether it has died before we
/// asked: then nobody holds the other end of the setup pipe any more. No change of ids comes after
/// this, which would take the wish back (prctl(2), PR_SET_PDEATHSIG).
pub fn die_with_launcher(inherited: &Inherited) -> Result<(), Failed> {
    at(Step::DieWithLauncher, set_pdeathsig(Signal::SIGKILL))?;
    let mut fds = [PollFd::new(inherited.setup.as_fd(), PollFlags::empty())];
    let hung_up = at(Step::DieWithLauncher, poll(&mut fds, PollTimeout::ZERO))? > 0;
    ensure(Step::DieWithLauncher, !hung_up)
}

/// Nothing is inherited from the launcher's process: no blocked signal, no file mode mask. Its
/// signal dispositions are the default ones but for SIGPIPE, which Rust ignores and exec keeps.
pub fn reset_process() -> Result<(), Failed> {
    let nothing = SigSet::empty();
    at(Step::ResetProcess, sigprocmask(SigmaskHow::SIG_SETMASK, Some(&nothing), None))?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// no_new_privs, and read back.
pub fn forbid_gain() -> Result<(), Failed> {
    at(Step::NoNewPrivileges, set_no_new_privs())?;
    let held = at(Step::NoNewPrivileges, get_no_new_privs())?;
    ensure(Step::NoNewPrivileges, held)
}

/// Empties the bounding set and makes uid 0 mean nothing; while we still have CAP_SETPCAP.
pub fn close_the_way_back() -> Result<(), Failed> {
    at(Step::DropCapabilities, set_securebits())?;
    at(Step::DropCapabilities, empty_bounding_set())
}

/// Empties every other set, and reads back.
pub fn empty_all_sets() -> Result<(), Failed> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        at(Step::DropCapabilities, caps::clear(None, set).map_err(io::Error::other))?;
    }
    let bounding = caps::read(None, CapSet::Bounding).map_err(io::Error::other);
    ensure(Step::DropCapabilities, at(Step::DropCapabilities, bounding)?.is_empty())?;
    ensure(Step::DropCapabilities, at(Step::DropCapabilities, no_capabilities_left())?)
}

/// What init itself gives up once the payload's process is made: it can't be traced or looked into,
/// and holds no capability over the sandbox any more.
pub fn drop_everything() -> Result<(), Failed> {
    at(Step::DropCapabilities, set_dumpable(false))?;
    empty_all_sets()
}
