//! Who is measured, and what all of them can do.

use std::fmt;

use crate::failure::Failure;

/// The contestants, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// The program itself, without any sandbox.
    Bare,
    /// bwrap(1).
    Bubblewrap,
    /// crun(1).
    Crun,
    /// supervisord, asked over its socket.
    Ours,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Who::Bare => "bare",
            Who::Bubblewrap => "bubblewrap",
            Who::Crun => "crun",
            Who::Ours => "supervisord",
        })
    }
}

/// What is run. Absolute paths: everybody starts the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// Does nothing, so that all that is seen is the sandbox.
    True,
    /// The smallest of what people really run.
    Python,
    /// Stays and does nothing, for memory.
    Sleep,
}

impl Program {
    /// Path and arguments.
    pub const fn argv(self) -> &'static [&'static str] {
        match self {
            Program::True => &["/bin/true"],
            Program::Python => &["/usr/bin/python3", "-c", "pass"],
            Program::Sleep => &["/bin/sleep", "60"],
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Program::True => "/bin/true",
            Program::Python => "python3 -c pass",
            Program::Sleep => "sleep 60",
        })
    }
}

/// A way to run programs.
pub trait Contestant: Sync {
    /// One that runs programs one after the other. Each thread has its own.
    fn runner(&self) -> Result<Box<dyn Runner + '_>, Failure>;

    /// Processes that are there whether anything runs or not.
    fn standing(&self) -> Vec<u32> {
        Vec::new()
    }

    /// Starts so many sandboxes in which nothing happens.
    fn sleepers(&self, count: usize) -> Result<Box<dyn Sleepers + '_>, Failure>;
}

/// Runs programs one after the other.
pub trait Runner: Send {
    /// Runs one from start to finish; an error unless it exits with 0.
    fn run(&mut self, program: Program) -> Result<(), Failure>;
}

/// Sandboxes in which nothing happens.
pub trait Sleepers {
    /// The processes from which all of theirs descend.
    fn roots(&self) -> Vec<u32>;

    /// Ends them.
    fn end(&mut self) -> Result<(), Failure>;
}
