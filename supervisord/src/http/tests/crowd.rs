//! Many connections and many bodies: nobody is kept out by somebody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::client::{Client, post_head};
use super::{House, OWNER, STRANGER};
use crate::alone::in_a_process_of_its_own;
use crate::http::bounds::{CONNECTIONS_PER_UID, MAX_BODY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_of_one_user_keep_nobody_else_out() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a higher limit");
    let house = House::open();
    let mut crowd = Vec::new();
    for number in 0..1100 {
        let mut client = house.connect_as(OWNER).await;
        if number % 2 == 0 {
            client.send(b"GET").await;
        }
        crowd.push(client);
    }
    let began = Instant::now();
    let mut other = house.connect_as(STRANGER).await;
    assert_eq!(other.get("/v1/doctor").await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    // Those past the share are told so; those within it are still there.
    for client in &mut crowd[CONNECTIONS_PER_UID..] {
        let reply = client.reply().await;
        assert_eq!((reply.status, reply.code().as_str()), (429, "busy"));
        assert_eq!(reply.field("retry-after"), Some("1"));
    }
    let within = &mut crowd[1];
    assert_eq!(within.get("/v1/doctor").await.status, 200);
    // A place that is given up can be taken again.
    drop((crowd, other));
    house.deserted().await;
    assert_eq!(house.connect_as(OWNER).await.get("/v1/doctor").await.status, 200);
}

#[tokio::test]
async fn large_bodies_of_one_user_keep_nobody_else_out() {
    let house = House::open();
    let large = usize::try_from(MAX_BODY).expect("a size");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = house.connect_as(OWNER).await;
        client.send(post_head("/v1/executions", large)).await;
        client.send(b"{").await;
        held.push(client);
    }
    // The two have their memory once a third is refused it.
    loop {
        let mut third = house.connect_as(OWNER).await;
        third
            .send(format!(
                "POST /v1/executions HTTP/1.1\r\nContent-Type: application/json\r\n\
             Expect: 100-continue\r\nContent-Length: {large}\r\n\r\n"
            ))
            .await;
        let head = third.head().await.expect("an answer");
        if head.status == 429 {
            break;
        }
        assert_eq!(head.status, 100);
    }
    let mut small = house.connect_as(OWNER).await;
    assert_eq!(small.post("/v1/executions", r#"{"argv":["true"]}"#).await.status, 201);
    let mut other = house.connect_as(STRANGER).await;
    let body = format!(r#"{{"source":"{}"}}"#, "a".repeat(large - 13));
    assert_eq!(other.post("/v1/executions", &body).await.status, 201);
    // What was reserved is given back when the connection ends.
    drop((held, small, other));
    house.deserted().await;
    assert_eq!(house.connect_as(OWNER).await.post("/v1/executions", &body).await.status, 201);
}

#[tokio::test]
async fn memory_stays_reserved_until_the_submission_is_recorded() {
    let house = House::open();
    let gate = Arc::new(Semaphore::new(0));
    *house.fake.hold_submissions.lock().expect("no panic") = Some(gate.clone());
    let large = usize::try_from(MAX_BODY).expect("a size");
    let body = format!(r#"{{"source":"{}"}}"#, "a".repeat(large - 13));
    for _ in 0..2 {
        // Gone before the answer; the submission goes on.
        let mut client = house.connect().await;
        client.send(post_head("/v1/executions", large)).await;
        client.send(&body).await;
        house.fake.submission_begun.notified().await;
    }
    let refused = house.connect().await.post("/v1/executions", &body).await;
    assert_eq!(refused.code(), "busy");
    gate.add_permits(3);
    loop {
        let reply = house.connect().await.post("/v1/executions", &body).await;
        if reply.status == 201 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_goes_on_when_there_are_some_again() {
    const OWN: &str =
        "http::tests::crowd::a_server_without_descriptors_goes_on_when_there_are_some_again";
    // It lowers the limits of its process.
    let Some(_) = in_a_process_of_its_own(OWN) else { return };
    let house = House::open();
    house.assert_alive().await;
    setrlimit(Resource::RLIMIT_NOFILE, 64, 64).expect("a lower limit");
    // A connection takes one descriptor here and one in the server: the last ones to connect find
    // the server without.
    let mut crowd = Vec::new();
    while let Ok(stream) = UnixStream::connect(&house.path).await {
        crowd.push(Client::new(stream));
    }
    assert!(crowd.len() > 10);
    let mut last = crowd.pop().expect("a connection");
    last.send(b"GET /v1/doctor HTTP/1.1\r\n\r\n").await;
    drop(crowd);
    assert_eq!(last.reply().await.status, 200);
    house.assert_alive().await;
}
