//! The end of a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::fake::{FakeOutput, KNOWN};
use super::{Bounds, House, PATIENCE};

#[tokio::test]
async fn a_stopping_server_finishes_what_it_is_answering_and_takes_no_more() {
    let house = House::open();
    let end = Arc::new(Notify::new());
    *house.fake.hold_status.lock().expect("no panic") = Some(end.clone());
    let mut idle = house.connect().await;
    assert_eq!(idle.get("/v1/doctor").await.status, 200);
    let mut waiting = house.connect().await;
    waiting.send(format!("GET /v1/executions/{KNOWN}?wait=60 HTTP/1.1\r\n\r\n")).await;
    // The request is there once a later one has been answered on the same thread.
    house.assert_alive().await;
    house.stop.send(true).expect("a server");
    assert_eq!(idle.rest().await, b"");
    loop {
        // Until the listener is gone.
        if UnixStream::connect(&house.path).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    end.notify_one();
    let reply = waiting.reply().await;
    assert_eq!(reply.status, 200);
    drop(waiting);
    timeout(PATIENCE, house.serving).await.expect("stopped").expect("no panic");
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_cut_off() {
    let bounds = Bounds { grace: Duration::from_millis(300), ..Bounds::default() };
    let house = House::with(bounds);
    let (reader, _feed) = FakeOutput::live();
    let dropped = reader.dropped.clone();
    *house.fake.output.lock().expect("no panic") = Some(reader);
    let mut client = house.connect().await;
    client.send(format!("GET /v1/executions/{KNOWN}/output?follow=true HTTP/1.1\r\n\r\n")).await;
    let mut reply = client.head().await.expect("an answer");
    let began = Instant::now();
    drop(house.stop); // a sender that is gone says stop too
    timeout(PATIENCE, house.serving).await.expect("stopped").expect("no panic");
    assert!(began.elapsed() < Duration::from_secs(3));
    timeout(PATIENCE, dropped.notified()).await.expect("the reader is gone");
    assert_eq!(client.piece(&mut reply).await, None);
    assert!(!reply.complete);
}
