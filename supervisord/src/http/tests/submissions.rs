//! What callers submit and ask, and who they are.

use std::sync::Arc;

use serde_json::{Value, json};
use supervisor_api::{ExecutionId, State};
use tokio::net::UnixSocket;
use tokio::sync::{Notify, Semaphore};

use super::client::{Client, Reply, post_head};
use super::fake::KNOWN;
use super::{House, OWNER, STRANGER};
use crate::supervisor::Role;

const SUBMIT: &str = "/v1/executions";

async fn submit(client: &mut Client, body: &Value) -> Reply {
    client.post(SUBMIT, body.to_string()).await
}

#[tokio::test]
async fn the_owner_is_whom_the_kernel_names_and_nobody_else() {
    let house = House::open();
    let mut client = house.connect_as(STRANGER).await;
    for claim in [
        json!({"uid": 0}),
        json!({"user": "root"}),
        json!({"owner": 2001}),
        json!({"owner_uid": 2001}),
        json!({"peer": {"uid": 0}}),
        json!({"auth": {"uid": 0}}),
    ] {
        let mut body = claim.clone();
        body["argv"] = json!(["true"]);
        let reply = submit(&mut client, &body).await;
        assert_eq!(reply.code(), "invalid_argument");
        let (field, _) = claim.as_object().and_then(|claim| claim.iter().next()).expect("a claim");
        assert_eq!(reply.json()["field"], *field);
        client = house.connect_as(STRANGER).await;
    }
    client
        .send(
            "POST /v1/executions?uid=0 HTTP/1.1\r\nX-Uid: 0\r\nAuthorization: Basic cm9vdDo=\r\n\
             Content-Length: 0\r\n\r\n",
        )
        .await;
    assert_eq!(client.reply().await.json()["field"], "uid");
    assert_eq!(submit(&mut client, &json!({"argv": ["true"]})).await.json()["owner_uid"], STRANGER);
    let submitted = house.fake.submitted.lock().expect("no panic");
    let callers: Vec<_> = submitted.iter().map(|(caller, _)| (caller.uid, caller.role)).collect();
    assert_eq!(callers, [(STRANGER, Role::Agent)]);
}

#[tokio::test]
async fn the_kernel_is_asked_and_not_the_peers_address() {
    let house = House::as_installed();
    let own = nix::unistd::Uid::effective().as_raw();
    let claim = house.path.with_file_name(";uid=4242;pid=1;");
    let socket = UnixSocket::new_stream().expect("a socket");
    socket.bind(&claim).expect("an address");
    let stream = socket.connect(&house.path).await.expect("a connection");
    let reply = submit(&mut Client::new(stream), &json!({"argv": ["true"]})).await;
    assert_eq!(reply.json()["owner_uid"], own);
    let submitted = house.fake.submitted.lock().expect("no panic");
    assert_eq!((submitted[0].0.uid, submitted[0].0.role), (own, Role::Admin));
}

#[tokio::test]
async fn a_foreign_an_unknown_and_an_impossible_id_get_the_very_same_answer() {
    let house = House::open();
    let unknown = ExecutionId::from_bits(99).to_string();
    let foreign = KNOWN.to_string();
    let mut client = house.connect_as(STRANGER).await;
    for (method, rest) in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/output"),
        ("POST", "/cancel"),
        ("GET", "/artifacts"),
        ("GET", "/artifacts/out/plot%20one.png"),
    ] {
        let mut answers = Vec::new();
        for id in [foreign.as_str(), &unknown, "1", "ex-", "%2e%2e", "..", "%00", &"x".repeat(5000)]
        {
            let reply = client.call(method, &format!("{SUBMIT}/{id}{rest}")).await;
            assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"));
            let fields: Vec<_> =
                reply.fields.into_iter().filter(|(name, _)| name != "date").collect();
            answers.push((fields, reply.body));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    }
    // The owner sees it, so the answers above hid something.
    assert_eq!(house.connect_as(OWNER).await.get(&format!("{SUBMIT}/{foreign}")).await.status, 200);
}

#[tokio::test]
async fn hostile_json_is_refused_with_its_field_and_place() {
    let house = House::open();
    let mut client = house.connect().await;
    for (body, field) in [
        ("[".repeat(10_000), None),
        ("{\"a\":".repeat(10_000), Some("a")),
        (format!("{{\"argv\":{}", "[".repeat(10_000)), Some("argv[0]")),
        (r#"{"limits":{"memory_max":1e400}}"#.to_owned(), Some("limits.memory_max")),
        (r#"{"limits":{"memory_max":-1}}"#.to_owned(), Some("limits.memory_max")),
        (r#"{"limits":{"memory_max":18446744073709551616}}"#.to_owned(), Some("limits.memory_max")),
        ("null".to_owned(), None),
        (format!("{{\"argv\":[\"x\"],\"argv0\":\"{}\"}}", "a".repeat(100_000)), Some("argv0")),
    ] {
        let reply = client.post(SUBMIT, &body).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_argument"), "{body:.40}");
        let problem = reply.json();
        assert_eq!(problem.get("field").and_then(Value::as_str), field, "{body:.40}");
        assert!(problem["hint"].as_str().is_some_and(|hint| hint.contains("line 1, column")));
        client = house.connect().await;
    }
    assert_eq!(client.post(SUBMIT, "").await.code(), "invalid_argument");
}

#[tokio::test]
async fn a_body_is_json_with_a_length_or_it_is_refused() {
    let house = House::open();
    let body = r#"{"argv":["true"]}"#;
    for (fields, status) in [
        ("Content-Type: application/json\r\nContent-Length: 17\r\n", 201),
        ("Content-Type: Application/JSON; charset=utf-8\r\nContent-Length: 17\r\n", 201),
        ("Content-Type: text/plain\r\nContent-Length: 17\r\n", 415),
        ("Content-Type: application/jsonp\r\nContent-Length: 17\r\n", 415),
        ("Content-Type: multipart/form-data\r\nContent-Length: 17\r\n", 415),
        ("Content-Length: 17\r\n", 415),
        ("Content-Type: application/json\r\n", 411),
        ("Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n", 411),
    ] {
        let mut client = house.connect().await;
        client.send(format!("POST {SUBMIT} HTTP/1.1\r\n{fields}\r\n")).await;
        if fields.contains("Length") {
            client.send(body).await;
        }
        let reply = client.reply().await;
        assert_eq!(reply.status, status, "{fields}");
        if status != 201 {
            reply.code();
        }
    }
}

#[tokio::test]
async fn an_operation_without_a_body_takes_none() {
    let house = House::open();
    let cancel = format!("{SUBMIT}/{KNOWN}/cancel");
    let mut client = house.connect().await;
    assert_eq!(client.call("POST", &cancel).await.status, 200);
    client.send(format!("POST {cancel} HTTP/1.1\r\nContent-Length: 0\r\n\r\n")).await;
    assert_eq!(client.reply().await.status, 200);
    assert_eq!(client.post(&cancel, "{}").await.code(), "invalid_argument");
    let mut client = house.connect().await;
    client.send("GET /v1/doctor HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").await;
    let reply = client.reply().await;
    assert_eq!(
        (reply.code().as_str(), reply.field("connection")),
        ("invalid_argument", Some("close"))
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_cut_its_submission_short() {
    let house = House::open();
    let gate = Arc::new(Semaphore::new(0));
    *house.fake.hold_submissions.lock().expect("no panic") = Some(gate.clone());
    let body = r#"{"argv":["true"],"wait":true}"#;
    let mut client = house.connect().await;
    client.send(post_head(SUBMIT, body.len())).await;
    client.send(body).await;
    house.fake.submission_begun.notified().await;
    drop(client);
    house.deserted().await;
    gate.add_permits(1);
    house.fake.submission_done.notified().await;
    assert_eq!(house.fake.submitted.lock().expect("no panic").len(), 1);
}

#[tokio::test]
async fn a_submission_that_waits_is_answered_with_its_end() {
    let house = House::open();
    let end = Arc::new(Notify::new());
    *house.fake.hold_status.lock().expect("no panic") = Some(end.clone());
    let body = json!({"argv": ["true"], "wait": true});
    let mut client = house.connect().await;
    let mut reply = Box::pin(submit(&mut client, &body));
    tokio::select! {
        biased;
        reply = &mut reply => panic!("answered before the end: {reply:?}"),
        () = house.fake.submission_done.notified() => {}
    }
    end.notify_one();
    let reply = reply.await;
    assert_eq!(reply.status, 201);
    assert_eq!(reply.json()["state"], "finished");
    assert_eq!(reply.field("location"), Some(format!("{SUBMIT}/{KNOWN}").as_str()));
    // Without waiting it is answered with the beginning.
    let mut client = house.connect().await;
    let reply = submit(&mut client, &json!({"argv": ["true"]})).await;
    assert_eq!(reply.json()["state"], "queued");
}

#[tokio::test]
async fn a_list_is_asked_for_as_the_query_says() {
    let house = House::open();
    let mut client = house.connect().await;
    let query = format!("?limit=3&after={KNOWN}&state=running&all=true");
    assert_eq!(client.get(&format!("{SUBMIT}{query}")).await.status, 200);
    assert_eq!(client.get(SUBMIT).await.status, 200);
    let listed = house.fake.listed.lock().expect("no panic");
    let asked = (listed[0].limit, listed[0].after, listed[0].state, listed[0].all);
    assert_eq!(asked, (3, Some(KNOWN), Some(State::Running), true));
    assert_eq!((listed[1].limit, listed[1].after, listed[1].all), (50, None, false));
}

#[tokio::test]
async fn a_bad_query_is_refused_by_the_parameter_it_is_about() {
    let house = House::open();
    let mut client = house.connect().await;
    for (target, field) in [
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?after=ex-1", "after"),
        ("?state=Running", "state"),
        ("?state=", "state"),
        ("?all=1", "all"),
        ("?limit=1&limit=2", "limit"),
        ("?owner=2001", "owner"),
        ("/x?wait=61", "wait"),
        ("/x/output?stream=stdin", "stream"),
        ("/x/output?offset=-1", "offset"),
        ("/x/artifacts?all=true", "all"),
    ] {
        let reply = client.get(&format!("{SUBMIT}{target}")).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "invalid_argument"), "{target}");
        assert_eq!(reply.json()["field"], field, "{target}");
    }
}
