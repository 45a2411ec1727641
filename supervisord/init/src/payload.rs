//! The payload's process, from the fork to its exec: it becomes what the payload may be, parks, and
//! then reads what it is to execute. It parses the daemon's message with the payload's own rights.

use std::ffi::{CString, OsStr};
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::exit;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{
    Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, execve, getresgid, getresuid, setgroups,
    setresgid, setresuid, setsid,
};
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{CHANNEL, INIT_ID, PAYLOAD_ID, Report, STARTUP, Setup, Start, Step};
use supervisor_sys::{
    close_on_exec_from, default_dispositions, keep_on_exec, take_terminal, without, write_at_once,
};

use crate::failure::{Failed, at, ensure};
use crate::inherited::Inherited;
use crate::{limits, privilege, rights, trust};

/// Ends in the payload's program or in a reported failure. `confined` can be read once init has given
/// up what it holds; `segments` says whether shared memory is bounded where it has to be.
pub fn become_payload(
    inherited: &Inherited,
    setup: &Setup,
    confined: OwnedFd,
    segments: bool,
) -> ! {
    let failed = match park_and_execute(inherited, setup, confined, segments) {
        Ok(never) => match never {},
        Err(failed) => failed,
    };
    inherited.report_failure(failed);
    exit(127)
}

/// The steps, in order.
fn park_and_execute(
    inherited: &Inherited,
    setup: &Setup,
    confined: OwnedFd,
    segments: bool,
) -> Result<std::convert::Infallible, Failed> {
    limits::set(setup)?;
    let ours = inherited.take_for_payload().ok_or(Failed { step: Step::Fork, errno: 0 })?;
    at(Step::BecomePayload, setsid())?; // a session and process group of its own
    let [stdin, stdout, stderr] = &ours.streams;
    at(Step::BecomePayload, dup2_stdin(stdin))?;
    at(Step::BecomePayload, dup2_stdout(stdout))?;
    at(Step::BecomePayload, dup2_stderr(stderr))?;
    if setup.terminal {
        at(Step::TakeTerminal, take_terminal(stdin.as_fd()))?; // so that keys become signals, and /dev/tty is it
    }
    drop(ours.streams);
    // Once more, whatever way each of them came: init's ends of the sandbox must not go along.
    if !without("close-on-exec-again") {
        at(Step::BecomePayload, close_on_exec_from(3))?;
    }
    if setup.single_id {
        own_user_namespace()?; // a second id without a second host id
        privilege::close_the_way_back()?; // a new user namespace opens it again
    } else {
        become_payload_ids()?;
    }
    privilege::empty_all_sets()?;
    let landlock = rights::restrict(setup)?;
    if setup.limit_memory {
        rights::filter(Profile::Unseen)?;
        // With one id and no Landlock, the payload could write the bounds itself.
        if !segments || (setup.single_id && landlock == 0) {
            rights::filter(Profile::Unbound)?;
        }
    }
    if !setup.exec {
        rights::filter(Profile::NoExec)?;
    }
    rights::filter(setup.profile)?; // the last: it forbids any other
    wait_for_init(confined)?;
    let ready = Report::Ready { landlock };
    at(Step::ReadStart, write_at_once(inherited.report.as_fd(), &ready.encode()))?;
    let start = read_start(ours.start.as_fd())?;
    if setup.authority {
        trust::write(&start.authority)?;
    }
    if let Some(text) = &start.parks {
        at(Step::WriteStartup, write_startup(text))?;
        at(Step::ReadStart, keep_on_exec(&ours.start))?; // the program reads a second message there
    }
    at(Step::ChangeDirectory, chdir(OsStr::from_bytes(&start.cwd)))?;
    if let Some(channel) = ours.channel {
        // The lowest number that is free from there on, and not closed at exec.
        let passed = at(Step::PassChannel, fcntl(&channel, FcntlArg::F_DUPFD(CHANNEL)))?;
        ensure(Step::PassChannel, passed == CHANNEL)?;
    }
    Err(execute(&start))
}

/// Init says when it has given up its own power over the sandbox. If it could not, it is gone.
fn wait_for_init(confined: OwnedFd) -> Result<(), Failed> {
    at(Step::Fork, File::from(confined).read_exact(&mut [0]))
}

fn become_payload_ids() -> Result<(), Failed> {
    let (user, group) = (Uid::from_raw(PAYLOAD_ID), Gid::from_raw(PAYLOAD_ID));
    at(Step::BecomePayload, setgroups(&[]))?;
    at(Step::BecomePayload, setresgid(group, group, group))?;
    at(Step::BecomePayload, setresuid(user, user, user))?;
    let users = at(Step::BecomePayload, getresuid())?;
    let groups = at(Step::BecomePayload, getresgid())?;
    let all_users = [users.real, users.effective, users.saved].iter().all(|id| *id == user);
    let all_groups = [groups.real, groups.effective, groups.saved].iter().all(|id| *id == group);
    ensure(Step::BecomePayload, all_users && all_groups)
}

/// The launcher has one host id only. In a user namespace beneath the sandbox's, that id is the
/// payload's, and no capability over the sandbox comes with it.
fn own_user_namespace() -> Result<(), Failed> {
    at(Step::BecomePayload, unshare(CloneFlags::CLONE_NEWUSER))?;
    for (file, text) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("{PAYLOAD_ID} {INIT_ID} 1\n")),
        ("/proc/self/gid_map", format!("{PAYLOAD_ID} {INIT_ID} 1\n")),
    ] {
        at(Step::BecomePayload, std::fs::write(file, text))?;
    }
    Ok(())
}

fn read_start(pipe: BorrowedFd<'_>) -> Result<Start, Failed> {
    let read = || -> io::Result<Start> {
        let mut pipe = File::from(pipe.try_clone_to_owned()?);
        let mut head = [0; 4];
        pipe.read_exact(&mut head)?;
        let mut bytes = vec![0; Start::length(head).map_err(io::Error::other)?];
        let (first, rest) = bytes.split_at_mut(head.len());
        first.copy_from_slice(&head);
        pipe.read_exact(rest)?;
        Start::decode(&bytes).map_err(io::Error::other)
    };
    at(Step::ReadStart, read())
}

/// Writes what a program that parks reads at its start, which it removes when it has. The place is new and of
/// this sandbox alone: its workspace may be that of others too.
fn write_startup(text: &[u8]) -> io::Result<()> {
    let path = Path::new(STARTUP);
    path.parent().map_or(Ok(()), |directory| DirBuilder::new().mode(0o700).create(directory))?;
    File::create_new(path)?.write_all(text)
}

/// Executes the program; a name without a slash is looked for in PATH, like execvp(3) does.
fn execute(start: &Start) -> Failed {
    let error = default_dispositions().and_then(|()| try_execute(start));
    let errno = match error {
        Ok(never) => match never {},
        Err(error) => error.raw_os_error().unwrap_or_default(),
    };
    Failed { step: Step::Exec, errno }
}

fn try_execute(start: &Start) -> io::Result<std::convert::Infallible> {
    let argv = c_strings(&start.argv)?;
    let environment = c_strings(&start.environment)?;
    let mut worst = Errno::ENOENT;
    for path in candidates(start) {
        let path = CString::new(path.into_os_string().as_bytes())?;
        match execve(&path, &argv, &environment) {
            Ok(never) => return Ok(never),
            // It may stand in a later directory; if not, this is the error to tell.
            Err(Errno::EACCES) => worst = Errno::EACCES,
            Err(Errno::ENOENT | Errno::ENOTDIR) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Err(worst.into())
}

fn candidates(start: &Start) -> Vec<PathBuf> {
    let name = start.argv.first().map(Vec::as_slice).unwrap_or_default();
    if name.contains(&b'/') {
        return vec![PathBuf::from(OsStr::from_bytes(name))];
    }
    let path = start.environment.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let directories = path.unwrap_or(b"/usr/local/bin:/usr/bin:/bin").split(|byte| *byte == b':');
    // An empty element would mean the working directory: files that the payload itself may write.
    let directories = directories.filter(|directory| directory.starts_with(b"/"));
    directories
        .map(|each| PathBuf::from(OsStr::from_bytes(each)).join(OsStr::from_bytes(name)))
        .collect()
}

fn c_strings(strings: &[Vec<u8>]) -> io::Result<Vec<CString>> {
    strings.iter().map(|text| CString::new(text.as_slice()).map_err(io::Error::from)).collect()
}
