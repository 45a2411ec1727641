//! Ways in which a request's bytes can't be read in one way only, or are too many.

use std::fmt;

use http::StatusCode;

use crate::refused::Refused;

/// Why a connection's input was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// The bytes are no HTTP/1.1 request, or can be read as two different ones.
    Malformed(&'static str),
    /// The head passed a bound.
    HeadTooLong(&'static str),
    /// The target passed its bound.
    TargetTooLong,
    /// Another version of HTTP than 1.0 and 1.1.
    Version,
    /// The head did not arrive in time.
    TooSlow,
    /// The input ended within a request.
    CutOff,
    /// Frames of HTTP/2 that the protocol does not allow.
    Frames,
    /// What a client of SOCKS begins with, in this version.
    Socks(u8),
    /// More frames of HTTP/2 that carry nothing, or more requests that are taken back, than anybody needs.
    Flood,
}

impl Violation {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::CutOff | Self::Frames | Self::Socks(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::HeadTooLong(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Flood => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The code for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::CutOff | Self::Frames => "malformed_request",
            Self::HeadTooLong(_) | Self::TargetTooLong => "head_too_long",
            Self::Version => "version_not_supported",
            Self::TooSlow => "head_timeout",
            Self::Flood => "too_many_frames",
            Self::Socks(_) => "socks_not_spoken",
        }
    }
}

impl Violation {
    /// What to do about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Frames | Self::Flood => "Speak HTTP/2 as the common clients do, or HTTP/1.1.",
            Self::Socks(_) => {
                "Name the proxy as http://ADDRESS:PORT, as HTTPS_PROXY does, not as socks5://; without any, \
                 programs come through too."
            }
            _ => "Send one unambiguous HTTP/1.1 request at a time, as the common clients do.",
        }
    }
}

impl Violation {
    /// What the peer is told where none of its requests is being answered: a whole answer in what it speaks.
    pub fn last_words(self) -> Vec<u8> {
        match self {
            Self::Socks(4) => vec![0, 91, 0, 0, 0, 0, 0, 0], // rejected
            Self::Socks(_) => vec![5, 0xff],                 // no acceptable methods (RFC 1928 §3)
            _ => Refused::from(self).last_words(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(what) | Self::HeadTooLong(what) => what,
            Self::TargetTooLong => "the request target is too long",
            Self::Version => "the request is not in HTTP/1.1",
            Self::TooSlow => "the request head did not arrive in time",
            Self::CutOff => "the request ended before it was complete",
            Self::Socks(_) => "the proxy is spoken to in SOCKS, and speaks HTTP",
            Self::Frames => "the connection has frames that HTTP/2 does not allow",
            Self::Flood => {
                "the connection is flooded with frames that carry nothing, or with requests that \
                            are taken back"
            }
        })
    }
}

impl std::error::Error for Violation {}
