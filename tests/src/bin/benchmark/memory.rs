//! What a sandbox costs in memory while nothing happens in it. The proportional set size counts a
//! page that several processes share by its part in each (proc(5), smaps_rollup).

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::contestant::{Contestant, Sleepers, Who};
use crate::environment::Environment;
use crate::failure::Failure;

/// Sandboxes at once.
pub const SANDBOXES: usize = 8;

/// How long it may take until every sandbox has its sleeper.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an idle sandbox costs, in KiB.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Processes that were made for it, without the payload.
    pub own: f64,
    /// What the processes grew by that are there anyway.
    pub growth: f64,
    /// The payload.
    pub payload: f64,
}

/// What everybody's costs.
pub type Memory = BTreeMap<Who, Cost>;

/// Measures everybody; nobody without root, because others' memory is root's to see.
pub fn measure(
    contestants: &[(Who, &dyn Contestant)],
    environment: &Environment,
) -> Result<Memory, Failure> {
    if !environment.is_root {
        return Ok(Memory::new());
    }
    contestants.iter().map(|(who, contestant)| Ok((*who, cost(*contestant)?))).collect()
}

fn cost(contestant: &dyn Contestant) -> Result<Cost, Failure> {
    // One for nothing: what is made at first use and kept is not the price of each.
    let mut first = contestant.sleepers(1)?;
    settle(&*first, 1)?;
    first.end()?;
    let standing = contestant.standing();
    let before = sum(&standing)?;
    let mut sleepers = contestant.sleepers(SANDBOXES)?;
    let (own, payload) = settle(&*sleepers, SANDBOXES)?;
    let own: Vec<u32> = own.into_iter().filter(|process| !standing.contains(process)).collect();
    let each = |sum: f64| sum / SANDBOXES as f64;
    let cost = Cost {
        own: each(sum(&own)?),
        growth: each(sum(&standing)? - before),
        payload: each(sum(&payload)?),
    };
    sleepers.end()?;
    Ok(cost)
}

/// Waits until every sandbox has its sleeper: the other processes, and the sleepers.
fn settle(sleepers: &dyn Sleepers, count: usize) -> Result<(Vec<u32>, Vec<u32>), Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let all = descendants(&sleepers.roots());
        let (payload, own): (Vec<u32>, Vec<u32>) =
            all.into_iter().partition(|process| name(*process).as_deref() == Some("sleep"));
        if payload.len() == count {
            return Ok((own, payload));
        }
        if Instant::now() > until {
            let there = payload.len();
            return Err(Failure::new(format!("only {there} of {count} sleepers are there")));
        }
        sleep(Duration::from_millis(50));
    }
}

/// These processes and all that descend from them.
pub fn descendants(roots: &[u32]) -> Vec<u32> {
    let mut found: Vec<u32> = roots.to_vec();
    let mut next = roots.to_vec();
    while let Some(process) = next.pop() {
        let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            let children = text.split_whitespace().filter_map(|word| word.parse().ok());
            for child in children.collect::<Vec<u32>>() {
                found.push(child);
                next.push(child);
            }
        }
    }
    found
}

fn name(process: u32) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{process}/comm")).ok()?;
    Some(text.trim_end().to_owned())
}

/// The sum of their sizes in KiB.
pub fn sum(processes: &[u32]) -> Result<f64, Failure> {
    let mut sum = 0.0;
    for process in processes {
        let path = format!("/proc/{process}/smaps_rollup");
        let text = fs::read_to_string(&path).map_err(Failure::of(format!("read {path}")))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number =
            line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
        sum += number.ok_or_else(|| Failure::new(format!("{path} has no Pss")))?;
    }
    Ok(sum)
}
