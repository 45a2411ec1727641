//! The operations of the supervisor as a server of the Model Context Protocol (revision 2026-07-28 and those before
//! it). It is a client of the interface like any other, through a [`Door`]: the command line has one to the
//! daemon's socket, the daemon one into its own routes, as whoever is at the other end of a connection. So it can
//! do what its caller can do and nothing else.

#![forbid(unsafe_code)]

mod answers;
mod arguments;
mod artifacts;
mod attended;
mod backoff;
mod cells;
mod client;
mod conversations;
mod door;
mod excerpt;
mod failure;
mod files;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod long_runs;
mod message;
mod refusals;
mod resources;
mod results;
mod runs;
mod schema;
mod server;
mod sessions;
mod stdio;
mod tools;

pub use backoff::{Backoff, Passing, retrying};
pub use door::{Asking, Door, Question, Sent};
pub use failure::Failure;
pub use front::Front;
pub use stdio::serve;

/// Bytes of one message of a client's. Files in it are in base64.
pub const MESSAGE_MAX: usize = 16 << 20;
