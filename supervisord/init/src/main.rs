//! PID 1 of one sandbox. It is executed by the launcher in fresh user and pid namespaces, finishes
//! the confinement from inside in the steps of [`finish`], makes the payload's process, gives up
//! everything, and then only reaps, reports and ends. When it ends, the kernel ends all that is left.

#![forbid(unsafe_code)]

mod failure;
mod filters;
mod inherited;
mod limits;
mod mask;
mod mounts;
mod payload;
mod privilege;
mod reap;
mod rights;
mod trust;

use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{pipe2, sethostname};
use supervisor_launch::Step;
use supervisor_launch::seccomp::Profile;
use supervisor_sys::{Cloned, SingleThreaded, fork, write_at_once};

use crate::failure::{Failed, at};
use crate::inherited::Inherited;

fn main() -> ExitCode {
    let Ok(inherited) = Inherited::take() else {
        eprintln!("supervisor-init is started by supervisor-launcher");
        return ExitCode::FAILURE;
    };
    match finish(&inherited) {
        Ok(payload) => reap::reap(&inherited.report, payload),
        Err(failed) => {
            inherited.report_failure(failed);
            ExitCode::FAILURE
        }
    }
}

/// The namespaces that init makes for itself. User and pid came with the clone; the network came from
/// the launcher and belongs to its user namespace, so that not even root in here can configure it.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWCGROUP);

/// The steps, in order; the first that fails is reported by its name and is the last.
fn finish(inherited: &Inherited) -> Result<u32, Failed> {
    let proof = at(Step::ReadSetup, SingleThreaded::prove())?;
    let setup = inherited.read_setup()?;
    privilege::die_with_launcher(inherited)?; // before anything that must not outlive it
    privilege::reset_process()?; // the launcher's signal mask and umask are not the payload's
    at(Step::Unshare, unshare(NAMESPACES))?; // in the sandbox's own cgroup, so it is the root of its view
    at(Step::SetHostname, sethostname("sandbox"))?;
    mounts::enter_image(setup.image)?; // the host's mounts are still visible beneath, until the pivot
    mounts::mount_proc(&setup)?; // needs the pid namespace, and a full /proc in sight
    mask::cover()?; // sources come from our own tree, never from the image
    mounts::mount_tmp(&setup)?;
    mounts::mount_pts()?;
    mounts::mount_workspace(inherited)?;
    if setup.authority {
        trust::mount(&setup)?; // over a file of the image, so after it
    }
    mounts::pivot()?; // from here on no path leads to the host
    limits::set(&setup)?;
    privilege::forbid_gain()?; // a condition of Landlock and seccomp without privilege
    privilege::close_the_way_back()?; // for both processes; what is held now is dropped below
    let (confined, tell) = at(Step::Fork, pipe2(OFlag::O_CLOEXEC))?;
    match at(Step::Fork, fork(&proof))? {
        Cloned::Child => {
            drop(tell);
            payload::become_payload(inherited, &setup, confined)
        }
        Cloned::Parent { pid, .. } => {
            inherited.close_all_but_report(); // or the payload's streams would never end
            privilege::drop_everything()?;
            rights::filter(Profile::Init)?; // last: it forbids what the steps before needed
            // Not before this may the payload run: until now we held power over the sandbox.
            at(Step::Fork, write_at_once(tell.as_fd(), &[1]))?;
            Ok(pid)
        }
    }
}
