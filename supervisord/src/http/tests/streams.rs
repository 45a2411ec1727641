//! Output and artifacts: bytes that are sent while they are made.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use supervisor_api::{OutputChunk, Stream};
use tokio::time::timeout;

use super::fake::{ARTIFACT, FakeOutput, KNOWN, chunk, two_chunks};
use super::{Bounds, House, PATIENCE};

fn output(query: &str) -> String {
    format!("/v1/executions/{KNOWN}/output{query}")
}

fn plot() -> String {
    format!("/v1/executions/{KNOWN}/artifacts/out/plot%20one.png")
}

#[tokio::test]
async fn one_stream_comes_as_its_bytes_and_both_as_lines() {
    let house = House::open();
    let mut client = house.connect().await;
    let reply = client.get(&output("?stream=stdout&offset=5")).await;
    assert_eq!(reply.field("content-type"), Some("application/octet-stream"));
    assert_eq!(reply.body, b"h\xc3\xa9llo\n\xff\0");
    let reply = client.get(&output("")).await;
    assert_eq!(reply.field("content-type"), Some("application/x-ndjson"));
    let lines: Vec<OutputChunk> = reply
        .body
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("a line"))
        .collect();
    assert_eq!(lines, two_chunks());
    let first: serde_json::Value =
        serde_json::from_slice(reply.body.split(|byte| *byte == b'\n').next().expect("a line"))
            .expect("a line");
    assert_eq!(first, json!({"offset": 0, "stream": "stdout", "data": "héllo\n"}));
    let asked = house.fake.asked_output.lock().expect("no panic");
    assert_eq!(
        (asked[0].stream, asked[0].offset, asked[0].follow),
        (Some(Stream::Stdout), 5, false)
    );
    assert_eq!((asked[1].stream, asked[1].offset, asked[1].follow), (None, 0, false));
}

#[tokio::test]
async fn followed_output_arrives_when_it_is_made() {
    let house = House::open();
    let (reader, feed) = FakeOutput::live();
    *house.fake.output.lock().expect("no panic") = Some(reader);
    let mut client = house.connect().await;
    client.send(format!("GET {} HTTP/1.1\r\n\r\n", output("?follow=true&stream=stderr"))).await;
    // A closed sending half is no goodbye.
    client.close_sending().await;
    let mut reply = client.head().await.expect("an answer");
    for text in ["one", "two", "three"] {
        feed.send(chunk(0, Stream::Stderr, text)).await.expect("a reader");
        assert_eq!(client.piece(&mut reply).await.as_deref(), Some(text.as_bytes()));
    }
    drop(feed);
    assert_eq!(client.piece(&mut reply).await, None);
    assert!(reply.complete);
}

#[tokio::test]
async fn a_reader_is_dropped_soon_after_its_client_even_when_nothing_is_written() {
    let house = House::open();
    for half_closed in [false, true] {
        let (reader, feed) = FakeOutput::live();
        let dropped = reader.dropped.clone();
        *house.fake.output.lock().expect("no panic") = Some(reader);
        let mut client = house.connect().await;
        client.send(format!("GET {} HTTP/1.1\r\n\r\n", output("?follow=true"))).await;
        if half_closed {
            client.close_sending().await;
        }
        assert_eq!(client.head().await.expect("an answer").status, 200);
        drop(client);
        timeout(Duration::from_secs(3), dropped.notified()).await.expect("dropped in time");
        assert!(feed.is_closed());
    }
}

#[tokio::test]
async fn output_is_not_read_ahead_of_a_client_that_takes_nothing() {
    let bounds = Bounds { stall: Duration::from_millis(500), ..Bounds::default() };
    let house = House::with(bounds);
    let reader = FakeOutput::endless();
    let (read, dropped) = (reader.read.clone(), reader.dropped.clone());
    *house.fake.output.lock().expect("no panic") = Some(reader);
    let mut client = house.connect().await;
    client.send(format!("GET {} HTTP/1.1\r\n\r\n", output("?stream=stdout"))).await;
    timeout(PATIENCE, dropped.notified()).await.expect("cut off for taking nothing");
    // The socket holds a few hundred KiB, hyper 64.
    assert!(read.load(Ordering::SeqCst) < 20, "{read:?}");
    house.assert_alive().await;
}

#[tokio::test]
async fn an_artifact_comes_as_a_harmless_attachment() {
    let house = House::open();
    let mut client = house.connect().await;
    for method in ["HEAD", "GET"] {
        let reply = client.call(method, &plot()).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.field("content-type"), Some("image/png"));
        assert_eq!(reply.field("content-length"), Some("18"));
        assert_eq!(
            reply.field("content-disposition"),
            Some("attachment; filename=\"plot_one.png\"")
        );
        assert_eq!(reply.field("etag"), Some(format!("\"sha256:{}\"", "ab".repeat(32)).as_str()));
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.body, if method == "GET" { ARTIFACT } else { b"" });
    }
    let reply = client.get(&format!("/v1/executions/{KNOWN}/artifacts/%2e%2e/etc/shadow")).await;
    assert_eq!(reply.code(), "not_found");
}

#[tokio::test]
async fn a_part_of_an_artifact_can_be_had() {
    let house = House::open();
    let mut client = house.connect().await;
    let tag = format!("\"sha256:{}\"", "ab".repeat(32));
    let ranged = |fields: &str| format!("GET {} HTTP/1.1\r\n{fields}\r\n", plot());
    for (fields, expected) in [
        ("Range: bytes=1-3\r\n".to_owned(), b"PNG".as_slice()),
        ("Range: bytes=-4\r\n".to_owned(), b"some"),
        (format!("Range: bytes=14-\r\nIf-Range: {tag}\r\n"), b"some"),
    ] {
        client.send(ranged(&fields)).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.as_slice()), (206, expected), "{fields}");
        assert!(reply.field("content-range").is_some_and(|range| range.ends_with("/18")));
    }
    for fields in [
        "Range: bytes=1-3\r\nIf-Range: \"other\"\r\n",
        "Range: bytes=0-1,3-4\r\n",
        "Range: bytes=1-2\r\nRange: bytes=3-4\r\n",
    ] {
        client.send(ranged(fields)).await;
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.body.as_slice()), (200, ARTIFACT), "{fields}");
    }
    client.send(ranged("Range: bytes=18-\r\n")).await;
    let reply = client.reply().await;
    assert_eq!((reply.status, reply.code().as_str()), (416, "range_not_satisfiable"));
    assert_eq!(reply.field("content-range"), Some("bytes */18"));
}

#[tokio::test]
async fn a_large_artifact_arrives_byte_for_byte() {
    let house = House::open();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&bytes).expect("room for a file");
    *house.fake.artifact.lock().expect("no panic") = Some((bytes.len() as u64, file));
    let reply = house.connect().await.get(&plot()).await;
    assert!(reply.complete && reply.body == bytes);
}

#[tokio::test]
async fn an_artifact_that_is_shorter_than_it_says_is_seen_to_be_cut_off() {
    let house = House::open();
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(&[0; 100_000]).expect("room for a file");
    *house.fake.artifact.lock().expect("no panic") = Some((200_000, file));
    let mut client = house.connect().await;
    let reply = client.get(&plot()).await;
    assert!(reply.status == 200 && !reply.complete);
    house.assert_alive().await;
}
