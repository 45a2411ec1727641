//! The tables, by subject, and how they make up a profile.

mod control;
mod counted;
mod daemon;
mod files;
mod futex;
mod host;
mod init;
mod ioctl;
mod launcher;
mod memory;
mod narrower;
mod processes;
mod socket_options;
mod sockets;
mod time;
mod unpack;

use crate::seccomp::Profile;
use crate::seccomp::verdict::{Entry, Group};

/// What holds for every payload unless its profile says otherwise.
const PAYLOAD: &[&[Group]] = &[
    files::GROUPS,
    ioctl::GROUPS,
    memory::GROUPS,
    processes::GROUPS,
    control::GROUPS,
    futex::GROUPS,
    sockets::GROUPS,
    socket_options::GROUPS,
    time::GROUPS,
    host::GROUPS,
];

/// The tables of a profile: first what is its own, then what it shares, whose entries for the same
/// calls don't count.
pub(super) const fn layers(profile: Profile) -> (&'static [Group], &'static [&'static [Group]]) {
    match profile {
        Profile::Init => (init::GROUPS, &[]),
        Profile::Launcher => (launcher::GROUPS, &[]),
        Profile::Daemon => (daemon::GROUPS, &[launcher::GROUPS]),
        Profile::Unpack => (unpack::GROUPS, &[]),
        Profile::Default => (&[], PAYLOAD),
        Profile::NoNetwork => (sockets::NO_NETWORK, PAYLOAD),
        Profile::UnixSockets => (sockets::UNIX_SOCKETS, PAYLOAD),
        Profile::Unseen => (narrower::UNSEEN, &[]),
        Profile::Unbound => (narrower::UNBOUND, &[]),
        Profile::NoExec => (narrower::NO_EXEC, &[]),
        Profile::Counted => (counted::GROUPS, &[]),
    }
}

/// Every entry of a profile: the published list of what is allowed, on what condition, what is
/// forbidden, and why. Whatever isn't in it meets [`Profile::otherwise`].
pub fn describe(profile: Profile) -> impl Iterator<Item = Entry> {
    let (own, shared) = layers(profile);
    let replaced = move |entry: &Entry| entries(own).any(|other| other.call == entry.call);
    let shared = shared.iter().flat_map(|groups| entries(groups));
    entries(own).chain(shared.filter(move |entry| !replaced(entry)))
}

/// The entries of groups, one for each call.
pub(super) fn entries(groups: &'static [Group]) -> impl Iterator<Item = Entry> {
    groups.iter().flat_map(|Group { reason, verdict, calls }| {
        calls.iter().map(|call| Entry { call: *call, verdict: *verdict, reason })
    })
}
