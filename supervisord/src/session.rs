//! Sessions: what a caller keeps over several executions. A session has an owner, a policy by name, a
//! workspace that the launcher keeps on disk, and a time to live; its record is in the store.
//!
//! ```text
//!   create ──▶ open ──▶ expiring ──▶ closing ──▶ gone
//!                └─────────┴── close ───▲
//! ```
//!
//! The workspace is made before the record and removed before it, and as long as that takes a file says so
//! ([`moving`]): after a crash a workspace without a record is then one that nobody was told of, and a record
//! without a workspace one whose removal had begun. What no file speaks of was not done by a daemon, and is told
//! and left alone; where nothing on both sides belongs together there is no start ([`agreement`]).

mod agreement;
mod changes;
mod closing;
mod expiry;
mod files;
mod held;
mod moving;
mod operations;
mod pace;
mod record;
mod recovery;
mod root;
mod set;
mod snapshots;
mod sources;
mod transfer;
mod uses;
mod watching;
mod writing;

pub use agreement::{Settling, agree};
pub use changes::{SessionChange, SessionChanges};
pub use expiry::watch;
pub use files::OpenFile;
pub use held::HeldCopy;
pub use moving::Moving;
pub use record::Record;
pub use recovery::recover;
#[cfg(test)]
pub use root::Open;
pub use root::Root;
pub use set::{Kept, SessionSet, Use};
pub use sources::SourceName;
pub use transfer::{Packing, Piece, Unpacking, Upload};
pub use watching::{FileChanges, Watched, Watching};
pub use writing::Writing;
