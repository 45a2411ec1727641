//! Query strings: pairs as they stand, decoded where they must be compared, one replaced.

use std::borrow::Cow;

use http::uri::{PathAndQuery, Uri};
use zeroize::Zeroizing;

use super::secret::sealed;

/// The pairs of a query as they stand in it, each name with its value.
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.split_once('=').unwrap_or((piece, "")))
}

/// What a name or a value stands for. What is no escape stands for itself.
pub fn decoded(text: &str, plus_is_space: bool) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if !bytes.iter().any(|byte| *byte == b'%' || (plus_is_space && *byte == b'+')) {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let escape = match (first, after) {
            (b'%', [high, low, ..]) => half(*high).zip(half(*low)),
            _ => None,
        };
        rest = match escape {
            Some((high, low)) => {
                out.push(high << 4 | low);
                after.get(2..).unwrap_or_default()
            }
            None => {
                out.push(if plus_is_space && *first == b'+' { b' ' } else { *first });
                after
            }
        };
    }
    Cow::Owned(out)
}

/// Adds bytes with everything escaped but unreserved characters (RFC 3986 §2.3).
pub fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            out.push(*byte);
        } else {
            let digit = |half: u8| DIGITS.get(usize::from(half)).copied().unwrap_or(b'0');
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// The same target with this parameter, once, and with this value. `None` where the target would be
/// too long for a URI.
pub fn with_parameter(target: &Uri, name: &str, value: &[u8]) -> Option<Uri> {
    let (path, query) = (target.path(), target.query().unwrap_or_default());
    let most = path.len() + query.len() + 3 * (name.len() + value.len()) + 3;
    // All at once, so that growing leaves no copy of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(most));
    text.extend_from_slice(path.as_bytes());
    text.push(b'?');
    for piece in query.split('&').filter(|piece| !piece.is_empty()) {
        let (given, _) = piece.split_once('=').unwrap_or((piece, ""));
        if *decoded(given, true) != *name.as_bytes() {
            text.extend_from_slice(piece.as_bytes());
            text.push(b'&');
        }
    }
    encode(name.as_bytes(), &mut text);
    text.push(b'=');
    encode(value, &mut text);
    let mut parts = target.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(sealed(text)).ok()?);
    Uri::from_parts(parts).ok()
}

fn half(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_replaces_every_spelling_of_itself() {
        for (target, expected) in [
            ("/a", "/a?key=s%2Bx"),
            ("/a?", "/a?key=s%2Bx"),
            ("/a?x=1&key=mine&y", "/a?x=1&y&key=s%2Bx"),
            ("/a?k%65y=mine&%6b%65%79&Key=1&&", "/a?Key=1&key=s%2Bx"),
        ] {
            let target: Uri = target.parse().expect("a target");
            let changed = with_parameter(&target, "key", b"s+x").expect("short enough");
            assert_eq!(changed.to_string(), expected);
        }
    }

    #[test]
    fn the_authority_of_a_target_stays() {
        let target: Uri = "https://api.example/a?b".parse().expect("a target");
        let changed = with_parameter(&target, "k", b"v").expect("short enough");
        assert_eq!(changed.to_string(), "https://api.example/a?b&k=v");
    }

    #[test]
    fn what_is_no_escape_stands_for_itself() {
        assert_eq!(*decoded("a%2fb+%zz%4", false), *b"a/b+%zz%4");
        assert_eq!(*decoded("a+b", true), *b"a b");
    }
}
