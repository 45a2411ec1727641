//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::contestant::Program;
use crate::failure::Failure;

/// What can be measured for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Executions that start cold.
    Executions,
    /// Executions that find a sandbox parked.
    Warm,
    /// Cells of an interpreter.
    Cells,
    /// The way out.
    Egress,
}

/// What to measure, and how long.
#[derive(Debug)]
pub struct Arguments {
    /// About two minutes in place of ten: enough to see whether a change did anything.
    pub quick: bool,
    /// What alone is measured; everything, if nothing is named.
    pub only: Option<Part>,
    /// Where every raw number goes.
    pub json: Option<PathBuf>,
}

const USAGE: &str =
    "usage: benchmark [--quick] [--only executions|warm|cells|egress] [--json FILE]";

impl Arguments {
    /// Reads the words; `None` if help was all that was wanted.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, Failure> {
        let mut read = Self { quick: false, only: None, json: None };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--quick" => read.quick = true,
                "--only" => {
                    read.only = match words.next().as_deref() {
                        Some("executions") => Some(Part::Executions),
                        Some("warm") => Some(Part::Warm),
                        Some("cells") => Some(Part::Cells),
                        Some("egress") => Some(Part::Egress),
                        _ => return Err(Failure::new(USAGE)),
                    }
                }
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

    /// Whether a part is measured.
    pub fn measures(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    /// How often each of two runs a Python program one at a time.
    pub fn warm_rounds(&self) -> usize {
        if self.quick { 50 } else { 300 }
    }

    /// How often each of two runs a cell.
    pub fn cell_rounds(&self) -> usize {
        if self.quick { 300 } else { 2000 }
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
