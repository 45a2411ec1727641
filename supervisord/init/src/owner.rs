//! Whose a sandbox's user namespace is. What the kernel counts for each user (who watches files, signals and
//! timers that wait), it counts in the namespace above for whoever made the namespace, too. Were that root, all
//! sandboxes and the host's own services would share root's limits, and one sandbox could use them up.

use std::io;
use std::process::exit;

use caps::{CapSet, Capability};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Uid, setfsuid, setresuid};
use supervisor_sys::{Cloned, without};

/// Leaves an id as it is (setresuid(2)).
const UNCHANGED: Uid = Uid::from_raw(u32::MAX);

/// Makes a copy of this process whose user namespace belongs to `owner`: an id that nothing outside of that
/// namespace runs under, so nobody gains by it. The launcher doesn't have every capability over it then, as an owner
/// has, and needs CAP_KILL to end it, also by dying (PR_SET_PDEATHSIG is a signal of whoever dies). Returns in the
/// copy as it is, and here as root again.
pub fn as_owner(
    owner: Option<u32>,
    clone: impl FnOnce() -> io::Result<Cloned>,
) -> io::Result<Cloned> {
    let Some(owner) = owner.filter(|_| !without("namespace-owner")) else { return clone() };
    setresuid(UNCHANGED, Uid::from_raw(owner), UNCHANGED)?;
    setfsuid(Uid::from_raw(0)); // the cgroup that the copy goes into is root's; without it, the clone fails
    // It went with the id, and where kernel.unprivileged_userns_clone (Debian, Ubuntu) is 0 a user namespace takes it.
    let raised = caps::raise(None, CapSet::Effective, Capability::CAP_SYS_ADMIN);
    let cloned = raised.map_err(io::Error::other).and_then(|()| clone());
    if matches!(cloned, Ok(Cloned::Child)) {
        return cloned;
    }
    // The effective capabilities come back with the id, and the kernel took the wish to die with the launcher back.
    let root = setresuid(UNCHANGED, Uid::from_raw(0), UNCHANGED)
        .and_then(|()| set_pdeathsig(Signal::SIGKILL));
    if root.is_err() {
        exit(2) // nothing more can be made; the launcher starts another one, and the copy ends for want of a setup
    }
    cloned
}
