//! The first words to the launcher: which version it speaks. A package upgrade restarts the daemon
//! alone, so the launcher may be older; it may be newer too, and then it answers as it was asked.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use supervisor_launch::{MAX_MESSAGE, OLDEST, Reply, Request, VERSION};
use supervisor_sys::{receive, send};

/// How long an answer may take in milliseconds: a launcher hears one daemon at a time, and the one before
/// us may still be ending.
const PATIENCE: u16 = 30_000;

/// Connects to a launcher and finds the newest version that both of us speak. One that does not know a
/// version ends the connection, and its sandboxes stay.
pub fn reach(path: &Path) -> io::Result<(OwnedFd, u16)> {
    let mut failed = io::Error::other("no version is spoken");
    for version in (OLDEST..=VERSION).rev() {
        let connection = connect_to(path)?;
        match ask(&connection, version) {
            Ok(()) => return Ok((connection, version)),
            Err(error) => failed = error,
        }
    }
    Err(about(path, &failed))
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
    fn the_newest_version_is_tried_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("launcher.sock");
        let launcher = speak(&path, VERSION, 1);
        assert_eq!(reach(&path).unwrap().1, VERSION);
        launcher.join().unwrap();
    }
}
