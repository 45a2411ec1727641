//! Alerts for connections that are refused before any handshake (RFC 8446 §6).

/// A fatal `access_denied` alert in a record of its own: what a client that asked for a host which
/// the policy denies can show as the reason.
pub const ACCESS_DENIED: [u8; 7] = fatal(49);

/// A fatal `internal_error` alert: interception could not work, and nothing else is tried.
pub const INTERNAL_ERROR: [u8; 7] = fatal(80);

/// A fatal `decode_error` alert.
pub const DECODE_ERROR: [u8; 7] = fatal(50);

const fn fatal(description: u8) -> [u8; 7] {
    // content type alert, TLS 1.2 on the wire, two bytes, level fatal
    [21, 3, 3, 0, 2, 2, description]
}
