//! Every bound of the front end, with its reason. At a bound the caller gets an error that says so.

use std::time::Duration;

/// Messages that wait to be looked at. Each may be as large as the bus allows (32 MiB); when there are
/// so many, nothing more is read and the bus refuses on our behalf.
pub const MAX_QUEUED: usize = 4;

/// Bytes of a call at the most: a submission as JSON, with input files of 3 MiB in base64. What is
/// larger goes by the socket, which reads it piece by piece.
pub const MAX_CALL: usize = 4 << 20;

/// Bytes of any call but that one. A value inside a variant takes up to a hundred bytes for one of the
/// message's, so a body of this size may take 25 MiB while it is read.
pub const MAX_TYPED_CALL: usize = 256 << 10;

/// Bytes of an answer at the most. A bus refuses a message of more than 32 MiB and then whoever sent it, with
/// all of its callers; what is larger goes by descriptor.
pub const MAX_ANSWER: usize = 8 << 20;

/// Calls of one connection at once. Clients that wait for answers have one.
pub const CALLS_PER_SENDER: usize = 16;

/// Bytes of calls of one connection at once: two of the largest.
pub const BYTES_PER_SENDER: usize = 2 * MAX_CALL;

/// Bytes of calls of everybody of which it is not known yet whose they are; the bus answers that at once.
pub const BYTES_UNKNOWN: usize = 32 << 20;

/// Bytes of calls of everybody at once.
pub const BYTES: u64 = 64 << 20;

/// Bytes of calls of one uid at once, on all of its connections.
pub const BYTES_PER_UID: u64 = 16 << 20;

/// Bytes of [`BYTES`] that only root gets.
pub const ROOT_BYTES: u64 = 8 << 20;

/// Calls of everybody at once.
pub const CALLS: u64 = 512;

/// Calls of one uid at once; it may have many connections.
pub const CALLS_PER_UID: u64 = 32;

/// Calls of [`CALLS`] that only root gets.
pub const ROOT_CALLS: u64 = 16;

/// Pipes that are being filled. Each takes two descriptors and a chunk of 64 KiB.
pub const FEEDS: u64 = 256;

/// Pipes of one uid.
pub const FEEDS_PER_UID: u64 = 32;

/// Pipes of [`FEEDS`] that only root gets.
pub const ROOT_FEEDS: u64 = 8;

/// Connections that get signals.
pub const SUBSCRIBERS: usize = 256;

/// Connections of one uid that get signals: a desktop has two or three.
pub const SUBSCRIBERS_PER_UID: usize = 16;

/// Executions that the object manager lists, newest first. The rest have objects all the same.
pub const MAX_OBJECTS: usize = 256;

/// Bytes of arguments and labels in one list of objects, of which each may have a hundred KiB.
pub const MAX_OBJECT_BYTES: usize = 4 << 20;

/// Bytes of questions in one list, of which each may have a path and fields of tens of KiB. The bus refuses
/// a message of more than 32 MiB.
pub const MAX_APPROVAL_BYTES: usize = 4 << 20;

/// Executions a page may hold; the interface's own bound.
pub const MAX_PAGE: u32 = 200;

/// Executions a page holds where the caller doesn't say.
pub const PAGE: u32 = 50;

/// Seconds one call may wait for the end of an execution.
pub const MAX_WAIT: u32 = 60;

/// JSON requests that are made into values at once, each with up to ten times its size in memory.
pub const READERS: usize = 2;

/// How long the bus may take to say who a caller is; it is one process that answers from memory.
pub const BUS_PATIENCE: Duration = Duration::from_secs(5);

/// How long polkit may take where nobody is asked.
pub const POLKIT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a person may take to authenticate.
pub const PERSON_PATIENCE: Duration = Duration::from_secs(120);

/// How long a reader may leave a full pipe alone. The output can be read again from an offset.
pub const STALL: Duration = Duration::from_secs(300);

/// Wait after the first failed attempt to reach the bus; it doubles with every further one.
pub const RECONNECT_MIN: Duration = Duration::from_secs(1);

/// Wait between two attempts at the most: nobody misses a bus for longer after it has come.
pub const RECONNECT_MAX: Duration = Duration::from_secs(60);

/// How long open calls have when the daemon is stopped; as the socket's.
pub const GRACE: Duration = Duration::from_secs(5);

/// Lists that are made and written at once, and those of one uid: the other thread is for the others.
pub const WRITERS: usize = READERS;
pub const WRITERS_PER_UID: usize = 1;
