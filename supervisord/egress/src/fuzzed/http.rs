use std::cell::Cell;
use std::convert::Infallible;
use std::io;

use http::header::{
    CONNECTION, EXPECT, HOST, HeaderName, HeaderValue, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use supervisor_policy::egress::{Destination, Protocol};
use tokio::runtime;

use super::{cut, pieces};
use crate::http::Violation;
use crate::http::fields as names;
use crate::http::frames::{self, Frames, Peer};
use crate::http::framing::Framing;
use crate::http::head::{self, Following};
use crate::http::intent::{Via, intent};
use crate::limits::{MAX_BUFFER, MAX_FIELDS};

/// Bytes that no flood of frames fits into (`EMPTY_FRAMES`).
const MOST_FRAMED: usize = 8192;

/// The bytes of an HTTP/1.1 connection. Where they are cut decides nothing; and what passes whole is read
/// whole by the server behind, as as many requests.
pub fn heads(bytes: &[u8]) {
    let (lengths, bytes) = cut(bytes);
    let mut whole = Framing::new();
    let at_once = whole.clear(bytes);
    let mut framing = Framing::new();
    let (mut inbox, mut passed, mut ended) = (Vec::new(), 0, Ok(()));
    for piece in pieces(&lengths, bytes) {
        inbox.extend_from_slice(piece);
        match framing.clear(&inbox) {
            Ok(count) => {
                inbox.drain(..count);
                passed += count;
            }
            Err(violation) => {
                ended = Err(violation);
                break;
            }
        }
    }
    // A request that is at fault in its body has begun to pass where its head came before.
    assert_eq!(at_once.err().or(whole.refused()), ended.err().or(framing.refused()));
    let count = at_once.unwrap_or(0);
    assert!(count <= passed && passed <= bytes.len());
    if ended.is_ok() {
        assert_eq!((count, whole.is_between()), (passed, framing.is_between()));
    }
    if whole.is_between() && whole.refused().is_none() && count > 0 {
        let front = bytes.get(..count).unwrap_or_default();
        if let Some(requests) = requests(front) {
            // What it refuses is no request to anybody.
            if let Ok(read) = read_behind(front) {
                // After a request of HTTP/1.0 it reads no further, and never one that was not seen.
                let is_old = front.windows(8).any(|word| word == b"HTTP/1.0");
                let agrees = read == requests || is_old && read < requests;
                assert!(agrees, "{read} of {requests}: {}", front.escape_ascii());
            }
        }
    }
    if let Some(end) = head::length(bytes, 0) {
        agree(bytes.get(..end).unwrap_or_default());
    }
}

/// How many requests there are; `None` where a body's length isn't said by its head, or where its sender waits
/// for an answer first, which nobody does here.
fn requests(mut bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at(head::length(bytes, 0)?);
        let Ok(Following::Length(length)) = head::check(head) else { return None };
        if String::from_utf8_lossy(head).to_ascii_lowercase().contains("\nexpect:") {
            return None;
        }
        bytes = rest.get(usize::try_from(length).ok()?..)?;
        count += 1;
    }
    Some(count)
}

/// How many requests hyper reads, with the settings that it serves payloads with.
fn read_behind(bytes: &[u8]) -> Result<usize, String> {
    let runtime = runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let count = Cell::new(0);
    let answer = service_fn(|request: Request<Incoming>| {
        count.set(count.get() + 1);
        async move {
            let read = request.into_body().collect().await;
            assert!(read.is_ok(), "a body is cut short");
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let stream = tokio::io::join(io::Cursor::new(bytes.to_vec()), tokio::io::sink());
    let mut server = http1::Builder::new();
    server.max_buf_size(MAX_BUFFER).max_headers(MAX_FIELDS).auto_date_header(false);
    // The bytes end before the answers do.
    server.header_read_timeout(None).half_close(true);
    let served = runtime.block_on(server.serve_connection(TokioIo::new(stream), answer));
    served.map_err(|error| error.to_string())?;
    Ok(count.get())
}

/// What a head says follows it is what another reader of it finds.
fn agree(head: &[u8]) {
    let Ok(following) = head::check(head) else { return };
    let mut parsed = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut parsed);
    assert_eq!(request.parse(head), Ok(httparse::Status::Complete(head.len())));
    let of = |name: &str| {
        let same = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).count()
    };
    match following {
        Following::Length(0) => assert!(of("transfer-encoding") == 0 && of("content-length") <= 1),
        Following::Length(_) => {
            assert_eq!((of("transfer-encoding"), of("content-length")), (0, 1));
        }
        Following::Chunks => assert_eq!((of("transfer-encoding"), of("content-length")), (1, 0)),
        Following::Other => assert_eq!(of("transfer-encoding"), 0),
    }
}

/// Where a request goes: everything in it that names a place names one, in its one form.
pub fn intents(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let mut request = Request::builder().uri(target);
    for host in lines.take(3) {
        request = request.header(HOST, host);
    }
    let Ok(request) = request.body(()) else { return };
    let fixed = |protocol| {
        let destination = Destination::parse("up.test:443", None).ok()?;
        Some(Via::Fixed(destination, protocol))
    };
    let all = [Some(Via::Proxy), fixed(Protocol::Https), fixed(Protocol::Http)];
    for via in all.iter().flatten() {
        let Ok((destination, protocol)) = intent(&request, via) else { continue };
        assert_eq!(Destination::parse(&destination.to_string(), None).as_ref(), Ok(&destination));
        if let Via::Fixed(expected, _) = via {
            assert_eq!(expected, &destination);
        }
        let mut hosts = request.headers().get_all(HOST).iter();
        let named = hosts.next().map(|host| host.to_str().unwrap_or_default());
        assert!(hosts.next().is_none());
        for named in named.into_iter().chain(request.uri().authority().map(|name| name.as_str())) {
            let read = Destination::parse(named, protocol.default_port());
            assert_eq!(read.as_ref(), Ok(&destination), "{named}");
        }
    }
}

/// The fields of messages: what is for one hop goes no further, and taking it away once is enough.
pub fn fields(bytes: &[u8]) {
    let mut given = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(MAX_FIELDS) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = HeaderName::from_bytes(parts.next().unwrap_or_default());
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            given.append(name, value);
        }
    }
    let named: Vec<HeaderName> = given
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| ![http::header::CONTENT_LENGTH, TE].contains(name))
        .collect();
    for strip in [names::strip_request, names::strip_response, names::strip_trailers] {
        let mut once = given.clone();
        strip(&mut once);
        let mut twice = once.clone();
        strip(&mut twice);
        assert_eq!(once, twice);
        for gone in [&CONNECTION, &TRANSFER_ENCODING, &UPGRADE] {
            assert!(!once.contains_key(gone), "{gone}");
        }
    }
    let mut request = given.clone();
    names::strip_request(&mut request);
    let gone = [PROXY_AUTHORIZATION, HOST, EXPECT];
    for gone in gone.iter().chain(&named) {
        assert!(!request.contains_key(gone), "{gone}");
    }
    assert!(request.get_all(TE).iter().all(|value| value == "trailers"));
    assert!(names::size(&request) <= names::size(&given) + 32);
}

/// The frames of an HTTP/2 connection that leave. Where they are cut decides nothing: neither what they say of the
/// other side, nor whether one of our own may follow, which then is read as what it is.
pub fn frames(bytes: &[u8]) {
    let (lengths, bytes) = cut(bytes);
    let (mut whole, mut parts) = (Frames::new(Peer::Client), Frames::new(Peer::Client));
    let told = whole.leave(bytes);
    let mut last = None;
    for piece in pieces(&lengths, bytes) {
        last = parts.leave(piece).or(last);
    }
    assert_eq!(told, last);
    assert_eq!(whole.has_left_whole(), parts.has_left_whole());
    for mut each in [whole, parts] {
        if each.has_left_whole() {
            let frame = frames::goaway("too_many_frames");
            assert_eq!(each.leave(&frame), Some(Violation::Flood));
            assert!(each.has_left_whole());
        }
    }
    // What arrives is counted, never refused for what it is; so few bytes are no flood.
    for peer in [Peer::Client, Peer::Server] {
        let few = bytes.get(..MOST_FRAMED).unwrap_or(bytes);
        assert_eq!(Frames::new(peer).arrive(few), Ok(()));
    }
}
