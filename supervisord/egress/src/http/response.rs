//! Whether a response can be passed on: one that two readers could end at different places can't.

use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{StatusCode, Version};

use crate::upstream::UpstreamError;

/// The statuses that RFC 9110 §15 has classes for end before this.
const STATUSES_END: u16 = 600;

/// Checks a response's head as it came.
///
/// # Errors
///
/// [`UpstreamError::Ambiguous`]; the connection must not be used again.
pub fn check(head: &Parts) -> Result<(), UpstreamError> {
    if head.status.as_u16() >= STATUSES_END {
        return Err(UpstreamError::Ambiguous("its status is none"));
    }
    if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(UpstreamError::Ambiguous("its status is no final one"));
    }
    let lengths: Vec<_> = head.headers.get_all(CONTENT_LENGTH).iter().collect();
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    if lengths.len() > 1 {
        return Err(UpstreamError::Ambiguous("its length stands there twice"));
    }
    if !lengths.iter().all(|length| length.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Err(UpstreamError::Ambiguous("its length is no number"));
    }
    if head.version == Version::HTTP_2 {
        return Ok(());
    }
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(_), _) if !lengths.is_empty() => {
            Err(UpstreamError::Ambiguous("it has a length and is in chunks"))
        }
        (Some(_), _) if head.version != Version::HTTP_11 => {
            Err(UpstreamError::Ambiguous("it is HTTP/1.0 and in chunks"))
        }
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(UpstreamError::Ambiguous("its transfer coding is not just chunked")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, version: Version, fields: &[(&str, &str)]) -> Parts {
        let mut response = http::Response::builder().status(status).version(version);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn responses_that_could_end_in_two_places_are_not_passed_on() {
        let chunked = ("transfer-encoding", "chunked");
        for (status, version, fields) in [
            (200, Version::HTTP_11, &[("content-length", "5"), ("content-length", "5")][..]),
            (200, Version::HTTP_11, &[("content-length", "5, 5")]),
            (200, Version::HTTP_11, &[("content-length", "5"), chunked]),
            (200, Version::HTTP_11, &[("transfer-encoding", "gzip, chunked")]),
            (200, Version::HTTP_11, &[chunked, chunked]),
            (200, Version::HTTP_10, &[chunked]),
            (999, Version::HTTP_11, &[]),
            (102, Version::HTTP_11, &[]),
        ] {
            assert!(check(&head(status, version, fields)).is_err(), "{status} {fields:?}");
        }
        assert!(check(&head(200, Version::HTTP_11, &[chunked])).is_ok());
        assert!(check(&head(200, Version::HTTP_10, &[])).is_ok());
        assert!(check(&head(204, Version::HTTP_11, &[("content-length", "0")])).is_ok());
    }
}
