//! Executions per second with several in flight, and whether the rate stays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::contestant::{Contestant, Program, Runner, Who};
use crate::failure::Failure;
use crate::processor;
use crate::turns::Turns;

/// How many are in flight.
pub const IN_FLIGHT: [usize; 4] = [1, 2, 8, 64];

/// How many are in flight in the sustained load.
const SUSTAINED: usize = 8;

/// Slices of the sustained load.
const SLICES: u32 = 6;

/// Executions that finished, and the time until the last of them had.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// How many.
    pub finished: u64,
    /// From the first start to the last finish.
    pub took: Duration,
}

/// Every slice.
pub type Throughput = BTreeMap<(usize, Who), Vec<Slice>>;

/// The sustained load, slice by slice.
#[derive(Debug)]
pub struct Sustained {
    /// What was finished.
    pub slices: Vec<Slice>,
    /// Processor time of ours, without what was made for each execution.
    pub used: Vec<Duration>,
}

/// Executions per second over all slices; `None` of none.
pub fn rate(slices: &[Slice]) -> Option<f64> {
    let finished: u64 = slices.iter().map(|slice| slice.finished).sum();
    let took: Duration = slices.iter().map(|slice| slice.took).sum();
    (!took.is_zero()).then(|| finished as f64 / took.as_secs_f64())
}

/// Loads everybody with each number in flight, in turns.
pub fn measure(
    contestants: &[(Who, &dyn Contestant)],
    arguments: &Arguments,
) -> Result<Throughput, Failure> {
    let mut slices = Throughput::new();
    let mut turns = Turns::new();
    let mut contestants = contestants.to_vec();
    let (length, rounds) = arguments.slices();
    for in_flight in IN_FLIGHT {
        for _ in 0..rounds {
            turns.shuffle(&mut contestants);
            for (who, contestant) in &contestants {
                let slice = load(*contestant, in_flight, length, &|_| {})?;
                slices.entry((in_flight, *who)).or_default().push(slice);
            }
        }
    }
    Ok(slices)
}

/// Loads one contestant without a pause; the slices follow each other.
pub fn sustain(contestant: &dyn Contestant, arguments: &Arguments) -> Result<Sustained, Failure> {
    let standing = contestant.standing();
    let length = arguments.sustained_slice();
    let counts: Vec<AtomicU64> = (0..SLICES).map(|_| AtomicU64::new(0)).collect();
    let count = |after: Duration| {
        let slice = after.as_nanos() / length.as_nanos();
        if let Some(count) = usize::try_from(slice).ok().and_then(|slice| counts.get(slice)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    };
    let begun = Instant::now();
    let watch = || -> Result<Vec<Duration>, Failure> {
        let mut times = vec![processor::time_of(&standing)?];
        for slice in 1..=SLICES {
            thread::sleep((length * slice).saturating_sub(begun.elapsed()));
            times.push(processor::time_of(&standing)?);
        }
        Ok(times)
    };
    let times = thread::scope(|scope| {
        let watch = scope.spawn(watch);
        load(contestant, SUSTAINED, length * SLICES, &count)?;
        watch.join().unwrap_or_else(|_| Err(Failure::new("a thread of the benchmark panicked")))
    })?;
    let finished = counts.into_iter().map(AtomicU64::into_inner);
    let used = times.iter().zip(times.iter().skip(1)).map(|(before, after)| *after - *before);
    Ok(Sustained {
        slices: finished.map(|finished| Slice { finished, took: length }).collect(),
        used: used.collect(),
    })
}

/// Keeps so many in flight until the time is up, and waits for the last of them: with the time of
/// the last finish in the count, nobody gains by being late. `each` is told when one has finished.
fn load(
    contestant: &dyn Contestant,
    in_flight: usize,
    length: Duration,
    each: &(dyn Fn(Duration) + Sync),
) -> Result<Slice, Failure> {
    let mut runners = Vec::new();
    for _ in 0..in_flight {
        runners.push(contestant.runner()?);
    }
    let start = Instant::now();
    let counts: Result<Vec<u64>, Failure> = thread::scope(|scope| {
        let one_after_the_other = |mut runner: Box<dyn Runner + '_>| {
            let mut finished = 0;
            while start.elapsed() < length {
                runner.run(Program::True)?;
                each(start.elapsed());
                finished += 1;
            }
            Ok(finished)
        };
        let threads: Vec<_> = runners
            .into_iter()
            .map(|runner| scope.spawn(move || one_after_the_other(runner)))
            .collect();
        let lost = |_| Err(Failure::new("a thread of the benchmark panicked"));
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(lost)).collect()
    });
    Ok(Slice { finished: counts?.into_iter().sum(), took: start.elapsed() })
}
