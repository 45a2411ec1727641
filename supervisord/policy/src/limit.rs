//! The limits of an execution: their names, units and the bounds that no policy can pass.
//!
//! Names follow cgroup v2 where it has one. One table names every limit once; whatever exists once
//! for each limit is a [`PerLimit`].

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::quantity::{InvalidQuantity, Unit};

/// The most bytes of anything: the largest whole number that every reader of JSON keeps exactly
/// (RFC 8259 §6), far below where a sum of a few could wrap 64 bits.
const MAX_BYTES: u64 = (1 << 53) - 1;

/// The longest time, a year in milliseconds: counted in nanoseconds it is still far below 63 bits,
/// and what runs longer is a service, not an execution.
const MAX_TIME: u64 = 365 * 86_400_000;

/// The largest CPU share: 8,192 cores, the most that Linux is built for on x86-64.
const MAX_PERCENT: u64 = 8_192 * 100;

/// The most processes: the kernel's own ceiling for pids on 64-bit machines (PID_MAX_LIMIT).
const MAX_PIDS: u64 = 1 << 22;

/// The most open descriptors: the kernel's default for `fs.nr_open`, above which setting
/// RLIMIT_NOFILE fails.
const MAX_OPEN_FILES: u64 = 1 << 20;

/// The most inodes and the most operations per second: both are 32-bit numbers, in ext4's superblock
/// and in the kernel's `io.max`.
const MAX_32_BITS: u64 = u32::MAX as u64;

/// The least memory: half of it is what Linux charges for the namespaces of a sandbox and for two processes in them before
/// any program has memory of its own (between 512 and 768 KiB on 6.18). A program that needs more than it has is told
/// to be out of memory.
const LEAST_MEMORY: u64 = 1 << 20;

/// The fewest open descriptors: init holds fourteen while it starts a payload with a terminal or as an interpreter, to
/// which the limit applies by then.
const LEAST_OPEN_FILES: u64 = 16;

/// The most artifacts: each is a row of the store and a line of every listing.
const MAX_ARTIFACTS: u64 = 1 << 20;

/// Hands the table of limits to another macro: documentation, field, variant, name, unit, ceiling.
macro_rules! limit_table {
    ($with:ident) => {
        $with! {
            /// Memory of all processes together, tmpfs pages included (`memory.max`; swap is 0); 1 MiB at the least.
            memory_max: MemoryMax = "memory_max", Bytes, MAX_BYTES;
            /// Processes and threads together (`pids.max`).
            pids_max: PidsMax = "pids_max", Count, MAX_PIDS;
            /// CPU share in percent of one core: 50 is half a core, 200 is two (`cpu.max`).
            cpu_max: CpuMax = "cpu_max", Percent, MAX_PERCENT;
            /// CPU time of all processes together, in milliseconds.
            cpu_time: CpuTime = "cpu_time", Time, MAX_TIME;
            /// Time from start to end, in milliseconds.
            wall_time: WallTime = "wall_time", Time, MAX_TIME;
            /// Open descriptors of one process (`RLIMIT_NOFILE`); 16 at the least.
            open_files: OpenFiles = "open_files", Count, MAX_OPEN_FILES;
            /// Bytes of the workspace.
            workspace_bytes: WorkspaceBytes = "workspace_bytes", Bytes, MAX_BYTES;
            /// Files, directories and links of the workspace.
            workspace_inodes: WorkspaceInodes = "workspace_inodes", Count, MAX_32_BITS;
            /// Bytes of /tmp and /dev/shm together.
            tmp_bytes: TmpBytes = "tmp_bytes", Bytes, MAX_BYTES;
            /// Files, directories and links of /tmp and /dev/shm together.
            tmp_inodes: TmpInodes = "tmp_inodes", Count, MAX_32_BITS;
            /// Bytes kept of standard output and, counted apart, of standard error.
            output_bytes: OutputBytes = "output_bytes", Bytes, MAX_BYTES;
            /// Bytes of all artifacts together.
            artifact_bytes: ArtifactBytes = "artifact_bytes", Bytes, MAX_BYTES;
            /// Number of artifacts.
            artifact_count: ArtifactCount = "artifact_count", Count, MAX_ARTIFACTS;
            /// Bytes read per second from the state directory's disk (`io.max` rbps); 0 is no limit.
            io_read_bps: IoReadBps = "io_read_bps", BytesPerSecond, MAX_BYTES;
            /// Bytes written per second to that disk (`io.max` wbps); 0 is no limit.
            io_write_bps: IoWriteBps = "io_write_bps", BytesPerSecond, MAX_BYTES;
            /// Reads per second from that disk (`io.max` riops); 0 is no limit.
            io_read_iops: IoReadIops = "io_read_iops", PerSecond, MAX_32_BITS;
            /// Writes per second to that disk (`io.max` wiops); 0 is no limit.
            io_write_iops: IoWriteIops = "io_write_iops", PerSecond, MAX_32_BITS;
        }
    };
}

macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident: $variant:ident = $name:literal, $unit:ident, $ceiling:ident;)*) => {
        /// The name of a limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Limit {
            $($(#[$doc])* $variant,)*
        }

        impl Limit {
            /// Every limit, in the order of the documentation.
            pub const ALL: &[Limit] = &[$(Limit::$variant,)*];

            /// The name as it stands in policy files and in the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Limit::$variant => $name,)*
                }
            }

            /// What its number counts.
            pub const fn unit(self) -> Unit {
                match self {
                    $(Limit::$variant => Unit::$unit,)*
                }
            }

            /// The largest number that it can be set to by anyone.
            pub const fn ceiling(self) -> u64 {
                match self {
                    $(Limit::$variant => $ceiling,)*
                }
            }
        }

        /// One `T` for each limit.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, expecting = "a table of limits")]
        pub struct PerLimit<T> {
            $($(#[$doc])* pub $field: T,)*
        }

        impl<T> PerLimit<T> {
            /// The one of this limit.
            pub const fn at(&self, limit: Limit) -> &T {
                match limit {
                    $(Limit::$variant => &self.$field,)*
                }
            }

            /// The one of this limit, to change.
            pub const fn at_mut(&mut self, limit: Limit) -> &mut T {
                match limit {
                    $(Limit::$variant => &mut self.$field,)*
                }
            }

            /// Asks for each limit's in the order of [`Limit::ALL`].
            pub fn from_fn(mut each: impl FnMut(Limit) -> T) -> Self {
                Self { $($field: each(Limit::$variant),)* }
            }

            /// Asks for each limit's, up to the first error.
            ///
            /// # Errors
            /// The first that was answered.
            pub fn try_from_fn<E>(mut each: impl FnMut(Limit) -> Result<T, E>) -> Result<Self, E> {
                Ok(Self { $($field: each(Limit::$variant)?,)* })
            }
        }
    };
}

limit_table!(limits);

pub(crate) use limit_table;

/// A number for each limit: bytes, milliseconds, percent of a core, or a count, by its unit.
pub type Limits = PerLimit<u64>;

/// The limits a submission asks for; what is left out is the policy's default.
pub type LimitsAsked = PerLimit<Option<u64>>;

/// Why a text or a number can't be the value of a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidLimit {
    /// It is not a quantity of the limit's unit.
    Quantity(InvalidQuantity),
    /// It is zero, and zero would neither limit nor work.
    Zero,
    /// It is below what anything runs under.
    BelowLeast(Limit),
    /// It is above the ceiling of this limit.
    AboveCeiling(Limit),
}

impl Limit {
    /// The limit of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|limit| limit.name() == name)
    }

    /// Reads a value as people write it, such as `512 MiB` or `1m30s`.
    ///
    /// # Errors
    /// When it is not a quantity of the limit's unit or not a value that the limit can have.
    pub fn parse(self, text: &str) -> Result<u64, InvalidLimit> {
        self.check(self.unit().parse(text).map_err(InvalidLimit::Quantity)?)
    }

    /// Whether the limit can be set to this number at all.
    ///
    /// # Errors
    /// When it is above the limit's ceiling or below its least, or zero where zero isn't "no limit".
    pub fn check(self, value: u64) -> Result<u64, InvalidLimit> {
        if value > self.ceiling() {
            return Err(InvalidLimit::AboveCeiling(self));
        }
        if value == 0 && !self.zero_is_no_limit() {
            return Err(InvalidLimit::Zero);
        }
        if value < self.least() {
            return Err(InvalidLimit::BelowLeast(self));
        }
        Ok(value)
    }

    /// The smallest number under which anything can run.
    pub const fn least(self) -> u64 {
        match self {
            Limit::MemoryMax => LEAST_MEMORY,
            Limit::OpenFiles => LEAST_OPEN_FILES,
            _ if self.zero_is_no_limit() => 0,
            _ => 1,
        }
    }

    /// Whether 0 means that nothing is limited. It does for the four of block I/O only.
    pub const fn zero_is_no_limit(self) -> bool {
        matches!(self.unit(), Unit::BytesPerSecond | Unit::PerSecond)
    }

    /// Whether `value` lets through more than `bound` does; no limit is more than every number.
    pub const fn exceeds(self, value: u64, bound: u64) -> bool {
        self.effective(value) > self.effective(bound)
    }

    /// The value with its unit, for people.
    pub fn show(self, value: u64) -> String {
        if value == 0 && self.zero_is_no_limit() {
            "no limit".to_owned()
        } else {
            self.unit().show(value)
        }
    }

    const fn effective(self, value: u64) -> u64 {
        if value == 0 && self.zero_is_no_limit() { u64::MAX } else { value }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Limits {
    /// The value of one limit.
    pub const fn get(&self, limit: Limit) -> u64 {
        *self.at(limit)
    }

    /// Sets one limit.
    pub const fn set(&mut self, limit: Limit, value: u64) {
        *self.at_mut(limit) = value;
    }
}

impl LimitsAsked {
    /// The value asked for, if any.
    pub const fn get(&self, limit: Limit) -> Option<u64> {
        *self.at(limit)
    }

    /// Asks for a value.
    pub const fn set(&mut self, limit: Limit, value: u64) {
        *self.at_mut(limit) = Some(value);
    }
}

impl InvalidLimit {
    /// How to write it instead.
    pub fn hint(&self) -> String {
        match self {
            InvalidLimit::Quantity(invalid) => invalid.hint(),
            InvalidLimit::Zero => "write a number above zero".to_owned(),
            InvalidLimit::BelowLeast(limit) => {
                format!("{} can be {} at the least", limit, limit.show(limit.least()))
            }
            InvalidLimit::AboveCeiling(limit) => {
                format!("{} can be {} at the most", limit, limit.show(limit.ceiling()))
            }
        }
    }
}

impl fmt::Display for InvalidLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidLimit::Quantity(invalid) => invalid.fmt(f),
            InvalidLimit::Zero => f.write_str("this limit can't be zero"),
            InvalidLimit::BelowLeast(_) => f.write_str("nothing can run under so little"),
            InvalidLimit::AboveCeiling(_) => f.write_str("this is more than the limit can ever be"),
        }
    }
}

impl std::error::Error for InvalidLimit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_found_by_its_name() {
        assert_eq!(Limit::ALL.len(), 17);
        for limit in Limit::ALL {
            assert_eq!(Limit::from_name(limit.name()), Some(*limit));
        }
        assert_eq!(Limit::from_name("memory"), None);
    }

    #[test]
    fn only_block_io_may_be_unlimited() {
        let unlimited: Vec<_> = Limit::ALL.iter().filter(|limit| limit.check(0).is_ok()).collect();
        let names: Vec<_> = unlimited.iter().map(|limit| limit.name()).collect();
        assert_eq!(names, ["io_read_bps", "io_write_bps", "io_read_iops", "io_write_iops"]);
    }

    #[test]
    fn no_limit_is_more_than_any_number() {
        assert!(Limit::IoReadBps.exceeds(0, u64::MAX - 1));
        assert!(!Limit::IoReadBps.exceeds(1, 0));
        assert!(!Limit::IoReadBps.exceeds(0, 0));
        assert!(Limit::MemoryMax.exceeds(1, 0));
    }

    #[test]
    fn no_limit_can_be_below_what_anything_runs_under() {
        for limit in Limit::ALL {
            let least = limit.least();
            assert_eq!(limit.check(least), Ok(least));
            if least > 1 {
                assert_eq!(limit.check(least - 1), Err(InvalidLimit::BelowLeast(*limit)));
            }
        }
        let hint = Limit::MemoryMax.parse("1023 KiB").unwrap_err().hint();
        assert_eq!(hint, "memory_max can be 1 MiB at the least");
    }

    #[test]
    fn no_limit_can_pass_its_ceiling() {
        for limit in Limit::ALL {
            assert_eq!(limit.check(limit.ceiling()), Ok(limit.ceiling()));
            let above = limit.check(limit.ceiling() + 1);
            assert_eq!(above, Err(InvalidLimit::AboveCeiling(*limit)));
        }
    }
}
