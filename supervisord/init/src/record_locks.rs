//! How many record locks (fcntl(2), F_SETLK) an execution holds. The kernel bounds them nowhere and charges nobody with
//! their memory (CVE-2022-0480), and who closes a file, the host's programs too, walks past all that are on it.
//!
//! Init is asked about each such call ([`crate::questions`]). What is behind its pointer is the payload's memory: we
//! don't look at it, and an unlocking is a call like any other. So calls are what is counted, and when as many
//! have gone on as could have come to the bound, /proc/locks says how many locks there are. The kernel shows in it
//! whose process is of our pid namespace. Who calls meanwhile, and who went on and had not got his lock when it
//! was read, comes on top: one for each thread of the sandbox.
//!
//! To read that list stops everybody's locks on the host for that time, so it is not read often, however many ask.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use supervisor_launch::Step;

use crate::failure::{Failed, at};
use crate::from_start::FromStart;

/// Locks of an execution. 192 bytes each, so 192 KiB; on one file they make a `close` of it take some 50 µs longer. A
/// connection of SQLite has three, and who has a hundred of them open is far from it.
const MOST: usize = 1024;

/// More that one call can leave behind: a lock for writing amid one for reading makes three of it.
const PER_CALL: usize = 2;

/// With room for fewer calls than these it is full: else each of the last ones would have the list read.
const FEW: usize = 128;

/// Between two readings of the list, and once more for every [`LINES`] in it: reading takes longer the longer it
/// is, and should take no more than a hundredth of the time.
const BETWEEN: Duration = Duration::from_millis(10);
const LINES: u32 = 32;

/// Bytes of the list that are read at the most; 4,000 lines. Each page of it begins with a walk past all before.
/// Locks by flock are in it too, of which a payload can have as many as files.
const LONGEST: u64 = 256 << 10;

/// Those of one sandbox. Belongs to init alone.
pub struct RecordLocks {
    list: File,
    room: Room,
}

impl RecordLocks {
    /// Looks up the list, before it is covered for everybody.
    pub fn open() -> Result<Self, Failed> {
        let list = open(c"proc/locks", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
        let list = at(Step::CountLocks, list)?.into();
        Ok(Self { list, room: Room::new(Instant::now()) })
    }

    /// For how long nobody gets an answer; zero if the next who asks gets one.
    pub fn busy(&self, now: Instant) -> Duration {
        self.room.busy(now)
    }

    /// Whether one more call may go on.
    pub fn admit(&mut self, now: Instant) -> bool {
        if self.room.is_unknown(now) {
            // Unread is full: nobody gets a lock that was not counted.
            let seen = count(&self.list).unwrap_or(Seen { held: MOST, lines: 0 });
            self.room.counted(seen, Instant::now());
        }
        self.room.take()
    }
}

/// What is known of how many more there may be.
struct Room {
    /// Calls that may go on, whatever they do.
    calls: usize,
    /// There was room for few when it was looked at last.
    full: bool,
    /// It isn't looked at before.
    again: Instant,
}

/// What the list says.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// Record locks of our pid namespace, those included that are waited for.
    held: usize,
    /// All that is in it, as far as it was read.
    lines: u32,
}

impl Room {
    /// That of a sandbox that holds none.
    fn new(now: Instant) -> Self {
        Self { calls: MOST / PER_CALL, full: false, again: now }
    }

    /// Who asks too often waits; who can't have more is told so.
    fn busy(&self, now: Instant) -> Duration {
        let used_up = self.calls == 0 && !self.full;
        if used_up { self.again.saturating_duration_since(now) } else { Duration::ZERO }
    }

    fn is_unknown(&self, now: Instant) -> bool {
        self.calls == 0 && now >= self.again
    }

    fn counted(&mut self, seen: Seen, now: Instant) {
        let calls = MOST.saturating_sub(seen.held) / PER_CALL;
        self.full = calls < FEW;
        self.calls = if self.full { 0 } else { calls };
        self.again = now + BETWEEN * (1 + seen.lines / LINES);
    }

    fn take(&mut self) -> bool {
        let left = self.calls.checked_sub(1);
        self.calls = left.unwrap_or_default();
        left.is_some()
    }
}

/// Reads the list, and no more of it than has to be.
fn count(list: &File) -> io::Result<Seen> {
    let mut from = BufReader::new(FromStart::of(list).take(LONGEST));
    let (mut seen, mut line) = (Seen { held: 0, lines: 0 }, Vec::new());
    while seen.held < MOST && from.read_until(b'\n', &mut line)? > 0 {
        seen.held += usize::from(is_counted(&line));
        seen.lines += 1;
        line.clear();
    }
    // What is beyond it was not seen.
    let cut = from.get_ref().limit() == 0;
    Ok(Seen { held: if cut { MOST } else { seen.held }, ..seen })
}

/// `7: POSIX  ADVISORY  WRITE 12 08:02:1234 0 EOF`, with `->` before POSIX for one who waits (proc_locks(5)). The pid is
/// 0 or negative where it is nobody's of this pid namespace.
fn is_counted(line: &[u8]) -> bool {
    let words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut words = words.skip(1).skip_while(|word| *word == b"->");
    let is_posix = words.next() == Some(b"POSIX");
    let pid = words.nth(2).and_then(|pid| str::from_utf8(pid).ok()?.parse::<i64>().ok());
    is_posix && pid.is_some_and(|pid| pid > 0)
}

#[cfg(test)]
#[path = "record_locks/tests.rs"]
mod tests;
