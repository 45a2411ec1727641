//! A launcher with real sandboxes. Workspaces on disk: their limits are hard, what is kept is kept
//! whoever is killed, and nothing is left of the rest. Ceilings of uids. Versions. As root.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod ceilings;
mod channel;
mod kept;
mod launcher;
mod limits;
mod order;
mod payload;
mod versions;
