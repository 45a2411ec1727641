//! How large the supervisor is: memory over time, and what it holds of the host before and after.

use std::fmt;
use std::fs;
use std::time::Duration;

use supervisor_tests::{World, descriptors, resident_bytes, until_true};

/// Our processes.
const NAMES: [&str; 3] = ["daemon", "launcher", "seed of inits"];

/// Bytes that each may grow by for an execution, by the slope over the second half of the load. The others' slopes
/// stay below half a page for ten executions: they keep nothing.
const GROWTH: [f64; 3] = [1024.0, 64.0, 16.0];

/// Descriptors that may come or go without being a leak: a connection that is being closed.
const SLACK: usize = 2;

/// What one look at our processes found.
pub struct Sample {
    ended: usize,
    at: Duration,
    resident: [u64; 3],
}

impl Sample {
    /// Looks, for a launcher whose seed is known: while it starts sandboxes it has children that pass.
    pub fn of(world: &World, seed: u32, ended: usize, at: Duration) -> Self {
        let pids = [world.daemon_pid(), world.launcher_pid(), seed];
        Self { ended, at, resident: pids.map(resident_bytes) }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.0} s, {:>6} ended, KiB resident:", self.at.as_secs_f64(), self.ended)?;
        for (name, bytes) in NAMES.iter().zip(self.resident) {
            write!(f, " {name} {}", bytes / 1024)?;
        }
        Ok(())
    }
}

/// Descriptors and mounts of daemon and launcher.
#[derive(Debug, PartialEq, Eq)]
pub struct Size {
    descriptors: [usize; 2],
    mounts: [usize; 2],
}

impl Size {
    pub fn of(world: &World) -> Self {
        let pids = [world.daemon_pid(), world.launcher_pid()];
        let mounts = |pid: u32| {
            let table = fs::read_to_string(format!("/proc/{pid}/mountinfo"));
            table.expect("it runs").lines().count()
        };
        Self { descriptors: pids.map(|pid| descriptors(pid).len()), mounts: pids.map(mounts) }
    }

    /// Fails unless it comes back to what it was.
    #[track_caller]
    pub fn expect_back(world: &World, before: &Self) {
        let mut now = Self::of(world);
        eprintln!("before {before:?}, after {now:?}");
        until_true(&format!("the supervisor is back from {now:?} to {before:?}"), || {
            now = Self::of(world);
            let mut pairs = now.descriptors.iter().zip(before.descriptors);
            now.mounts == before.mounts && pairs.all(|(now, before)| *now <= before + SLACK)
        });
    }
}

/// Prints how memory went, and holds it to the bounds where that says something.
pub fn tell(samples: &[Sample], is_held: bool) {
    let half = &samples[samples.len() / 2..];
    for (which, (name, most)) in NAMES.iter().zip(GROWTH).enumerate() {
        let bytes = |sample: &Sample| sample.resident[which] as f64;
        let by_execution = slope(half, |sample| sample.ended as f64, bytes);
        let by_minute = slope(half, |sample| sample.at.as_secs_f64() / 60.0, bytes);
        let last = samples.last().map_or(0, |sample| sample.resident[which]);
        eprintln!(
            "{name}: {} KiB resident at last; {by_execution:+.1} bytes an execution, {by_minute:+.0} a minute",
            last / 1024
        );
        assert!(!is_held || by_execution < most, "{name} grows by {by_execution} an execution");
    }
}

/// By least squares.
fn slope(samples: &[Sample], x: impl Fn(&Sample) -> f64, y: impl Fn(&Sample) -> f64) -> f64 {
    let count = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (middle_x, middle_y) = (mean(&x), mean(&y));
    let (mut above, mut below) = (0.0, 0.0);
    for sample in samples {
        above += (x(sample) - middle_x) * (y(sample) - middle_y);
        below += (x(sample) - middle_x).powi(2);
    }
    if below == 0.0 { 0.0 } else { above / below }
}
