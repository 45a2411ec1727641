//! Which system calls a process of a sandbox may make: reviewed tables with a reason for every
//! entry, and a compiler from them to the classic BPF programs that the kernel takes.
//!
//! Every filter answers the same way where the tables say nothing:
//!
//! | call | answer |
//! |---|---|
//! | of another architecture, or of the x32 interface | the process is killed |
//! | a number no table has: obsolete, or newer than the table | `ENOSYS`, so that programs take the older way; [`Profile::Init`] is killed |
//! | one that a table forbids | the table's errno, `EPERM` unless its reason says why not |
//!
//! seccomp(2) and its prctl(2) are forbidden themselves, so a process's filter is the last it gets.
//!
//! Sizes of the programs on x86_64 (instructions; the most that a call without argument tests
//! passes through), which a test holds to be true:
//! default 381 and 15; no-network 354 and 15; unix-sockets 393 and 15; init 45 and 13.

mod assembler;
mod profile;
mod program;
mod search;
mod table;
mod verdict;

#[cfg(test)]
mod machine;
#[cfg(test)]
mod tests;

pub use profile::Profile;
pub use program::{Architecture, Instruction, MAX_INSTRUCTIONS, compile};
pub use table::describe;
pub use verdict::{Action, Argument, Call, Clause, Constant, Entry, Errno, Test, Verdict};
