//! The audit log's form: what a record says, how records are chained and signed, and how anybody
//! finds out whether a log is whole. No file is opened here: the daemon writes lines, the command
//! line reads them, and both have this one description.
//!
//! A log is a sequence of lines, over one or more files. Each line is one JSON object that begins
//! with `seq`, `time` and `kind` and ends with `prev` and `hash`; a checkpoint's `signature` comes
//! last of all. `hash` is SHA-256 over the line's bytes before `,"hash":`, and `prev` is the hash of
//! the line before (zeros for the first), so a line can't change, go, come or move without the next
//! one telling. A checkpoint's Ed25519 signature (RFC 8032) vouches for all before it.

mod chain;
mod event;
mod filter;
mod plain;
mod record;
mod sentence;
mod time;
mod verify;

pub(crate) use chain::signature_of;
pub use chain::{
    BadKey, Chain, Digest32, Followed, Head, PublicKey, Sealed, sign_checkpoint, sign_head,
};
pub use event::{
    Administration, AuditEvent, Checkpoint, CredentialUse, DeniedCall, Ended, Exhaustion,
    HeadState, LimitHit, PersonsAnswer, Recovery, Removal, Repair, Retirement, Ruling, Start,
    Subject, Submission, Suppressed, Suppression, Suspension, Traffic, Verdict, What, kinds,
};
pub use filter::AuditFilter;
pub use record::{AuditKey, AuditPage, AuditRecord};
pub use time::{AuditTime, BadTime};
pub use verify::{Fault, Finding, Report, Verifier};

#[cfg(test)]
mod tests;
