//! Every bound of a sandbox's traffic, with its reason. The numbers that tests or configuration
//! change are fields of [`Limits`]; the others are constants. The owner of each is the session,
//! unless it says otherwise; what happens at it stands beside it.

use std::time::Duration;

/// Bytes of a request head, request line included. Every large site accepts 8 to 16 KiB, cookies and
/// tokens included; four times that is no client's. At it: 431 and the connection ends.
pub const MAX_HEAD: usize = 64 * 1024;

/// KiB that a request takes besides its head, of which there are two: it may be sent once more. See
/// [`Limits::requests_kib`].
pub const REQUEST_KIB: usize = 8;
/// Bytes that a field takes besides its name and value.
pub const FIELD: usize = 128;

/// Header fields of one head, either way. Clients send about twenty. At it: 431, or 502 for an
/// upstream's.
pub const MAX_FIELDS: usize = 128;

/// Bytes of a request target. Longer than any that servers take by default. At it: 414.
pub const MAX_TARGET: usize = 16 * 1024;

/// Bytes that hyper may buffer of one connection each way. It has to hold a whole head.
pub const MAX_BUFFER: usize = MAX_HEAD + 16 * 1024;

/// Bytes that a client may send ahead on one HTTP/2 stream, and on all of a connection: an upload over
/// loopback needs no more, and 100 streams that nobody reads cost their session 1 MiB.
pub const HTTP2_STREAM_WINDOW: u32 = 256 * 1024;
/// See [`HTTP2_STREAM_WINDOW`].
pub const HTTP2_CONNECTION_WINDOW: u32 = 1024 * 1024;

/// Bytes of one HTTP/2 stream's answer that are held where the payload's windows are open and its socket is full, and
/// the piece that passes that. Hyper's own bound is 400 KiB.
pub const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// Bytes that an upstream may send ahead on one HTTP/2 stream, and on all of a connection, which is what a
/// payload that doesn't read has the daemon hold: with 50 ms between them and us, 20 MiB a second on each. So
/// many connections of a session have it, the others the narrow ones: of 512 that nobody reads, 158 MiB.
pub const HTTP2_UPSTREAM_STREAM_WINDOW: u32 = 1024 * 1024;
/// See [`HTTP2_UPSTREAM_STREAM_WINDOW`].
pub const HTTP2_UPSTREAM_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// See [`HTTP2_UPSTREAM_STREAM_WINDOW`].
pub const WIDE_WINDOWS: usize = 8;
/// See [`HTTP2_UPSTREAM_STREAM_WINDOW`].
pub const HTTP2_NARROW_STREAM_WINDOW: u32 = 256 * 1024;
/// See [`HTTP2_UPSTREAM_STREAM_WINDOW`].
pub const HTTP2_NARROW_CONNECTION_WINDOW: u32 = 256 * 1024;

/// Bytes that the kernel holds of one connection of a payload each way, as SO_SNDBUF and SO_RCVBUF have it, of which
/// it makes twice as many: what a payload doesn't read, or sends ahead, is in the host's memory and not in its own.
/// Of 256 connections: 64 MiB each way.
pub const PAYLOAD_BUFFER: u32 = 128 * 1024;

/// So many connections of a session may have more of what their payload doesn't read, up to the host's tcp_wmem (4 MiB
/// each): a relay that moves much at once wakes up less often.
pub const WIDE_PAYLOADS: usize = 8;

/// Bytes that the kernel holds of one connection to an upstream that nobody reads, as SO_RCVBUF has it, of which it
/// makes twice as many. So many connections of a session have this, for 40 MiB a second on each with 50 ms between;
/// where the host allows less (net.core.rmem_max) they have what its tcp_rmem allows, 6 MiB. What they send waits in
/// up to 4 MiB (tcp_wmem). With the 189 MiB of the 504 others a session has 253 MiB at the most.
pub const UPSTREAM_WIDE_RECEIVE: u32 = 2 * 1024 * 1024;
/// See [`UPSTREAM_WIDE_RECEIVE`].
pub const WIDE_UPSTREAMS: usize = 8;
/// The same of the other connections: 2 to 4 MiB a second on each with 50 ms between.
pub const UPSTREAM_RECEIVE: u32 = 128 * 1024;
/// Bytes that an upstream doesn't read, of those other connections, as SO_SNDBUF has it.
pub const UPSTREAM_SEND: u32 = 64 * 1024;

/// Frames of one HTTP/2 connection that carry no request, answer or part of a body (PING, SETTINGS,
/// WINDOW_UPDATE, PRIORITY, empty DATA, …): so many at any time, and so many more for each second and for
/// each frame, either way, that carries something. Clients acknowledge a piece of a body with two and
/// measure with a third. At it: GOAWAY with ENHANCE_YOUR_CALM, and the connection ends.
pub const EMPTY_FRAMES: u64 = 1000;
/// See [`EMPTY_FRAMES`].
pub const EMPTY_FRAMES_A_SECOND: u64 = 10;
/// See [`EMPTY_FRAMES`].
pub const EMPTY_FRAMES_FOR_ONE: u64 = 4;

/// Interim responses to one request: servers make one or two, and a slow one says every 20 seconds that it
/// is at work. At it: 502. Of HTTP/2 they count as [`EMPTY_FRAMES`].
pub const MAX_INTERIM: u32 = 64;

/// Bytes of trailers of one body; they are metadata, not a second body. At it: the body is cut.
pub const MAX_TRAILERS: usize = 8 * 1024;

/// Bytes of one chunk-size line with its extensions. At it: the connection ends.
pub const MAX_CHUNK_LINE: usize = 256;

/// Bytes of a TLS ClientHello. Post-quantum key shares make it 2 KiB, session tickets of clients
/// with certificates 8 KiB. At it: an alert and the connection ends.
pub const MAX_CLIENT_HELLO: usize = 16 * 1024;

/// Names that a sandbox may have synthetic addresses for. An address is never used for a second
/// name, so this is for the sandbox's life; a name takes about 200 bytes. At it: DNS REFUSED.
pub const MAX_SYNTHETIC_NAMES: u32 = 8192;

/// Bytes of a DNS query: the size every resolver keeps to since 2020. At it: the query is dropped.
pub const MAX_DNS_QUERY: usize = 1232;

/// Addresses of one name that are looked at; more are never needed to reach a host.
pub const MAX_ADDRESSES: usize = 16;

/// Names in the resolver's cache, of all sessions together. At it: the cache is emptied, which costs
/// one look-up a name. Owner: the daemon.
pub const MAX_CACHED_NAMES: usize = 4096;

/// A resolved name is used this long at the least, so that a TTL of 0 doesn't make every dial a
/// look-up, and at the most, so that a moved host is found.
pub const RESOLVED_FOR: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

/// A failed resolution is remembered this long: a client that retries in a loop costs the host's
/// resolver one query in this time.
pub const UNRESOLVED_FOR: Duration = Duration::from_secs(3);

/// Names that a session asks for at once, each over two sockets. At it: look-ups wait for each other, and
/// after [`Limits::crowded`] 503.
pub const MAX_LOOK_UPS: usize = 32;

/// Names that are asked for at once, for all sessions. At it: look-ups wait. Owner: the daemon.
pub const MAX_LOOK_UPS_OF_ALL: usize = 512;

/// Waiting for one name server, and rounds over all of them.
pub const NAME_SERVER_PATIENCE: Duration = Duration::from_secs(2);
/// Rounds over the name servers; a lost packet is asked for once more.
pub const NAME_SERVER_ROUNDS: usize = 2;

/// For a name's other addresses once those of one family are there (RFC 8305 §3): some name servers never answer
/// for IPv6. At it: what is there is dialled, and believed for the shorter time of [`RESOLVED_FOR`]; where none of it
/// may be, the others are waited for.
pub const OTHER_FAMILY_PATIENCE: Duration = Duration::from_millis(50);

/// Between the starts of two attempts to connect (RFC 8305 §5 recommends 250 ms).
pub const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(250);

/// Leaf certificates that a session keeps. At it: all are dropped; minting one takes 100 µs.
pub const MAX_LEAVES: usize = 512;

/// A leaf is valid this long, and is minted anew after half of it.
pub const LEAF_VALIDITY: Duration = Duration::from_secs(24 * 3600);

/// An authority is valid this long: longer than a session lives, shorter than forever, should its
/// certificate be kept by somebody.
pub const AUTHORITY_VALIDITY: Duration = Duration::from_secs(90 * 24 * 3600);

/// Certificates are valid from this long ago, for programs that look at a clock of their own.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// TLS sessions that are remembered to resume, per session and side.
pub const RESUMABLE_SESSIONS: usize = 128;

/// Unused connections to one destination that are kept for the next request.
pub const MAX_IDLE_PER_DESTINATION: usize = 32;

/// Bytes that a relay moves at once: enough to make system calls rare, and a pipe of this size is
/// what an unprivileged process may have (fs.pipe-max-size).
pub const RELAY_CHUNK: usize = 1024 * 1024;

/// Bytes that a relay copies at once; where there is more, or was the last time, it splices if it has a
/// pipe. The messages of most TLS handshakes fit.
pub const LITTLE: usize = 8 * 1024;

/// Bytes of a WebSocket that are read at once, either way. An idle one keeps this much twice.
pub const UPGRADED_BUFFER: usize = 4 * 1024;

/// Bytes of a response that is searched for a credential and is read whole before it is passed on, so that
/// its reader is told why there is none: an error's page has less. Longer ones are cut where they repeat it.
pub const LOOKED_AHEAD: u64 = 16 * 1024;

/// Pipes that are kept for relays, of all sessions together; a relay holds one only while bytes are
/// under way. At it: bytes are copied instead. Owner: the daemon.
pub const MAX_PIPES: usize = 32;

/// Bytes that a refused peer may still send before its connection is closed: it reads the answer
/// only when it has sent what it had.
pub const MAX_SWALLOWED: u64 = 256 * 1024;

/// Bytes of a body that a person is asked about, all of which is read before: what somebody can judge is
/// shorter. At it: 413.
pub const MAX_ASKED_BODY: usize = 256 * 1024;

/// Such bodies that are held at once, 8 MiB of a session. At it: 403.
pub const MAX_ASKED_BODIES: usize = 32;

/// KiB of bodies that are held at once because a signature covers them, each of up to 1 MiB, and twice that while it
/// arrives. At it: requests wait for [`Limits::crowded`], and then 503 `too_many_connections`.
pub const MAX_SIGNED_KIB: usize = 16 * 1024;

/// Bytes of the fields that somebody is shown with it: programs send a dozen besides those that are left out.
/// At it: 413.
pub const MAX_ASKED_FIELDS: usize = 4 * 1024;

/// How often it is recorded, for each listener of a session, that connections are refused because there are
/// too many.
pub const CROWD_TOLD_EVERY: Duration = Duration::from_secs(10);

/// For such a body to arrive: 10 KiB a second.
pub const ASKED_BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Characters of the payload's own text that are repeated in an answer.
pub const MAX_ECHO: usize = 200;

/// The bounds that a daemon's configuration or a test sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections of one sandbox at once: package managers open 20 to 50. At it: 503 or a reset.
    pub connections: usize,
    /// Connections of all sandboxes at once, each a descriptor and up to 20 KiB while idle. At
    /// it: 503 or a reset. Owner: the daemon.
    pub connections_of_all: usize,
    /// Connections of one sandbox to upstreams at once: one for each of its own, and as many again for
    /// requests that share one and whose upstreams speak HTTP/1.1. At it: unused ones are closed, requests
    /// wait for `crowded`, and then 503.
    pub upstreams: usize,
    /// Connections of all sandboxes to upstreams at once. At it: as above. Owner: the daemon.
    pub upstreams_of_all: usize,
    /// Requests of one connection. At it: the connection ends after the answer, as servers do.
    pub requests_per_connection: u64,
    /// Requests under way on one HTTP/2 connection. At it: the client waits (RFC 9113 §5.1.2).
    pub streams: u32,
    /// KiB that the requests of one sandbox take that are under way, on all its connections: room for 3,600 with
    /// heads of 2 KiB, or 440 with the longest. At it: 503 `too_many_connections`, recorded every 10 s.
    pub requests_kib: usize,
    /// Streams of one HTTP/2 connection that were reset before they were answered (CVE-2023-44487).
    /// At it: GOAWAY with ENHANCE_YOUR_CALM.
    pub resets: usize,
    /// DNS queries per second of one sandbox; twice as many at once. At it: queries are dropped, and
    /// clients ask again.
    pub dns_queries_per_second: u32,
    /// Bytes of a request body where the policy doesn't say. At it: 413, or the request is cut.
    pub request_body: u64,
    /// From the first byte of a request or ClientHello to its end.
    pub head: Duration,
    /// Without a first or further request on a connection, or a byte on one that is relayed.
    pub idle: Duration,
    /// Without a byte of a body that the payload sends, or takes.
    pub stall: Duration,
    /// From the end of a request to the head of its response: what a model completes is there after minutes.
    pub first_byte: Duration,
    /// Between two pieces of an answer: streams of events have nothing to say for as long. It is what a relayed
    /// connection has.
    pub pause: Duration,
    /// For one of the connections to upstreams to end, or one of the look-ups, where there are as many as
    /// there may be.
    pub crowded: Duration,
    /// For connecting to an upstream, its name's resolution and TLS not included.
    pub connect: Duration,
    /// For a TLS handshake on either side.
    pub handshake: Duration,
    /// An unused upstream connection is kept this long: less than servers keep theirs.
    pub keep_alive: Duration,
    /// For a program that speaks a protocol where the server begins, before its refused connection
    /// is reset without having sent anything. On ports 80 and 443 that is `head`.
    pub refusal: Duration,
    /// For a refused peer to read its answer and close.
    pub linger: Duration,
    /// Without a byte of its answer for whoever has ended its own side behind its request. It may want the answer or be
    /// gone, which shows when it is sent something; the kernel keeps what is left of one that is gone for as long
    /// (tcp_fin_timeout). At it: the request is given up.
    pub half_closed: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            connections_of_all: 12_288,
            upstreams: 512,
            upstreams_of_all: 12_288,
            requests_per_connection: 100_000,
            streams: 100,
            requests_kib: 64 * 1024,
            resets: 64,
            dns_queries_per_second: 200,
            request_body: 1 << 40,
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            stall: Duration::from_secs(60),
            first_byte: Duration::from_secs(600),
            pause: Duration::from_secs(600),
            crowded: Duration::from_secs(30),
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            keep_alive: Duration::from_secs(20),
            refusal: Duration::from_secs(1),
            linger: Duration::from_secs(2),
            half_closed: Duration::from_secs(60),
        }
    }
}

impl Limits {
    /// The same where the process may have so many descriptors: three eighths of them for the connections
    /// of sandboxes and as many for those to upstreams. The rest is for look-ups, pipes, what belongs to
    /// the sandboxes themselves, and the daemon's own callers and files.
    #[must_use]
    pub fn within(self, descriptors: u64) -> Self {
        let share = usize::try_from(descriptors / 8 * 3).unwrap_or(usize::MAX);
        Self {
            connections_of_all: self.connections_of_all.min(share),
            upstreams_of_all: self.upstreams_of_all.min(share),
            ..self
        }
    }
}

// The unit's LimitNOFILE=, and what the daemon takes at the most.
#[cfg(test)]
#[test]
fn the_connections_of_all_sandboxes_leave_descriptors_for_everything_else() {
    for descriptors in [1024, 4096, 32_768, 1 << 20] {
        let limits = Limits::default().within(descriptors);
        let taken = limits.connections_of_all + limits.upstreams_of_all;
        assert!(u64::try_from(taken).unwrap() < descriptors, "{descriptors}: {limits:?}");
    }
}
