//! What the end-to-end tests stand on: a supervisor of their own, or the installed one, with a client of its public
//! interface, and a look at the host before and after. Nothing here knows how the supervisor is
//! made, and nothing is read from the source tree when a test runs.
//!
//! The programs under test stand in the target directory beside the test (`cargo build --workspace`
//! puts them there) or where `SUPERVISOR_BIN_DIR` says. The tests need root.

#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and so does what it stands on"
)]

mod account;
pub mod agent;
mod attempts;
mod baseline;
mod binaries;
mod bus;
mod client;
mod contract;
mod disk;
mod follow;
mod http;
mod inspect;
mod installed;
mod mutations;
mod own;
mod packages;
mod payload;
mod peer;
mod plant;
mod process;
mod python_root;
mod recorded;
mod settings;
mod shipped;
mod upstream;
mod wait;
mod world;

pub use account::{Account, Told};
pub use attempts::{Attempts, unconfined};
pub use binaries::program;
pub use bus::{BUS_ADMIN, Bus, STRANGER, on_bus};
pub use client::{Client, Ended};
pub use contract::{assert_described, is_enforced};
pub use follow::{Follow, Selection};
pub use http::{Connection, Reply};
pub use inspect::{
    children, command_line, descriptors, namespace, owner_uid, process_ids, resident_bytes,
    status_field,
};
pub use mutations::{Mutation, check as check_mutations, mutations};
pub use packages::{node_packages, python_packages};
pub use payload::{argv, attack, bash, node, python};
pub use plant::Planted;
pub use process::Process;
pub use python_root::copy_python;
pub use recorded::Recorded;
pub use settings::Settings;
pub use upstream::Upstream;
pub use wait::{PATIENCE, milliseconds, slowness, until, until_true};
pub use world::World;

/// An ordinary user of the supervisor. No account of the host needs to have this id.
pub const AGENT: u32 = 2001;

/// Another one.
pub const OTHER_AGENT: u32 = 2002;

/// The uid and gid of the daemon under test.
pub const DAEMON: u32 = FIRST_ID;

/// The first of the host ids that are set aside for supervisors.
const FIRST_ID: u32 = 0x7000_0000;

/// Ids of one supervisor; the first sixteen of them are no sandbox's.
const IDS_PER_BLOCK: u32 = 16 * 1025;

/// Whether sandboxes may have this host id.
pub fn is_sandbox_id(id: u32) -> bool {
    (FIRST_ID..0x8000_0000).contains(&id) && (id - FIRST_ID) % IDS_PER_BLOCK >= 16
}
