//! What a sandbox reports to the daemon: fixed-size records on a pipe, each written at once.

use crate::Step;
use crate::wire::{Malformed, Reader, Writer};

/// A record from init, or from the payload's stub before exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The sandbox is finished and waits for its [`crate::Start`].
    Ready {
        /// The Landlock ABI in force, 0 for none.
        landlock: u8,
    },
    /// A step failed; nothing of the payload ran.
    Failed {
        /// Which one.
        step: Step,
        /// The kernel's error number.
        errno: i32,
    },
    /// The payload's first process has ended.
    Ended {
        /// Its exit status, or the signal that ended it.
        status: Ended,
        /// The largest resident set of a process, in KiB (`getrusage`, children).
        max_rss: u64,
        /// CPU time of all processes that were waited for, in microseconds.
        cpu: u64,
    },
}

/// How the payload's first process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(u8),
    /// This signal ended it.
    Signaled(u8),
}

impl Report {
    /// Length of a record in bytes; well below PIPE_BUF, so records never mix.
    pub const LENGTH: usize = 24;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut writer = Writer::default();
        match *self {
            Report::Ready { landlock } => {
                writer.u8(1);
                writer.u8(landlock);
            }
            Report::Failed { step, errno } => {
                writer.u8(2);
                writer.u8(step as u8);
                writer.u16(0);
                writer.i32(errno);
            }
            Report::Ended { status, max_rss, cpu } => {
                writer.u8(3);
                let (kind, value) = match status {
                    Ended::Exited(code) => (0, code),
                    Ended::Signaled(signal) => (1, signal),
                };
                writer.u8(kind);
                writer.u8(value);
                writer.u8(0);
                writer.u32(0);
                writer.u64(max_rss);
                writer.u64(cpu);
            }
        }
        let mut bytes = [0; Self::LENGTH];
        for (to, from) in bytes.iter_mut().zip(writer.0) {
            *to = from;
        }
        bytes
    }

    /// Reads a record. What a kind has no use for must be zero.
    pub fn decode(bytes: &[u8; Self::LENGTH]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let report = match reader.u8()? {
            1 => Report::Ready { landlock: reader.u8()? },
            2 => {
                let step = Step::from_code(reader.u8()?).ok_or(Malformed("unknown step"))?;
                reader.u16()?;
                Report::Failed { step, errno: reader.i32()? }
            }
            3 => {
                let status = match (reader.u8()?, reader.u8()?) {
                    (0, code) => Ended::Exited(code),
                    (1, signal) => Ended::Signaled(signal),
                    _ => return Err(Malformed("unknown end")),
                };
                reader.u8()?;
                reader.u32()?;
                Report::Ended { status, max_rss: reader.u64()?, cpu: reader.u64()? }
            }
            _ => return Err(Malformed("unknown report")),
        };
        if report.encode() == *bytes { Ok(report) } else { Err(Malformed("padding")) }
    }
}
