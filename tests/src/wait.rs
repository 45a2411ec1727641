//! Waiting for something that can be observed, never for time to pass.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take on a host that is busy with other things. A test that fails by it says
/// what it waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How many times as long as on a machine of its own anything may take here, such as in one that is emulated:
/// `SUPERVISOR_TEST_SLOWNESS`, 1 if nobody says.
pub fn slowness() -> u32 {
    let told = std::env::var("SUPERVISOR_TEST_SLOWNESS");
    told.map_or(1, |told| told.parse().expect("SUPERVISOR_TEST_SLOWNESS is a whole number"))
}

/// So many milliseconds of a machine of its own, here.
pub fn milliseconds(quick: u64) -> u64 {
    quick * u64::from(slowness())
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until there is something to see.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        sleep(PAUSE);
    }
}

/// Looks until it is so.
#[track_caller]
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}
