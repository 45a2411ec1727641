//! Many callers at once, for a while: every execution ends once and as it has to, though the daemon is killed
//! under them and connections are cut, and the supervisor is as large after as before.
//!
//! `SUPERVISOR_LOAD=SECONDS` goes on for so long and for ten thousand executions at the least, instead of for a few;
//! only then is memory held to a bound. The numbers are printed.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and so does what it stands on"
)]

#[path = "load/account.rs"]
mod account;
#[path = "load/caller.rs"]
mod caller;
#[path = "load/size.rs"]
mod size;
#[path = "load/wanted.rs"]
mod wanted;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use supervisor_tests::{Settings, World, slowness};

use crate::caller::{Caller, End};
use crate::size::{Sample, Size};

/// Callers, each with a uid of its own.
const CALLERS: usize = 64;

/// Executions where nobody says for how long, and where somebody does.
const FEW: usize = 192;
const MANY: usize = 10_000;

/// The uid of the first caller.
const FIRST: u32 = 3000;

/// How often the daemon dies in the first third of the load. After that it lives, and is measured.
const DEATHS: u32 = 3;
const DEATHS_OF_MANY: u32 = 20;

/// Between two looks at the progress of the load.
const LOOK: Duration = Duration::from_millis(100);

/// Between two lines about it, where it takes long.
const LINE: Duration = Duration::from_secs(30);

/// How much is asked of the supervisor.
struct Load {
    executions: usize,
    time: Duration,
    deaths: u32,
    is_long: bool,
}

impl Load {
    fn asked() -> Self {
        let Ok(asked) = std::env::var("SUPERVISOR_LOAD") else {
            let executions = FEW / usize::try_from(slowness()).unwrap_or(1);
            return Self { executions, time: Duration::ZERO, deaths: DEATHS, is_long: false };
        };
        let time = Duration::from_secs(asked.parse().expect("SUPERVISOR_LOAD is seconds"));
        Self { executions: MANY, time, deaths: DEATHS_OF_MANY, is_long: true }
    }

    /// Whether there is no more to begin.
    fn is_over(&self, begun: usize, since: Instant) -> bool {
        begun >= self.executions && since.elapsed() >= self.time
    }

    /// How much of it is done, of 1.
    fn done(&self, ended: usize, since: Instant) -> f64 {
        let counted = ended as f64 / self.executions as f64;
        if self.time.is_zero() {
            return counted;
        }
        counted.min(since.elapsed().as_secs_f64() / self.time.as_secs_f64())
    }
}

#[test]
fn many_callers_get_one_right_outcome_each_and_leave_nothing() {
    let load = Load::asked();
    let tables = "[warm]\nparked = 2\n".to_owned();
    let mut world = World::with(Settings { running: 16, tables, ..Settings::default() });
    world.expect_nothing_left();
    let (before, seed) = (Size::of(&world), world.seed());
    let (begun, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let since = Instant::now();
    let (ends, samples) = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| {
                let client = world.agent(FIRST + u32::try_from(number).expect("a few"));
                let (load, begun, ended) = (&load, &begun, &ended);
                scope.spawn(move || {
                    let caller = Caller::new(client);
                    let mut ends = Vec::new();
                    loop {
                        let number = begun.fetch_add(1, Ordering::Relaxed);
                        if load.is_over(number, since) {
                            return (caller, ends);
                        }
                        ends.push(caller.run(number));
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let (mut deaths, mut samples, mut line) = (0, Vec::new(), Instant::now());
        while !callers.iter().all(|caller| caller.is_finished()) {
            let count = ended.load(Ordering::Relaxed);
            let due = f64::from(deaths + 1) / f64::from(3 * load.deaths);
            if deaths < load.deaths && load.done(count, since) >= due {
                world.daemon().kill();
                world.start_daemon();
                deaths += 1;
            }
            let sample = Sample::of(&world, seed, count, since.elapsed());
            if load.is_long && line.elapsed() >= LINE {
                line = Instant::now();
                eprintln!("{sample}");
            }
            if deaths == load.deaths {
                samples.push(sample);
            }
            thread::sleep(LOOK); // between two samples
        }
        let done: Vec<_> = callers.into_iter().map(|it| it.join().expect("it holds")).collect();
        let mut all = BTreeMap::new();
        for (caller, ends) in done {
            // What a caller was not told of would be an execution too many.
            assert_eq!(caller.count(), ends.len(), "an execution was made twice or not at all");
            all.extend(ends.into_iter().map(|end| (end.id, end)));
        }
        (all, samples)
    });
    let took = since.elapsed();
    assert!(ends.len() >= load.executions, "{} ended", ends.len());
    account::expect(&world, &ends);
    world.expect_nothing_left();
    Size::expect_back(&world, &before);
    tell(&load, &ends, took);
    size::tell(&samples, load.is_long);
}

/// Prints how long it took, and what became of it.
fn tell(load: &Load, ends: &BTreeMap<supervisor_api::ExecutionId, End>, took: Duration) {
    let again: usize = ends.values().map(|end| end.reconnects).sum();
    eprintln!(
        "{} executions of {CALLERS} callers in {took:?}, {} deaths of the daemon, {again} calls made again",
        ends.len(),
        load.deaths,
    );
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for end in ends.values() {
        *outcomes.entry(end.outcome.name()).or_default() += 1;
    }
    eprintln!("outcomes: {outcomes:?}");
    let short = ends.values().filter(|end| end.is_short).map(|end| end.took);
    spread("from submission to the end, of those that do nothing", short.collect());
    spread("a submission's answer", ends.values().map(|end| end.answered).collect());
}

fn spread(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get(times.len() * share / 100).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    eprintln!("{what}: p50 {:?}, p99 {:?}, longest {longest:?}", at(50), at(99));
}
