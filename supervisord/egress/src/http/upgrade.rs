//! Which requests want to become a WebSocket (RFC 6455 §4.1). The bytes' framing and the request's
//! treatment both ask here, so that they can't disagree.

use http::header::{self, HeaderMap};
use http::{Method, Version};

/// Whether these values of Upgrade name the WebSocket protocol.
pub fn is_websocket<'a>(mut upgrades: impl Iterator<Item = &'a [u8]>) -> bool {
    upgrades.any(|value| value.eq_ignore_ascii_case(b"websocket"))
}

/// What a request's Upgrade fields mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// None, or to a protocol that is passed over, as a server may (RFC 9110 §7.8).
    None,
    /// To a WebSocket.
    WebSocket,
    /// To a WebSocket, by a request that can't become one.
    Malformed,
}

/// What this HTTP/1.1 request's Upgrade fields mean.
pub fn upgrade(method: &Method, version: Version, fields: &HeaderMap) -> Upgrade {
    if !is_websocket(fields.get_all(header::UPGRADE).iter().map(|value| value.as_bytes())) {
        return Upgrade::None;
    }
    let one = fields.get_all(header::UPGRADE).iter().count() == 1;
    let named = fields.get_all(header::CONNECTION).iter().any(|value| {
        let tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    match method == Method::GET && version == Version::HTTP_11 && one && named {
        true => Upgrade::WebSocket,
        false => Upgrade::Malformed,
    }
}
