//! From the start to the finish of one program, one at a time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::arguments::Arguments;
use crate::contestant::{Contestant, Program, Who};
use crate::failure::Failure;
use crate::turns::Turns;

/// Every sample.
pub type Latency = BTreeMap<(Program, Who), Vec<Duration>>;

/// Rounds that don't count: files get into the page cache, pools fill.
const WARM_UP: usize = 5;

/// Has everybody run each program, in turns.
pub fn measure(
    contestants: &[(Who, &dyn Contestant)],
    arguments: &Arguments,
) -> Result<Latency, Failure> {
    let mut samples = Latency::new();
    let mut turns = Turns::new();
    let mut runners = Vec::new();
    for (who, contestant) in contestants {
        runners.push((*who, contestant.runner()?));
    }
    for program in [Program::True, Program::Python] {
        for round in 0..WARM_UP + arguments.rounds(program) {
            turns.shuffle(&mut runners);
            for (who, runner) in &mut runners {
                let start = Instant::now();
                runner.run(program)?;
                let took = start.elapsed();
                if round >= WARM_UP {
                    samples.entry((program, *who)).or_default().push(took);
                }
            }
        }
    }
    Ok(samples)
}
