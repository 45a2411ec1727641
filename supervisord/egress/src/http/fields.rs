//! The fields of a message that are for one hop only (RFC 9110 §7.6.1), and those that this hop
//! answers by itself. Everything else goes through as it came; there is no Via, because an inspected
//! connection is one that its two ends believe to be direct, and servers change what they send to
//! proxies.

use http::header::{
    ALT_SVC, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_RANGE, CONTENT_TYPE, COOKIE, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue,
    MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, WWW_AUTHENTICATE,
};

use super::otherwise::{is_forwarder_s, is_listed};
use crate::refused::{NAME, PROXY_STATUS};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields that a Connection field can't make go away: they say where the message goes or ends.
const LASTING: [HeaderName; 2] = [HOST, CONTENT_LENGTH];

/// Fields that say where a message goes, where it ends, whose it is or how its body is to be read. They were
/// judged in its head; after its body nobody may say otherwise (RFC 9110 §6.5.1).
const HEAD_ONLY: [HeaderName; 20] = [
    AUTHORIZATION,
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    KEEP_ALIVE,
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    SET_COOKIE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    WWW_AUTHENTICATE,
];

/// Whether a field has no business behind a body.
pub fn is_head_only(name: &HeaderName) -> bool {
    HEAD_ONLY.contains(name) || is_listed(name) || is_forwarder_s(name)
}

/// Takes from a response's trailers what has no business there, as whoever reads them may (RFC 9110 §6.5.2).
pub fn strip_trailers(fields: &mut HeaderMap) {
    remove(fields, is_head_only);
}

/// Takes from a request what is not for its upstream.
pub fn strip_request(fields: &mut HeaderMap) {
    let trailers = wants_trailers(fields);
    strip_hop(fields);
    fields.remove(HTTP2_SETTINGS);
    fields.remove(PROXY_AUTHORIZATION);
    // Servers would believe a payload that it is their proxy, and take the request for another host's or client's.
    remove(fields, is_forwarder_s);
    join_cookies(fields);
    // The host was agreed on, and is written anew; 100 Continue is answered here, once the upstream
    // takes the body.
    fields.remove(HOST);
    fields.remove(EXPECT);
    if trailers {
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Takes from a response what is not for the payload.
pub fn strip_response(fields: &mut HeaderMap) {
    strip_hop(fields);
    fields.remove(PROXY_AUTHENTICATE);
    // Other ways to the same service don't lead out of the sandbox.
    fields.remove(ALT_SVC);
    let ours = |value: &HeaderValue| {
        value
            .as_bytes()
            .to_ascii_lowercase()
            .windows(NAME.len())
            .any(|part| part == NAME.as_bytes())
    };
    if fields.get_all(PROXY_STATUS).iter().any(ours) {
        fields.remove(PROXY_STATUS);
    }
}

/// Bytes of a head, near enough for a budget: names, values and what stands between them.
pub fn size(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

fn remove(fields: &mut HeaderMap, is_meant: impl Fn(&HeaderName) -> bool) {
    let meant: Vec<HeaderName> = fields.keys().filter(|name| is_meant(name)).cloned().collect();
    meant.iter().for_each(|name| drop(fields.remove(name)));
}

fn strip_hop(fields: &mut HeaderMap) {
    if fields.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = fields
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| !LASTING.contains(name))
            .collect();
        for name in named {
            fields.remove(name);
        }
        fields.remove(CONNECTION);
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        fields.remove(name);
    }
}

/// HTTP/2 clients send cookies in crumbs, which no HTTP/1.1 server takes (RFC 9113 §8.2.3).
fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        fields.insert(COOKIE, whole);
    }
}

/// Whether the client takes trailers (RFC 9110 §10.1.4); gRPC servers insist on hearing it.
fn wants_trailers(fields: &HeaderMap) -> bool {
    fields.get_all(TE).iter().any(|value| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn what_is_for_one_hop_goes_no_further() {
        let mut request = fields(&[
            ("connection", "close, X-One , host, content-length"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip, trailers"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("accept-encoding", "gzip"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
        ]);
        strip_request(&mut request);
        let mut left: Vec<&str> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept-encoding", "content-length", "cookie", "te", "x-two"]);
        assert_eq!(request["te"], "trailers");
        assert_eq!(request["cookie"], "a=1; b=2");
    }

    #[test]
    fn a_payload_is_no_proxy_that_speaks_for_others() {
        let mut request = fields(&[
            ("forwarded", "host=evil.test;for=127.0.0.1"),
            ("x-forwarded-host", "evil.test"),
            ("x-forwarded-method", "DELETE"),
            ("x-forwarded-prefix", "/admin"),
            ("x-forwarded-uri", "/admin"),
            ("x_forwarded_host", "evil.test"),
            ("x-host", "evil.test"),
            ("x-original-host", "evil.test"),
            ("x-original_host", "evil.test"),
            ("x-real-ip", "127.0.0.1"),
            ("client-ip", "127.0.0.1"),
            ("x-request-id", "1"),
            ("x-hostile", "2"),
        ]);
        strip_request(&mut request);
        let mut left: Vec<&str> = request.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["x-hostile", "x-request-id"]);
    }

    #[test]
    fn trailers_cannot_change_what_was_judged_in_the_head() {
        let mut trailers = fields(&[
            ("host", "evil.test"),
            ("content-length", "9"),
            ("authorization", "x"),
            ("set-cookie", "a=1"),
            ("x-http-method-override", "PUT"),
            ("x_original_url", "/b"),
            ("x-forwarded-host", "evil.test"),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers.keys().collect::<Vec<_>>(), ["grpc-status"]);
    }

    #[test]
    fn an_upstream_cannot_speak_in_our_name() {
        let mut response = fields(&[("proxy-status", "Supervisord; error=x"), ("alt-svc", "h3=x")]);
        strip_response(&mut response);
        assert!(response.is_empty());
        let mut response = fields(&[("proxy-status", "cache.example; hit")]);
        strip_response(&mut response);
        assert_eq!(response.len(), 1);
    }
}
