//! What may be launched, and its wire form: the vocabulary between the daemon (M), the launcher (P)
//! and a sandbox's init (I).
//!
//! | message | from → to | when | how often |
//! |---|---|---|---|
//! | [`Request::Prepare`] → [`Reply::Prepared`] or [`Reply::Failed`] | M → P → M | the execution isn't known to P | once an execution |
//! | [`Request::Adopt`] → [`Reply::Prepared`] or [`Reply::Failed`] | M → P → M | after M came back | any time |
//! | [`Request::Destroy`] → [`Reply::Destroyed`] or [`Reply::Failed`] | M → P → M | after prepare | once an execution |
//! | [`Request::CloseInput`] → [`Reply::InputClosed`] or [`Reply::Failed`] | M → P → M | after prepare | any number |
//! | [`Request::List`] → [`Reply::List`] | M → P → M | any time | any number |
//! | [`Request::MakeWorkspace`] → [`Reply::WorkspaceMade`] or [`Reply::Failed`] | M → P → M | the id isn't known to P | once a workspace |
//! | [`Request::RemoveWorkspace`] → [`Reply::WorkspaceRemoved`] or [`Reply::Failed`] | M → P → M | no sandbox has it | once a workspace |
//! | [`Request::ListWorkspaces`] → [`Reply::Workspaces`] | M → P → M | any time | any number |
//! | [`Request::Grant`] → [`Reply::Granted`] or [`Reply::Failed`] | M → P → M | after it was made | any number |
//! | [`Request::FindImage`] → [`Reply::ImageFound`] or [`Reply::Failed`] | M → P → M | any time | any number |
//! | [`Wanted`] → [`Copied`] | P → seed of I → P | within prepare | once |
//! | [`Setup`] | P → I | first thing | once |
//! | [`Report`] | I → M | ready or failed; later ended | at most two |
//! | [`Start`] | M → payload's stub | after ready | once |
//!
//! Every message has a fixed layout and a bound; anything else ends the peer. A launch request
//! selects, it does not supply: no path, no program text and no filter byte crosses from M to P.

#![forbid(unsafe_code)]

mod copied;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod identity;
mod image;
mod input;
mod limits;
mod listeners;
mod reply;
mod report;
mod request;
mod sandbox;
pub mod seccomp;
mod setup;
mod start;
mod step;
mod wire;
mod workspace;

pub use copied::{COPY_DESCRIPTORS, Copied, Wanted};
pub use identity::{
    BLOCK_LOCKS, BLOCKS, FIRST_ID, IDS_PER_BLOCK, IDS_PER_SANDBOX, INIT_ID, MAX_SANDBOXES, NO_DUMP,
    PAYLOAD_ID, first_id, used_blocks,
};
pub use image::Image;
pub use input::Input;
pub use limits::{ProcessLimit, SandboxLimits};
pub use listeners::{Listeners, MAX_PORTS, PROXY_PORT};
pub use reply::Reply;
pub use report::{Ended, Report};
pub use request::{MAX_MESSAGE, OLDEST, Prepare, Request, VERSION};
pub use sandbox::{Applied, CHANNEL, Descriptor};
pub use setup::Setup;
pub use start::{MAX_START, STARTUP, Start};
pub use step::Step;
pub use wire::Malformed;
pub use workspace::{DISK_ID, IMAGE_ID, Kept, MAX_LISTED, MAX_WORKSPACES, Storage, Workspace};
