//! Images: root directories of sandboxes that were made elsewhere. They are kept in a [`Store`], a
//! directory that only root can enter, by the digest of what is in them; a launcher shows them to
//! sandboxes read-only, and no program but root's command line writes there.
//!
//! Archives are hostile bytes. This crate's program, `supervisor-unpack`, reads them ([`unpack`]), in
//! namespaces of its own, as nobody of the host, with one directory that it may write; what it says is believed no further
//! than it can be seen: an image's id is the digest of the tree that was found afterwards.

#![forbid(unsafe_code)]

mod bounds;
mod collect;
mod error;
mod id;
mod import;
mod manifest;
mod name;
mod pack;
mod report;
mod store;
mod tree;
pub mod unpack;
mod unpacker;
mod verify;

pub use bounds::{Bounds, IDS, MAX_DEPTH, MAX_FIELDS, MAX_JSON, MAX_NAME, MAX_PATH};
pub use collect::Collected;
pub use error::ImageError;
pub use id::ImageId;
pub use import::{Import, Imported};
pub use name::{ImageName, NAME_RULE};
pub use report::{Answer, Config, Dropped, Record, Unpacked, Wanted};
pub use store::{Entry, Store};
pub use verify::Verified;
