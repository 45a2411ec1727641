//! What comes back.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::ext::ReasonPhrase;
use tokio::time::advance;

use super::support::*;
use crate::credential::*;

async fn prepared() -> (Prepared, http::request::Parts, std::sync::Arc<Collected>) {
    let (vault, notices) = simple_vault();
    let fields = [
        ("Accept-Encoding", "gzip, br"),
        ("Range", "bytes=0-9"),
        ("If-Range", "\"x\""),
        ("Request-Range", "bytes=0-9"),
        ("X-MS-Range", "bytes=0-9"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
    ];
    let mut head = head("/", &fields);
    let prepared = prepare(&vault, &bind(Place::bearer()), &mut head).await.expect("prepared");
    (prepared, head, notices)
}

fn response(fields: &[(&str, &str)]) -> Parts {
    let mut response = Response::builder().status(StatusCode::OK);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a response").into_parts().0
}

#[tokio::test]
async fn a_response_is_asked_for_whole_and_uncompressed() {
    let (_, head, _) = prepared().await;
    assert_eq!(values(&head, "accept-encoding"), ["identity"]);
    for name in ["range", "if-range", "request-range", "x-ms-range", "sec-websocket-extensions"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
}

#[tokio::test]
async fn a_head_that_repeats_the_secret_is_not_passed_on() {
    let (prepared, _, notices) = prepared().await;
    for field in [
        ("x-echo", SECRET),
        ("location", "https://evil.example/?SVCANARY-0123%2B%2F%3DAb%26c%2541%22%3Cd%3E"),
    ] {
        let refusal = prepared.screen(&mut response(&[field])).expect_err("an echo");
        assert_eq!((refusal.code, refusal.code.status()), (RefusalCode::Reflected, 502));
    }
    let mut with_reason = response(&[]);
    let reason = ReasonPhrase::try_from(SECRET.as_bytes()).expect("a reason");
    with_reason.extensions.insert(reason);
    assert!(prepared.screen(&mut with_reason).is_err());
    // Whoever was refused records it.
    assert!(notices.0.lock().expect("no panic").is_empty());
}

#[tokio::test]
async fn a_body_that_nobody_can_read_is_not_passed_on() {
    let (prepared, _, _) = prepared().await;
    for coding in ["gzip", "br", "identity, gzip", "zstd"] {
        let refusal =
            prepared.screen(&mut response(&[("content-encoding", coding)])).expect_err(coding);
        assert_eq!(refusal.code, RefusalCode::Compressed);
    }
    assert!(prepared.screen(&mut response(&[("content-encoding", "Identity")])).is_ok());
}

#[tokio::test]
async fn a_cookie_that_was_set_for_the_credential_stays_here() {
    let (prepared, _, _) = prepared().await;
    let mut head = response(&[("set-cookie", "session=1"), ("set-cookie", "b=2"), ("x", "y")]);
    prepared.screen(&mut head).expect("no echo");
    assert!(!head.headers.contains_key("set-cookie") && head.headers.contains_key("x"));
}

#[tokio::test]
async fn a_body_that_repeats_the_secret_is_cut_and_told_of() {
    let (prepared, _, _) = prepared().await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let body = |text: String| {
        let told = told.clone();
        let tell = move |refusal: &CredentialRefusal| {
            told.lock().expect("no panic").push((refusal.code, refusal.credential.clone()));
        };
        prepared.inbound(Full::new(Bytes::from(text)), tell)
    };
    assert!(body(format!("you sent {SECRET}.")).collect().await.is_err());
    assert_eq!(body("fine".to_owned()).collect().await.expect("fine").to_bytes(), "fine");
    let reflected = (RefusalCode::Reflected, Some(name("key")));
    assert_eq!(*told.lock().expect("no panic"), [reflected]);
    let mut short = body(format!("you sent {SECRET}."));
    let failure = short.look_ahead().await.expect_err("an echo");
    assert!(failure.is::<CredentialRefusal>());
    let mut fine = body("fine, and long enough".to_owned());
    fine.look_ahead().await.expect("no echo");
    assert_eq!((fine.is_end_stream(), fine.size_hint().exact()), (false, Some(21)));
    assert_eq!(fine.collect().await.expect("fine").to_bytes(), "fine, and long enough");
    let mut stream = prepared.stream();
    assert!(stream.pass(Bytes::from_static(b"\x81\x04fine")).is_ok());
    assert!(stream.pass(Bytes::from(format!("\u{1}\u{1b}{SECRET}"))).is_err());
}

#[tokio::test]
async fn a_response_from_where_no_credential_ever_goes_is_left_alone() {
    let (vault, _) = simple_vault();
    let elsewhere = Wanted { host: "other.example.com", ..wanted(&[]) };
    let mut asked = head("/", &[("accept-encoding", "gzip"), ("range", "bytes=0-9")]);
    let prepared = vault.prepare(&elsewhere, &mut asked).await.expect("prepared");
    assert!(!prepared.is_watched() && asked.headers.len() == 2);
    let mut head = response(&[("set-cookie", "a=1"), ("content-encoding", "gzip"), ("x", SECRET)]);
    prepared.screen(&mut head).expect("left alone");
    assert_eq!(head.headers.len(), 3);
    let body = prepared.inbound(Full::new(Bytes::from_static(SECRET.as_bytes())), |_| ());
    assert_eq!(body.collect().await.expect("left alone").to_bytes(), SECRET);
}

#[tokio::test]
async fn what_an_earlier_request_was_sent_with_does_not_come_back_by_a_later_one() {
    let (vault, _) = simple_vault();
    let fields = [("accept-encoding", "gzip"), ("range", "bytes=0-9"), ("x", "y")];
    let mut asked = head("/stored", &fields);
    // At another port of the host, without TLS, and with nothing in it.
    let later = Wanted { port: 80, encrypted: false, ..wanted(&[]) };
    let prepared = vault.prepare(&later, &mut asked).await.expect("prepared");
    assert_eq!(values(&asked, "accept-encoding"), ["identity"]);
    assert!(!asked.headers.contains_key("range") && asked.headers.contains_key("x"));
    assert!(prepared.is_watched() && prepared.credentials().next().is_none());
    let refusal = prepared.screen(&mut response(&[("x-last", SECRET)])).expect_err("an echo");
    assert_eq!((refusal.code, refusal.credential), (RefusalCode::Reflected, Some(name("key"))));
    let body = prepared.inbound(Full::new(Bytes::from(format!("the last sent {SECRET}"))), |_| ());
    assert!(body.collect().await.is_err());
    // Its cookies are its own.
    let mut head = response(&[("set-cookie", "a=1")]);
    prepared.screen(&mut head).expect("nothing to refuse");
    assert_eq!(head.headers.len(), 1);
    let compressed = prepared.screen(&mut response(&[("content-encoding", "gzip")]));
    let refusal = compressed.expect_err("nobody could search it");
    assert_eq!((refusal.code, refusal.credential), (RefusalCode::Compressed, Some(name("key"))));
}

#[tokio::test(start_paused = true)]
async fn a_value_before_the_one_that_was_fetched_is_watched_for_until_it_ends() {
    let lifetime = Some(Duration::from_secs(100));
    let source = Arc::new(Counting { lifetime, ..Counting::default() });
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(source))]);
    let bindings = bind(Place::bearer());
    let first = prepare(&vault, &bindings, &mut head("/", &[])).await.expect("prepared");
    advance(Duration::from_secs(50)).await;
    vault.renew(&wanted(&bindings), &first).await.expect("fetched").expect("a newer one");
    let tells = |prepared: &Prepared, told| prepared.screen(&mut response(&[("x", told)])).is_ok();
    let later = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
    assert!(!tells(&later, "value-nr-1") && !tells(&later, "value-nr-2"));
    // It is used for five seconds less than it holds, and servers take it for some minutes more.
    for seconds in [46, 3, 200, 390] {
        advance(Duration::from_secs(seconds)).await;
        let later = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
        assert!(!tells(&later, "value-nr-1"), "{seconds}");
    }
    advance(Duration::from_secs(30)).await;
    let later = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
    assert!(tells(&later, "value-nr-1") && !tells(&later, "value-nr-2"), "the first has ended");
}

#[tokio::test]
async fn what_was_open_before_a_value_was_fetched_is_searched_for_it() {
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(Counting::default())))]);
    let mut asked = head("/", &[("accept-encoding", "gzip")]);
    let open = prepare(&vault, &[], &mut asked).await.expect("prepared");
    assert!(open.is_watched() && values(&asked, "accept-encoding") == ["identity"]);
    let mut stream = open.stream();
    stream.pass(Bytes::from_static(b"\x81\x0avalue-nr-1")).expect("nobody has it yet");
    let body = open.inbound(Full::new(Bytes::from_static(b"the last was sent value-nr-1")), |_| ());
    prepare(&vault, &bind(Place::bearer()), &mut head("/", &[])).await.expect("prepared");
    assert!(stream.pass(Bytes::from_static(b"\x81\x0avalue-nr-1")).is_err());
    assert!(body.collect().await.is_err());
    assert!(open.screen(&mut response(&[("x", "value-nr-1")])).is_err());
}

#[tokio::test(start_paused = true)]
async fn what_was_rotated_away_or_revoked_is_searched_for_while_it_may_hold() {
    let (vault, _) = simple_vault();
    let tells = async |told: &str| {
        let later = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
        later.screen(&mut response(&[("x", told)])).is_ok()
    };
    vault.rotate(definition("key", fixed("second-value")));
    assert!(!tells(SECRET).await && !tells("second-value").await);
    vault.revoke(&name("key"));
    for _ in 0..5 {
        vault.load(vec![definition("key", fixed("unused-value"))], &[], &[name("key")].into());
    }
    assert!(tells("unused-value").await, "it was read again and again, and pushes nothing out");
    vault.load(vec![definition("other", fixed("third-value"))], &[], &Default::default());
    for told in [SECRET, "second-value", "third-value"] {
        assert!(!tells(told).await, "{told}");
    }
    advance(Duration::from_secs(3601)).await;
    assert!(tells(SECRET).await && tells("second-value").await && !tells("third-value").await);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_has_values_rejected_pushes_none_out_of_the_search() {
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(Counting::default())))]);
    let bindings = bind(Place::bearer());
    for renewal in 1..20 {
        let sent = prepare(&vault, &bindings, &mut head("/", &[])).await.expect("prepared");
        advance(Duration::from_secs(11)).await;
        let newer = vault.renew(&wanted(&bindings), &sent).await.expect("no failure");
        assert_eq!(newer.is_some(), renewal < 17, "{renewal}");
        assert!(sent.screen(&mut response(&[("x", "value-nr-1")])).is_err());
    }
}
