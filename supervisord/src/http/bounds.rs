//! Every bound of the front end, with its reason. What happens at a bound is a 4xx answer with a
//! code where the caller can still be told, and a closed connection where it can't.

use std::time::Duration;

/// Connections at once. Each costs two or three descriptors (with an artifact open) and at most
/// 100 KiB, so the front end stays below 100 MiB and 4,096 descriptors whatever callers do.
pub const CONNECTIONS: usize = 1024;

/// Connections of one uid at once: enough for 64 waiting submissions, and sixteen uids have to
/// conspire to fill the daemon.
pub const CONNECTIONS_PER_UID: usize = 64;

/// Connections of [`CONNECTIONS`] that only administrators get, so that a flood can be ended.
pub const ADMIN_CONNECTIONS: usize = 16;

/// Refused connections that are told why and drained at once; more are told and dropped.
pub const FAREWELLS: usize = 64;

/// Bytes that are swallowed, unread, from a peer that was refused and is still sending: it reads the
/// answer only when it has sent all of a body four times too large.
pub const MAX_SWALLOWED: u64 = 4 * MAX_BODY;

/// Bytes of a request head. The longest legal one is a path of 4 KiB, percent-encoded threefold.
pub const MAX_HEAD: usize = 16 * 1024;

/// Header fields of a request: browsers send about twenty, our clients five.
pub const MAX_FIELDS: usize = 64;

/// Bytes that hyper may buffer each way: one output chunk, or four heads.
pub const MAX_BUFFER: usize = 64 * 1024;

/// Bytes of a request body: 24 MiB of input files in base64.
pub const MAX_BODY: u64 = 32 * 1024 * 1024;

/// Bytes for a payload's standard input in one request: enough that a busy sender seldom waits.
pub const MAX_INPUT: u64 = crate::input::MAX_PIECE;

/// Bytes of a file or archive on its way into a workspace, which is passed on as it arrives. The workspace's
/// own limit, which is usually smaller, is what holds; this one keeps arithmetic out of reach of overflow.
pub const MAX_UPLOAD: u64 = 1 << 40;

/// A body up to this size is not counted against [`BODIES`]: all connections together can't hold
/// more than 64 MiB of such bodies, and a flood of large ones must not keep small ones out.
pub const SMALL_BODY: u64 = 64 * 1024;

/// Bytes of larger bodies at once, reserved before they are read.
pub const BODIES: u64 = 256 * 1024 * 1024;

/// Bytes of larger bodies of one uid at once: two of the largest.
pub const BODIES_PER_UID: u64 = 2 * MAX_BODY;

/// Bytes of [`BODIES`] that only administrators get: one of the largest.
pub const ADMIN_BODIES: u64 = MAX_BODY;

/// Large bodies that are made into values at once. While it is made, a value takes up to twice the
/// body's size besides the body; two keep both cores of a small host busy.
pub const READERS: usize = 2;

/// Bytes of an answer's JSON that are written on the thread which serves everybody: a tenth of a millisecond. What is
/// longer is written elsewhere.
pub const SMALL_ANSWER: usize = 64 * 1024;

/// Longer answers that are written at once, as many as large bodies are read.
pub const WRITERS: usize = READERS;

/// Of one uid: the other thread is for the others.
pub const WRITERS_PER_UID: usize = 1;

/// Bytes of longer answers that have been written and not been taken by their callers.
pub const ANSWERS: u64 = BODIES;

/// Of one uid: the list of ten thousand artifacts with the longest names there can be has 60 MiB.
pub const ANSWERS_PER_UID: u64 = 64 * 1024 * 1024;

/// Bytes of [`ANSWERS`] that only administrators get: what one of them may have.
pub const ADMIN_ANSWERS: u64 = ANSWERS_PER_UID;

/// Values in a request's JSON. One costs up to 100 bytes in memory against three in the body, so
/// without this bound a body of 32 MiB would take a gigabyte.
pub const MAX_VALUES: usize = 100_000;

/// Characters of a caller's own text that are repeated in an error's field or detail.
pub const MAX_ECHO: usize = 200;

/// Bytes of an artifact that are read at a time, as many as an output chunk has.
pub const READ_SIZE: usize = 64 * 1024;

/// Between two looks at whether the peer of a connection is still there. Only a peer that went
/// away while the answer has nothing new to say is found this way, so a second is soon enough.
pub const HANG_UP_CHECK: Duration = Duration::from_secs(1);

/// The deadlines, in one value so that tests need not sit them out.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the connection, or the end of the last answer, to the next request's first byte.
    pub idle: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// Without the peer taking one byte of an answer.
    pub stall: Duration,
    /// For a peer to read a connection's last answer and to close.
    pub linger: Duration,
    /// From the request to stop until open connections are cut off.
    pub grace: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(30),
            // A head comes in one write from every client there is; slower is an attack.
            head: Duration::from_secs(10),
            // 1 MiB/s for the largest body: a Unix socket is a thousand times faster.
            body: Duration::from_secs(30),
            // A person may stop a pager for a while; output goes on from an offset after a cut.
            stall: Duration::from_secs(300),
            // Enough to swallow MAX_SWALLOWED bytes on a busy host; the place is taken meanwhile.
            linger: Duration::from_secs(2),
            // Below systemd's patience, above any answer that doesn't wait for a payload.
            grace: Duration::from_secs(5),
        }
    }
}
