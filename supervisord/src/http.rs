//! The front end on the Unix socket: HTTP/1.1 and JSON. Who calls is what the kernel says about the
//! connection; what is asked is converted and handed to the [`Operations`]; nothing is decided here.
//!
//! A connection's bytes pass `wire` (framing, deadlines) before hyper sees them, then `routes`
//! (which operation), `parameters` and `body` (what is asked), `calls` (convert, call, convert
//! back). Every bound stands in `bounds`, with its reason.

mod answer;
mod body;
mod bounds;
mod calls;
mod changes;
mod connection;
mod download;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod head;
mod interpreters;
mod json;
mod mcp;
mod operations;
mod parameters;
mod pausing;
mod peer;
mod range;
mod routes;
mod samples;
mod server;
mod sessions;
mod streaming;
mod streams;
mod strict;
mod supervised;
#[cfg(test)]
mod tests;
mod wire;
mod workspaces;
mod writing;

pub use download::bytes_of;
pub use json::{parse as parse_json, shorten};
pub use operations::{Chunks, Follow, Operations, Receiver};
pub use peer::{Peer, Roles};
pub use routes::Routes;
pub use server::Server;
pub use streaming::{raw, until};
