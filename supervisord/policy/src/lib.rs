//! Policy text in, decisions out: no clock, no file, no network.
//!
//! A file goes through three forms. *Raw* is what it says, in TOML's terms; an unknown key ends it
//! there. *Checked* is one file by itself: types, units and bounds are right, and every value knows
//! its line. *Resolved* is what holds: parents laid under it, the floor beneath. Only the last one
//! decides anything, and loading is the only way to get one.

#![forbid(unsafe_code)]

mod builtin;
mod check;
mod control;
mod diagnostic;
mod document;
pub mod egress;
mod environment;
mod example;
mod floor;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod limit;
mod name;
mod place;
mod policy;
mod profile;
mod quantity;
mod raw;
mod resolve;
mod resolved;
mod root;
mod schema;
mod set;
mod show;
mod suggest;

#[cfg(test)]
mod promises;
#[cfg(test)]
mod properties;

pub use control::Control;
pub use diagnostic::{Diagnostic, Diagnostics};
pub use environment::{InvalidVariable, check_environment_name, check_environment_value};
pub use example::RefusalReason;
pub use floor::Floor;
pub use limit::{InvalidLimit, Limit, Limits, LimitsAsked, PerLimit};
pub use name::{DEFAULT_IMAGE, image_name, is_name};
pub use place::WorkspacePlace;
pub use profile::SyscallProfile;
pub use quantity::{InvalidQuantity, Unit};
pub use resolved::{Refusal, Resolved};
pub use root::RootAccess;
pub use schema::{floor_schema, policy_schema};
pub use set::{MAX_FILE_BYTES, MAX_FILES, MAX_SET_BYTES, PolicySet, Tested};
