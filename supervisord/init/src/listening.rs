//! How many sockets of an execution listen for connections by TCP. What has come to one and nobody has accepted is in
//! nobody's memory, 65 of each ([`crate::network`]), and a socket is an open file, of which each process has its own
//! number.
//!
//! Which socket it is that is to listen is behind a number that the payload can have mean another one meanwhile: we
//! don't look. So calls are what is counted, and when as many have gone on as could have come to the bound, the list of
//! our network namespace says how many sockets listen. Who listens anew on the same socket, whose call fails, or who has
//! closed his since costs a reading and no more. Who went on and doesn't listen yet when it is read comes on top: one
//! for each thread of the sandbox.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use supervisor_launch::{MAX_PORTS, Step};
use supervisor_sys::without;

use crate::failure::{Failed, at};
use crate::from_start::FromStart;

/// Sockets of an execution that listen: more than the programs of a large test run have at once, and with 65 connections
/// of each and 15 KiB of each of those, 122 MiB that nobody is charged with.
const MOST: usize = 128;

/// The daemon's own in the same network namespace, which are in the list too: the proxy's, 80, 443, 53, and those that
/// the policy names.
const OURS: usize = 4 + MAX_PORTS;

/// As the list has the state of a socket that listens (`TCP_LISTEN`).
const LISTENS: &[u8] = b"0A";

/// Those of one sandbox. Belongs to init alone.
pub struct Listening {
    lists: Vec<File>,
    /// Calls that may go on, whatever they do.
    calls: usize,
}

impl Listening {
    /// Looks up the lists, of our own network namespace.
    pub fn open() -> Result<Self, Failed> {
        if without("listener-limit") {
            return Ok(Self { lists: Vec::new(), calls: usize::MAX });
        }
        let list = |path| open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let mut lists = vec![at(Step::CountListeners, list(c"proc/self/net/tcp"))?.into()];
        match list(c"proc/self/net/tcp6") {
            Err(Errno::ENOENT) => {} // the host has switched IPv6 off
            other => lists.push(at(Step::CountListeners, other)?.into()),
        }
        Ok(Self::of(lists))
    }

    fn of(lists: Vec<File>) -> Self {
        Self { lists, calls: MOST }
    }

    /// Whether one more may listen.
    pub fn admits(&mut self) -> bool {
        if self.calls == 0 {
            // Unread is full: nobody listens that was not counted.
            let listen = self.count().unwrap_or(usize::MAX);
            self.calls = (MOST + OURS).saturating_sub(listen);
        }
        let left = self.calls.checked_sub(1);
        self.calls = left.unwrap_or_default();
        left.is_some()
    }

    fn count(&self) -> io::Result<usize> {
        self.lists.iter().try_fold(0, |sum, list| Ok(sum + count(list)?))
    }
}

/// Sockets of a list that listen, and no more of them than decide something. They come first, so the connections are not
/// read.
fn count(list: &File) -> io::Result<usize> {
    let mut from = BufReader::new(FromStart::of(list));
    let (mut listen, mut line) = (0, Vec::new());
    from.read_until(b'\n', &mut line)?; // what the columns are
    while listen < MOST + OURS {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 || !listens(&line) {
            break;
        }
        listen += 1;
    }
    Ok(listen)
}

/// `  0: 0100007F:0C38 00000000:0000 0A 00000000:00000000 …` (proc_pid_net(5)).
fn listens(line: &[u8]) -> bool {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.nth(3) == Some(LISTENS)
}

#[cfg(test)]
#[path = "listening/tests.rs"]
mod tests;
