//! Interpreters: executions whose payload is a language that stays and takes cells, one after the other, on
//! a channel of its own.
//!
//! ```text
//!   front end ──cell──▶ Interpreter ──line──▶ runner, in the sandbox, with the payload's rights
//!                         │   ▲ ◀──line──────┘
//!   cells, in a file ◀────┘   └── the execution's capture says what the cell wrote
//! ```
//!
//! All that comes out of the channel is hostile: lines are bounded, typed, and must be an answer to what was
//! asked; anything else ends the interpreter by the name of [`InterpreterEnd::ChannelBroken`].
//!
//! A daemon that comes back has the channel again, of the launcher. It asks for the last cell that was taken;
//! the end of a cell is said until the next one comes, and numbers only rise, so no end is lost and no cell
//! runs twice.
//!
//! [`InterpreterEnd::ChannelBroken`]: supervisor_api::InterpreterEnd::ChannelBroken

mod cells;
mod changing;
mod conversation;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod line;
mod operations;
mod past;
mod record;
mod reopening;
pub mod runner;
mod set;
pub mod weight;

#[cfg(test)]
mod tests;

pub use conversation::converse;
pub use set::{Interpreter, InterpreterSet, Kept, lay_out};
