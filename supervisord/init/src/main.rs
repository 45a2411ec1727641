//! PID 1 of one sandbox. The launcher executes it once, and for each sandbox that process makes a copy
//! of itself in fresh user and pid namespaces ([`seed`]). The copy finishes the confinement from inside
//! in the steps of [`finish`], makes the payload's process, gives up everything, and then only reaps, says
//! whether there is room for one more record lock or listening socket ([`questions`]), reports and ends. When it ends, the kernel
//! ends all that is left.
//!
//! It defends the host and every other sandbox against the payload, which it shares a pid namespace with. It
//! believes its launcher, reads nothing that a payload wrote (of a call that it is asked about it takes the number that
//! the kernel gave the question, and nothing else), and has the payload's process parse the daemon's
//! message with the payload's own rights. Taken over, it can lie about the end of its one execution, to a
//! daemon that doesn't trust it, and do what two dozen calls without a capability do.

#![forbid(unsafe_code)]

mod digest;
mod failure;
mod filters;
mod from_start;
mod inherited;
mod keystore;
mod limits;
mod listen;
mod listening;
mod mask;
mod mounts;
mod network;
mod owner;
mod payload;
mod privilege;
mod questions;
mod reap;
mod record_locks;
mod rights;
mod root;
mod routes;
mod seed;
mod segments;
mod trust;
mod watchers;
mod without;

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{pipe2, sethostname};
use supervisor_launch::Step;
use supervisor_launch::seccomp::Profile;
use supervisor_sys::{Cloned, SingleThreaded, fork, without, write_at_once};

use crate::failure::{Failed, at};
use crate::inherited::Inherited;
use crate::listening::Listening;
use crate::questions::Questions;
use crate::reap::Watched;
use crate::record_locks::RecordLocks;
use crate::seed::Seed;

fn main() -> ExitCode {
    let (Ok(proof), Ok(seed)) = (SingleThreaded::prove(), Seed::take()) else {
        eprintln!("supervisor-init is started by supervisor-launcher");
        return ExitCode::FAILURE;
    };
    let Some(inherited) = seed.serve(&proof) else { return ExitCode::SUCCESS };
    match finish(&inherited, &proof) {
        Ok(watched) => reap::reap(&inherited.report, watched),
        Err(failed) => {
            inherited.report_failure(failed);
            ExitCode::FAILURE
        }
    }
}

/// The namespaces that init makes for itself. User and pid came with the clone; the network came from
/// the seed and belongs to the launcher's user namespace, so that not even root in here can configure it.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// The same without what a test takes away.
fn namespaces() -> CloneFlags {
    let named = [
        ("ipc-namespace", CloneFlags::CLONE_NEWIPC),
        ("uts-namespace", CloneFlags::CLONE_NEWUTS),
        ("cgroup-namespace", CloneFlags::CLONE_NEWCGROUP),
    ];
    let gone = named.into_iter().filter(|(name, _)| without(name));
    gone.fold(NAMESPACES, |flags, (_, each)| flags & !each)
}

/// The steps, in order; the first that fails is reported by its name and is the last.
fn finish(inherited: &Inherited, proof: &SingleThreaded) -> Result<Watched, Failed> {
    let setup = inherited.read_setup()?; // comes when our ids are mapped
    privilege::go_first()?; // before a payload can have taken memory
    privilege::become_init(&setup)?; // until then we are the launcher's user in the kernel's eyes
    privilege::die_with_launcher(inherited)?; // before anything that must not outlive it
    privilege::forbid_namespaces(&setup)?; // while the launcher's /proc can be written
    watchers::bound(&setup)?; // the same
    privilege::reset_process()?; // the launcher's signal mask and umask are not the payload's
    at(Step::Unshare, unshare(namespaces()))?; // in the sandbox's own cgroup, so it is the root of its view
    let segments = segments::bound(&setup); // the namespace's own numbers, while /proc can be written
    at(Step::SetHostname, sethostname("sandbox"))?;
    match &inherited.root {
        None => mounts::enter_image(setup.image)?,
        Some(layers) => root::enter(layers, inherited)?,
    } // the host's mounts are still visible beneath, until the pivot
    mounts::mount_proc(&setup)?; // needs the pid namespace, and a full /proc in sight
    let locks = RecordLocks::open()?; // before the list is covered
    let listening = Listening::open()?;
    mask::cover()?; // sources come from our own tree, never from the image
    mounts::mount_tmp(&setup)?;
    mounts::mount_pts(&setup, inherited)?;
    mounts::mount_workspace(inherited)?;
    if setup.authority {
        trust::mount(&setup)?; // over a file of the image, so after it
    }
    mounts::pivot()?; // from here on no path leads to the host
    privilege::forbid_gain()?; // a condition of Landlock and seccomp without privilege
    privilege::close_the_way_back()?; // for both processes; what is held now is dropped below
    let questions = Questions::watch(locks, listening)?; // while what is under it can be nobody but us
    let (confined, tell) = at(Step::Fork, pipe2(OFlag::O_CLOEXEC))?;
    match at(Step::Fork, fork(proof))? {
        Cloned::Child => {
            drop((tell, questions)); // or the payload would answer its own questions
            payload::become_payload(inherited, &setup, confined, segments)
        }
        Cloned::Parent { pid, .. } => {
            inherited.close_all_but_report(); // or the payload's streams would never end
            let watched = Watched::new(pid, questions)?;
            limits::set(&setup)?; // not before: what we hold may be more descriptors than the payload may have
            privilege::drop_everything()?;
            rights::filter(Profile::Init)?; // last: it forbids what the steps before needed
            // Not before this may the payload run: until now we held power over the sandbox.
            at(Step::Fork, write_at_once(tell.as_fd(), &[1]))?;
            Ok(watched)
        }
    }
}
