//! The first words to the launcher: which version it speaks. A package upgrade restarts the daemon
//! alone, so the launcher may be older; it may be newer too, and then it answers as it was asked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use supervisor_launch::{MAX_MESSAGE, OLDEST, Reply, Request, VERSION};
use supervisor_sys::{receive, send};

/// How long an answer may take in milliseconds: the launcher may be at what the daemon before us had asked for.
const PATIENCE: u16 = 30_000;

/// How often a launcher is called that ends the connection in every version, and the pause between. The daemon before
/// us lets go of the state a moment before the launcher sees it go.
const CALLS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Connects to a launcher and finds the newest version that both of us speak. One that does not know a
/// version ends the connection, and its sandboxes stay; so does one that serves another daemon.
///
/// # Errors
/// When it can't be reached, does not answer, or ends the connection whatever it is asked in.
pub fn reach(path: &Path) -> io::Result<(OwnedFd, u16)> {
    for _ in 1..CALLS {
        match call(path) {
            Err(error) if is_ended(&error) => sleep(PAUSE),
            other => return other,
        }
    }
    call(path).map_err(
        |error| {
            if is_ended(&error) { about(path, &io::Error::other(ENDED)) } else { error }
        },
    )
}

fn call(path: &Path) -> io::Result<(OwnedFd, u16)> {
    let mut failed = io::Error::other("no version is spoken");
    for version in (OLDEST..=VERSION).rev() {
        let connection = connect_to(path)?;
        match ask(&connection, version) {
            Ok(()) => return Ok((connection, version)),
            // It stands still, and would so in any version.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(about(path, &error));
            }
            Err(error) => failed = error,
        }
    }
    Err(about(path, &failed))
}

/// What it means that a launcher ends the connection in every version.
const ENDED: &str = "it ends the connection: either it serves another daemon already, whose `launcher` is the same (stop \
                     that one first, or start a launcher of its own for this one and name it in `launcher`), or it is of \
                     a version too far from this one's (restart supervisor-launcher when nothing runs)";

/// Whether the other end was closed, be it with what we said unread.
fn is_ended(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn connect_to(path: &Path) -> io::Result<OwnedFd> {
    let kind = SockType::SeqPacket;
    let connection = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let connected = connect(connection.as_raw_fd(), &UnixAddr::new(path)?);
    connected.map_err(|error| about(path, &error.into()))?;
    Ok(connection)
}

fn ask(connection: &OwnedFd, version: u16) -> io::Result<()> {
    let request = Request::List.encode(version).map_err(io::Error::other)?;
    send(connection.as_fd(), &request, &[])?;
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, PollTimeout::from(PATIENCE))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut buffer = vec![0; MAX_MESSAGE];
    let (length, _) = receive(connection.as_fd(), &mut buffer)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    match Reply::decode(buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)? {
        (theirs, Reply::List { .. }) if theirs == version => Ok(()),
        _ => Err(io::Error::other("an answer to another question")),
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("the launcher's socket {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use nix::sys::socket::{Backlog, bind, listen};
    use supervisor_sys::accept;

    use super::*;

    /// A launcher that speaks one version, and ends the connection of whoever speaks another.
    fn speak(path: &Path, version: u16, connections: usize) -> thread::JoinHandle<()> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        thread::spawn(move || {
            for _ in 0..connections {
                let connection = accept(listener.as_fd()).unwrap();
                let mut buffer = vec![0; MAX_MESSAGE];
                let (length, _) = receive(connection.as_fd(), &mut buffer).unwrap();
                if buffer[..length].starts_with(&version.to_le_bytes()) {
                    let reply = Reply::List { executions: vec![3] }.encode(version).unwrap();
                    send(connection.as_fd(), &reply, &[]).unwrap();
                }
            }
        })
    }

    #[test]
    fn a_launcher_of_the_version_before_is_spoken_to_in_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("launcher.sock");
        let launcher = speak(&path, VERSION - 1, 2);
        assert_eq!(reach(&path).unwrap().1, VERSION - 1);
        launcher.join().unwrap();
    }

    #[test]
    fn a_launcher_that_ends_every_connection_is_called_again_and_then_told_with_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("launcher.sock");
        let calls = usize::from(VERSION - OLDEST + 1) * CALLS as usize;
        let launcher = speak(&path, VERSION + 1, calls);
        let said = reach(&path).unwrap_err().to_string();
        assert!(said.contains("it serves another daemon already"), "{said}");
        launcher.join().unwrap();
    }

    #[test]
    fn the_newest_version_is_tried_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("launcher.sock");
        let launcher = speak(&path, VERSION, 1);
        assert_eq!(reach(&path).unwrap().1, VERSION);
        launcher.join().unwrap();
    }
}
