//! Host ids of sandboxes. They come from a range that systemd's table of ids leaves unused
//! (1879048192–2147483647), so no account of the host has one of them.

/// The uid and gid of a daemon that was started as root without an account of its own.
pub const DAEMON_ID: u32 = 0x7000_0000;

/// The first id of the first sandbox.
pub const FIRST_SANDBOX_ID: u32 = 0x7000_0010;

/// Host ids set aside for each live sandbox: one for init, one for the payload, the rest to spare.
pub const IDS_PER_SANDBOX: u32 = 16;

/// Live sandboxes at the most. A record in the launcher is about a kilobyte and a dozen
/// descriptors; 1,024 of them stay below the usual hard limit of 524,288 descriptors by far.
pub const MAX_SANDBOXES: u32 = 1024;

/// What init is called inside the sandbox.
pub const INIT_ID: u32 = 0;

/// What the payload is called inside the sandbox.
pub const PAYLOAD_ID: u32 = 1000;
