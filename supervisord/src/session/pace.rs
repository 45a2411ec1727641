//! How long a thread waits for the caller who sends or takes an archive: its place among the few that there are is
//! kept for a caller who goes on with it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::set::Kept;

/// For an archive from its first byte to its last: 64 GiB, the most that a uid has by default, at 20 MiB a
/// second.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Bytes of an archive that its caller moves in each second that it is waited for. Half a megabit a second: whoever
/// has a slower line has no archive of an hour on it that is worth anything to them.
const LEAST: u64 = 64 << 10;

/// What a caller may be late by that rate: whoever compresses, or asks somebody at a terminal, stands still at times.
const LATE: Duration = Duration::from_secs(60);

/// How long an archive's caller is waited for.
pub struct Pace {
    session: Arc<Kept>,
    runtime: Handle,
    until: Instant,
    bounds: Bounds,
    waited: Duration,
    moved: u64,
}

/// The least pace.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: u64,
    late: Duration,
}

impl Bounds {
    /// How much longer a caller is waited for that has been waited for so long and has moved so much.
    fn left(self, waited: Duration, moved: u64) -> Duration {
        let earned = Duration::from_millis(moved.saturating_mul(1000) / self.least);
        self.late.saturating_add(earned).saturating_sub(waited)
    }
}

impl Pace {
    /// From now on.
    pub fn of(session: &Arc<Kept>) -> Self {
        Self {
            session: session.clone(),
            runtime: Handle::current(),
            until: Instant::now() + PATIENCE,
            bounds: Bounds { least: LEAST, late: LATE },
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    /// The caller has taken or sent so many bytes more.
    pub fn moved(&mut self, bytes: usize) {
        self.moved = self.moved.saturating_add(bytes as u64);
    }

    /// What the caller comes to; an error where the session is closed, the time is up or the caller is too slow
    /// before.
    pub fn wait<T>(&mut self, caller: impl Future<Output = T>) -> io::Result<T> {
        let begun = Instant::now();
        let too_slow = begun + self.bounds.left(self.waited, self.moved);
        let come = self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.session.closing() => Err(io::Error::other("the session is being closed")),
                done = timeout_at(self.until.min(too_slow), caller) => done.map_err(|_| late(too_slow < self.until)),
            }
        });
        self.waited = self.waited.saturating_add(begun.elapsed());
        come
    }
}

fn late(is_slow: bool) -> io::Error {
    let why = match is_slow {
        true => format!(
            "its caller was {} seconds late at the {LEAST} bytes a second that are the least",
            LATE.as_secs()
        ),
        false => format!("it was not done after {} seconds", PATIENCE.as_secs()),
    };
    io::Error::new(io::ErrorKind::TimedOut, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_moves_nothing_is_waited_for_a_minute_and_each_byte_earns_its_time() {
        let bounds = Bounds { least: LEAST, late: LATE };
        assert_eq!(bounds.left(Duration::ZERO, 0), LATE);
        assert_eq!(bounds.left(LATE, 0), Duration::ZERO);
        assert_eq!(bounds.left(2 * LATE, 20), Duration::ZERO);
        // At the least pace it is never late, however long that goes on.
        let (hour, bytes) = (Duration::from_secs(3600), 3600 * LEAST);
        assert_eq!(bounds.left(hour, bytes), LATE);
        assert_eq!(bounds.left(hour + LATE, bytes), Duration::ZERO);
    }
}
