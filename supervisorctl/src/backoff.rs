//! Going on after a restart of the daemon, for questions that change nothing when they are asked twice.

pub use supervisor_mcp::{Backoff, retrying};
