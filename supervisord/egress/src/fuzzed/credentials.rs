use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{cut, pieces};
use crate::credential::oauth::response;
use crate::credential::placeholder::{MARK, Search};
use crate::credential::sigv4::{Scope, sign};
use crate::credential::{
    AwsKey, BodyDigest, CredentialName, Frames, PlaceholderKey, Secret, Seen, Watch, Watcher, query,
};

/// What the seeds have in them.
const SECRET: &[u8] = b"sk-0123456789abcdef";

/// Bodies and streams that a credential or a placeholder may be in: where they are cut decides nothing,
/// what stands there as it is is found, and what is let through is what came.
pub fn streams(bytes: &[u8]) {
    let (lengths, bytes) = cut(bytes);
    let watches = || vec![Arc::new(Watch::new([SECRET]))];
    let whole = through(&[bytes], Watcher::new(watches()), Watcher::pass, Watcher::finish);
    let pieces = pieces(&lengths, bytes);
    let parts = through(&pieces, Watcher::new(watches()), Watcher::pass, Watcher::finish);
    assert_eq!(whole.1, parts.1);
    if parts.1 {
        assert!(bytes.starts_with(&parts.0));
    } else {
        assert_eq!((whole.0.as_slice(), parts.0.as_slice()), (bytes, bytes));
        assert!(!bytes.windows(SECRET.len()).any(|part| part == SECRET));
    }
    let whole = through(&[bytes], Frames::new(watches().into()), Frames::pass, Frames::finish);
    let parts = through(&pieces, Frames::new(watches().into()), Frames::pass, Frames::finish);
    assert_eq!(whole.1, parts.1);
    if !parts.1 {
        assert_eq!((whole.0.as_slice(), parts.0.as_slice()), (bytes, bytes));
    }
    placeholders(&pieces, bytes);
}

/// What comes out of pieces, and whether it was cut off.
fn through<W>(
    pieces: &[&[u8]],
    mut watcher: W,
    pass: impl Fn(&mut W, Bytes) -> Result<Bytes, Seen>,
    finish: impl Fn(&mut W) -> Bytes,
) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    for piece in pieces {
        match pass(&mut watcher, Bytes::copy_from_slice(piece)) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(Seen) => return (out, true),
        }
    }
    out.extend_from_slice(&finish(&mut watcher));
    (out, false)
}

fn placeholders(pieces: &[&[u8]], bytes: &[u8]) {
    let Ok(name) = "key".parse::<CredentialName>() else { return };
    let welcome = PlaceholderKey::new(&Zeroizing::new([7; 32])).placeholder("session", &name);
    let length = welcome.as_bytes().len();
    let whole = Search::default().find(bytes, &[]);
    let mut search = Search::default();
    assert_eq!(pieces.iter().find_map(|piece| search.find(piece, &[])), whole);
    // By the definition: the mark, and as many letters and digits as a placeholder has.
    let is_one = |part: &&[u8]| {
        let symbols = part.strip_prefix(MARK);
        let symbol = |byte: &u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(byte);
        symbols.is_some_and(|symbols| symbols.iter().all(symbol))
    };
    let defined = bytes.windows(length).find(is_one);
    assert_eq!(whole.as_ref().map(|found| found.as_bytes()), defined);
    let framed = [b"a", welcome.as_bytes(), b"b"].concat();
    assert_eq!(Search::default().find(&framed, &[]), Some(welcome.clone()));
    assert_eq!(Search::default().find(&framed, &[welcome]), None);
}

/// Requests that are signed, or get a parameter: nothing in them breaks out of its line or its pair.
pub fn signatures(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let (method, target) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let mut request = Request::builder().method(method).uri(target);
    for line in lines.take(16) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        request = request.header(name, parts.next().unwrap_or_default());
    }
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    if let Some(uri) = query::with_parameter(&head.uri, "key", b"a&b=%") {
        let is_it = |name: &str| *query::decoded(name, true) == *b"key";
        let values: Vec<&str> = query::pairs(uri.query().unwrap_or_default())
            .filter_map(|(name, value)| is_it(name).then_some(value))
            .collect();
        assert_eq!(values, ["a%26b%3D%25"]);
        assert_eq!(uri.path(), head.uri.path());
        assert_eq!(query::with_parameter(&uri, "key", b"a&b=%"), Some(uri));
    }
    let Ok(secret) = Secret::new(Zeroizing::new(SECRET.to_vec())) else { return };
    let key = AwsKey { id: "AKIDEXAMPLE".to_owned(), secret, session_token: None };
    for service in ["s3", "dynamodb"] {
        let scope = Scope { region: "eu-central-1", service };
        let mut signed = head.clone();
        let time = Timestamp::UNIX_EPOCH;
        if sign(&mut signed, &key, scope, "up.test", BodyDigest::Sha256([0; 32]), time).is_err() {
            continue;
        }
        let given = signed.headers.get_all(http::header::AUTHORIZATION).iter();
        let given: Vec<_> = given.map(|value| value.to_str().unwrap_or_default()).collect();
        assert_eq!(given.len(), 1);
        let mut again = signed.clone();
        let repeated = sign(&mut again, &key, scope, "up.test", BodyDigest::Sha256([0; 32]), time);
        assert_eq!(repeated, Ok(()));
        let fresh = again.headers.get(http::header::AUTHORIZATION);
        assert_eq!(fresh.and_then(|value| value.to_str().ok()), given.first().copied());
        canonical(&signed, service == "s3");
    }
}

/// Every line of a canonical request is the one that it is meant to be.
fn canonical(head: &http::request::Parts, is_s3: bool) {
    let all = crate::credential::sigv4::canonical::Canonical::of(
        head,
        "up.test",
        is_s3,
        "digest",
        |_| true,
    );
    let lines: Vec<&str> = all.text.split('\n').collect();
    let names = all.signed.split(';').count();
    assert_eq!(lines.len(), 3 + names + 1 + 2, "{}", all.text.escape_debug());
    assert_eq!(lines.first(), Some(&head.method.as_str()));
    assert_eq!(lines.get(3 + names), Some(&""));
    assert_eq!(lines.get(4 + names), Some(&all.signed.as_str()));
    let path = lines.get(1).copied().unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte);
    assert!(path.bytes().all(plain), "{path}");
    let query = lines.get(2).copied().unwrap_or_default();
    assert!(
        query.bytes().all(|byte| plain(byte) && byte != b'/' || b"=&".contains(&byte)),
        "{query}"
    );
}

/// What a token endpoint answers: a token has a life and can stand in a field, and what is wrong is said
/// without a byte of it.
pub fn tokens(bytes: &[u8]) {
    let status = match bytes.split_first() {
        Some((b'!', _)) => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    };
    let body = bytes.strip_prefix(b"!").unwrap_or(bytes);
    match response::read(status, body) {
        Ok(tokens) => {
            assert_eq!(status, StatusCode::OK);
            assert!(!tokens.lifetime.is_zero());
            let is_plain = |byte: &u8| (b' '..=b'~').contains(byte);
            assert!(tokens.access.expose().iter().all(is_plain));
        }
        Err(error) => assert!(error.to_string().is_ascii()),
    }
}
