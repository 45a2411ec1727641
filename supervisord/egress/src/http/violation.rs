//! Ways in which a request's bytes can't be read in one way only, or are too many.

use std::fmt;

use http::StatusCode;

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
}

impl Violation {
    /// The status of the answer.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::CutOff => StatusCode::BAD_REQUEST,
            Self::HeadTooLong(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The code for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::CutOff => "malformed_request",
            Self::HeadTooLong(_) | Self::TargetTooLong => "head_too_long",
            Self::Version => "version_not_supported",
            Self::TooSlow => "head_timeout",
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
        })
    }
}

impl std::error::Error for Violation {}
