//! What is asked of the rules: one request.

use std::time::Duration;

use crate::egress::host::Destination;
use crate::egress::rule::Protocol;

/// How long a request waits for a person where the rule doesn't say. Programs that wait longer for an
/// answer are rare.
pub const ASK_TIMEOUT: Duration = Duration::from_secs(300);

/// A request on its way out. Every part is as the payload meant it: where the authority, the server
/// name of TLS, the Host field and a synthetic address are present, they were found to agree.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Where it goes.
    pub destination: &'a Destination,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The method; `GET` for a WebSocket in whatever version of HTTP; not looked at for plain TCP.
    pub method: &'a str,
    /// The target in origin form (RFC 9112 §3.2.1): path and query; not looked at for plain TCP.
    pub target: &'a str,
    /// Whether it wants to become a WebSocket.
    pub websocket: bool,
    /// Bytes of the body: `Some(0)` where there is none, `None` where nobody knows yet.
    pub body: Option<u64>,
}
