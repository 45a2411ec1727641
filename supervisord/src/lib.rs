//! The supervisor daemon: front ends, sessions, the driver of executions, store.
//!
//! It takes all hostile bytes (callers', payloads', upstreams', archives') and defends records, outputs,
//! credentials and one caller's executions against another. It has no privilege to lose: what it asks of the launcher
//! is held against root's floor there, and what it can open is its own state and the workspaces that it was
//! handed. Taken over, it reads and makes up what it keeps, and no more.

#![forbid(unsafe_code)]

pub mod accounting;
pub mod accounts;
pub mod admission;
#[cfg(test)]
mod alone;
pub mod approval;
pub mod attend;
pub mod audit;
pub mod budget;
pub mod capture;
pub mod clock;
pub mod config;
pub mod confine;
pub mod controls;
pub mod credentials;
#[cfg(test)]
#[path = "../../tests/fuzz/mutations.rs"]
mod damaged_seeds;
pub mod dbus;
pub mod delayed;
mod descriptors;
mod digests;
mod directories;
pub mod driver;
pub mod elsewhere;
pub mod events;
pub mod fault;
mod hard_limits;
pub mod host;
pub mod http;
mod images;
mod in_turn;
pub mod input;
pub mod interpreter;
pub mod journal;
mod keeping;
pub mod launcher;
pub mod listening;
mod live;
pub mod metrics;
#[cfg(test)]
#[path = "../../tests/src/mutations.rs"]
#[allow(
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test of its own, which others share"
)]
mod mutations;
mod older;
pub mod outcome;
pub mod places;
pub mod plan;
pub mod pool;
pub mod reach;
pub mod readiness;
pub mod recovery;
pub mod refusals;
mod regular;
pub mod reload;
pub mod reports;
mod room;
pub mod samples;
pub mod service;
pub mod session;
pub mod settings;
mod spare;
pub mod standalone;
pub mod store;
pub mod supervisor;
pub mod systemd;
mod table;
pub mod threads;
pub mod top;
pub mod traffic;
mod values;
pub mod warm;
pub mod watch;
pub mod workspace;

#[cfg(test)]
#[test]
fn without_a_check_of_paths_what_was_planted_meets_the_next_one() {
    mutations::check(&["collect/", "files/", "write/"]);
}
