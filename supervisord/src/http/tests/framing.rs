//! Bytes that are no request, or half of one.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;

use super::client::post_head;
use super::{Bounds, House};
use crate::http::bounds::{MAX_BODY, MAX_HEAD, MAX_SWALLOWED};

/// Deadlines that a test can sit out.
fn short() -> Bounds {
    let short = Duration::from_millis(300);
    Bounds { idle: short, head: short, body: short, ..Bounds::default() }
}

#[tokio::test]
async fn every_malformed_head_is_refused_with_a_code_and_the_connection_closed() {
    let house = House::open();
    let post = "POST /v1/executions HTTP/1.1\r\nContent-Type: application/json\r\n";
    let smuggled = "GET /v1/doctor HTTP/1.1\r\n\r\n";
    for (bytes, status, code) in [
        (
            format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
            "invalid_argument",
        ),
        (
            format!("{post}Content-Length: 0\r\nContent-Length: 44\r\n\r\n{smuggled}"),
            400,
            "invalid_argument",
        ),
        (format!("{post}Content-Length: 0, 44\r\n\r\n{smuggled}"), 400, "invalid_argument"),
        (format!("{post}Content-Length: 0\n\n{smuggled}"), 400, "invalid_argument"),
        (
            format!("{post}X: a\r\n b\r\nContent-Length: 0\r\n\r\n{smuggled}"),
            400,
            "invalid_argument",
        ),
        (format!("{post}X\0Y: 1\r\n\r\n{smuggled}"), 400, "invalid_argument"),
        (format!("{post} Content-Length: 44\r\n\r\n{smuggled}"), 400, "invalid_argument"),
        (
            format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
            411,
            "length_required",
        ),
        (format!("{post}Content-Length: 100000000\r\n\r\n"), 413, "too_large"),
        (format!("{post}Content-Length: 1099511627776\r\n\r\n"), 413, "too_large"),
        (format!("{post}Content-Length: 99999999999999999999999\r\n\r\n"), 413, "too_large"),
        ("GET / HTTP/1.1\n\n\r\n\r\n".to_owned(), 400, "invalid_argument"),
        ("\r\n\r\n".to_owned(), 400, "invalid_argument"),
        ("{\"op\":\"list\"}\r\n\r\n".to_owned(), 400, "invalid_argument"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, "invalid_argument"),
        ("CONNECT localhost:80 HTTP/1.1\r\n\r\n".to_owned(), 400, "invalid_argument"),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400, "invalid_argument"),
        (
            format!("GET /v1/doctor HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)),
            400,
            "invalid_argument",
        ),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(MAX_HEAD)), 400, "invalid_argument"),
    ] {
        let mut client = house.connect().await;
        client.send(&bytes).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code), "{bytes:?}");
        assert_eq!(reply.field("connection"), Some("close"));
        client.close_sending().await;
        assert_eq!(client.rest().await, b"", "{bytes:?}");
    }
    house.assert_alive().await;
}

#[tokio::test]
async fn a_body_past_the_bound_is_refused_by_its_head_however_much_of_it_comes() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send(post_head("/v1/executions", 100_000_000)).await;
    // The answer is there before a byte of the body is.
    let reply = client.reply().await;
    assert_eq!(reply.code(), "too_large");
    let mut client = house.connect().await;
    client.send(post_head("/v1/executions", 100_000_000)).await;
    client.send(vec![b'a'; 100_000_000]).await;
    assert_eq!(client.reply().await.code(), "too_large");
    house.assert_alive().await;
}

#[tokio::test]
async fn an_endless_head_is_cut_off_at_its_bound() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send(b"GET /v1/doctor HTTP/1.1\r\nX: ").await;
    client.send(vec![b'a'; 1 << 20]).await;
    assert_eq!(client.reply().await.code(), "invalid_argument");
    house.assert_alive().await;
}

#[tokio::test]
async fn a_peer_that_never_stops_sending_is_cut_off() {
    let house = House::open();
    let mut client = house.connect().await;
    let mut sent = 0;
    while client.stream.write_all(&[b'A'; 1 << 16]).await.is_ok() {
        sent += 1 << 16;
        assert!(sent <= MAX_SWALLOWED + (1 << 20));
    }
    house.assert_alive().await;
}

#[tokio::test]
async fn half_a_head_is_answered_when_its_time_is_up() {
    let house = House::with(short());
    let mut client = house.connect().await;
    client.send(b"GET /v1/doc").await;
    assert_eq!(client.reply().await.code(), "request_timeout");
    house.assert_alive().await;
}

#[tokio::test]
async fn a_head_that_drips_gets_no_more_time_than_one_that_stops() {
    let house = House::with(short());
    let mut client = house.connect().await;
    let began = std::time::Instant::now();
    client.send(b"GET /v1/doctor HTTP/1.1\r\nX: ").await;
    let head = loop {
        tokio::select! {
            head = client.head() => break head,
            () = tokio::time::sleep(Duration::from_millis(20)) => {}
        }
        client.send(b"a").await;
    };
    assert_eq!(head.expect("an answer").status, 408);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn half_a_head_and_a_closed_half_is_answered_at_once() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send(b"GET /v1/doctor HTTP/1.1\r\nHost: lo").await;
    client.close_sending().await;
    assert_eq!(client.reply().await.code(), "invalid_argument");
    house.assert_alive().await;
}

#[tokio::test]
async fn half_a_body_is_answered_when_its_time_is_up() {
    let house = House::with(short());
    for length in [100, 1_000_000] {
        let mut client = house.connect().await;
        client.send(post_head("/v1/executions", length)).await;
        client.send(b"{\"argv\":").await;
        let reply = client.reply().await;
        assert_eq!(reply.code(), "request_timeout");
        assert_eq!(reply.field("connection"), Some("close"));
    }
    house.assert_alive().await;
}

#[tokio::test]
async fn half_a_body_and_a_closed_half_is_answered_at_once() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send(post_head("/v1/executions", 100)).await;
    client.send(b"{\"argv\":").await;
    client.close_sending().await;
    assert_eq!(client.reply().await.code(), "invalid_argument");
    house.assert_alive().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_without_a_word() {
    let house = House::with(short());
    let mut fresh = house.connect().await;
    assert_eq!(fresh.rest().await, b"");
    let mut used = house.connect().await;
    assert_eq!(used.get("/v1/doctor").await.status, 200);
    assert_eq!(used.rest().await, b"");
    house.assert_alive().await;
}

#[tokio::test]
async fn requests_may_follow_each_other_before_the_answers() {
    let house = House::open();
    let mut client = house.connect().await;
    let body = r#"{"argv":["true"]}"#;
    let post = format!("{}{body}", post_head("/v1/executions", body.len()));
    let get = "GET /v1/doctor HTTP/1.1\r\n\r\n";
    client.send(format!("{post}{get}").repeat(50)).await;
    for _ in 0..50 {
        assert_eq!(client.reply().await.status, 201);
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(house.fake.submitted.lock().expect("no panic").len(), 50);
}

#[tokio::test]
async fn what_comes_before_a_malformed_request_is_still_answered() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send("GET /v1/doctor HTTP/1.1\r\n\r\nGET /v1/doctor HTTP/1.1\n\r\n\r\n").await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.reply().await.code(), "invalid_argument");
    client.close_sending().await;
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_closed_its_sending_half_gets_its_answers() {
    let house = House::open();
    let mut client = house.connect().await;
    client.send("GET /v1/doctor HTTP/1.1\r\n\r\n".repeat(3)).await;
    client.close_sending().await;
    for _ in 0..3 {
        assert_eq!(client.reply().await.status, 200);
    }
    assert_eq!(client.rest().await, b"");
}

#[tokio::test]
async fn a_client_that_asks_first_is_told_before_it_sends_its_body() {
    let house = House::open();
    let head = |length: u64| {
        format!(
            "POST /v1/executions HTTP/1.1\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let mut client = house.connect().await;
    client.send(head(17)).await;
    assert_eq!(client.head().await.expect("an answer").status, 100);
    client.send(r#"{"argv":["true"]}"#).await;
    assert_eq!(client.reply().await.status, 201);
    let mut client = house.connect().await;
    client.send(head(MAX_BODY + 1)).await;
    assert_eq!(client.reply().await.code(), "too_large");
}

#[test]
fn hostile_bytes_get_a_problem_or_nothing() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let house = runtime.block_on(async { House::with(short()) });
    let line =
        "(GET|POST|PUT|\\x00| ) (/v1/executions|/v1/\\?a=b|\\*|/%ff|[ -~]{0,9}) HTTP/1\\.[012]";
    let field = "(Content-Length: [0-9]{1,2}|Transfer-Encoding: chunked|Upgrade: h2c|\
                 Connection: (close|upgrade|keep-alive)|Expect: 100-continue|[ -~]{0,12})";
    let hostile =
        format!("({line}(\r\n|\n)({field}(\r\n|\r\n|\n)){{0,4}}\r\n[ -~\r\n]{{0,20}}){{1,3}}");
    let mut runner = TestRunner::new(Config::with_cases(400));
    let result =
        runner.run(&proptest::string::string_regex(&hostile).expect("a pattern"), |bytes| {
            runtime.block_on(async {
                let mut client = house.connect().await;
                client.send(&bytes).await;
                client.close_sending().await;
                while let Some(mut reply) = client.head().await {
                    if reply.status == 100 {
                        continue;
                    }
                    while let Some(piece) = client.piece(&mut reply).await {
                        reply.body.extend(piece);
                    }
                    if reply.status >= 300 {
                        prop_assert!((400..500).contains(&reply.status));
                        reply.code();
                    }
                }
                Ok(())
            })
        });
    result.expect("only problems");
    runtime.block_on(house.assert_alive());
}
