//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contestant::Program;
use crate::failure::Failure;

/// What to measure, and how long.
#[derive(Debug)]
pub struct Arguments {
    /// About two minutes in place of ten: enough to see whether a change did anything.
    pub quick: bool,
    /// Whether executions are measured.
    pub executions: bool,
    /// Whether the way out is measured.
    pub egress: bool,
    /// Where every raw number goes.
    pub json: Option<PathBuf>,
}

const USAGE: &str = "usage: benchmark [--quick] [--only executions|egress] [--json FILE]";

impl Arguments {
    /// Reads the words; `None` if help was all that was wanted.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut read = Self { quick: false, executions: true, egress: true, json: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => read.quick = true,
                "--only" => match words.next().as_deref() {
                    Some("executions") => read.egress = false,
                    Some("egress") => read.executions = false,
                    _ => return Err(Failure::new(USAGE)),
                },
                "--json" => {
                    let path = words.next().ok_or_else(|| Failure::new(USAGE))?;
                    read.json = Some(PathBuf::from(path));
                }
                "--help" | "-h" => {
                    println!("{USAGE}");
                    return Ok(None);
                }
                _ => return Err(Failure::new(USAGE)),
            }
        }
        Ok(Some(read))
    }

    /// How often each contestant runs a program one at a time. A p99 needs hundreds.
    pub fn rounds(&self, program: Program) -> usize {
        match (program, self.quick) {
            (Program::Python, true) => 30,
            (Program::Python, false) => 200,
            (_, true) => 100,
            (_, false) => 600,
        }
    }

    /// For how long, and how often, each contestant is loaded with each number in flight.
    pub fn slices(&self) -> (Duration, usize) {
        if self.quick { (Duration::from_secs(1), 3) } else { (Duration::from_secs(2), 5) }
    }

    /// For how long, and how often, each proxy is loaded in each way.
    pub fn egress_slices(&self) -> (Duration, usize) {
        if self.quick { (Duration::from_millis(700), 2) } else { (Duration::from_secs(2), 4) }
    }

    /// The length of a slice of the sustained load.
    pub fn sustained_slice(&self) -> Duration {
        if self.quick { Duration::from_secs(2) } else { Duration::from_secs(5) }
    }
}
