//! The server against the table of operations and the OpenAPI document made of it.

use serde_json::{Value, json};
use supervisor_api::{NDJSON, OPERATIONS, Operation, RAW_BODY, openapi_document};

use super::House;
use super::client::{Client, Reply};
use super::fake::KNOWN;
use super::fake::sessions::{ROOM, SESSION};

/// A path of this operation that the fake knows.
fn path_of(operation: &Operation) -> String {
    let id = match operation.path.starts_with("/v1/sessions") {
        true => SESSION.to_string(),
        false => KNOWN.to_string(),
    };
    let path = operation.path.replace("{id}", &id);
    path.replace("{*path}", "out/plot%20one.png")
        .replace("{interpreter}", &KNOWN.to_string())
        .replace("{number}", "1")
        .replace("{name}", "forge")
        .replace("{account}", "uid:2001")
}

fn method_of(operation: &Operation) -> &'static str {
    operation.method.name()
}

async fn call(client: &mut Client, operation: &Operation) -> Reply {
    let path = path_of(operation);
    match operation.request {
        Some(RAW_BODY) => client.send_bytes(method_of(operation), &path, "bytes").await,
        Some("CreateSession" | "CreateSnapshot") => client.post(&path, "{}").await,
        Some("ExtendSession") => client.post(&path, r#"{"time_to_live":60}"#).await,
        Some("CreateInterpreter") => client.post(&path, r#"{"language":"python"}"#).await,
        Some("RunCell") => client.post(&path, r#"{"source":"1","wait":true}"#).await,
        Some("MakeDirectory") => client.post(&path, r#"{"path":"a"}"#).await,
        Some("MoveFile") => client.post(&path, r#"{"from":"a","to":"b"}"#).await,
        Some("TerminalSize") => client.post(&path, r#"{"rows":24,"columns":80}"#).await,
        Some("AnswerRequest") => client.post(&path, r#"{"approve":true}"#).await,
        Some(_) => client.post(&path, r#"{"argv":["true"]}"#).await,
        None => client.call(method_of(operation), &path_of(operation)).await,
    }
}

/// Checks a value against a schema of the document, by its name.
fn assert_valid(name: &str, value: &Value) {
    let document = openapi_document("1");
    let schema = json!({
        "$ref": format!("#/components/schemas/{name}"),
        "components": document["components"],
    });
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    if let Err(error) = validator.validate(value) {
        panic!("{name}: {error} in {value}");
    }
}

#[tokio::test]
async fn every_operation_of_the_table_is_served_as_the_table_says() {
    let house = House::open();
    for operation in OPERATIONS {
        let mut client = house.connect_as(0).await; // some are for administrators only
        let reply = call(&mut client, operation).await;
        assert_eq!(reply.status, operation.success, "{}", operation.id);
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"));
        let media_type = reply.field("content-type").expect("a media type");
        match operation.id {
            "output" => assert_eq!(media_type, NDJSON),
            "artifact" => assert_eq!(media_type, "image/png"),
            _ => assert_eq!(media_type, operation.media_type),
        }
        if let Some(schema) = operation.response {
            assert_valid(schema, &reply.json());
        }
    }
}

#[tokio::test]
async fn nothing_but_the_table_is_served() {
    let house = House::open();
    for path in [
        "",
        "/",
        "/v1",
        "/v1/",
        "/v2/doctor",
        "/v1/doctor/",
        "/v1//doctor",
        "/v1/Doctor",
        "/v1/executions/",
        "/v1/executions/x/y",
        "/v1/executions/../doctor",
        "/v1/doctor%2f",
    ] {
        for method in ["GET", "POST", "DELETE", "X"] {
            let target = if path.is_empty() { "/?" } else { path };
            let reply = house.connect().await.call(method, target).await;
            assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"), "{target}");
            assert_valid("ApiError", &reply.json());
        }
    }
    for operation in OPERATIONS {
        let path = path_of(operation);
        let on_path = |other: &&Operation| path_of(other) == path;
        let mut allowed: Vec<_> = OPERATIONS.iter().filter(on_path).map(method_of).collect();
        if allowed.contains(&"GET") {
            allowed.push("HEAD");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"] {
            if allowed.contains(&method) {
                continue;
            }
            let mut client = house.connect().await;
            let mut reply = client.call(method, &path).await;
            let mut offered: Vec<_> =
                reply.field("allow").expect("an Allow field").split(',').collect();
            offered.sort_unstable();
            allowed.sort_unstable();
            assert_eq!((reply.status, &offered), (405, &allowed), "{method} {path}");
            if method == "HEAD" {
                reply.body = Vec::new();
                continue;
            }
            assert_eq!(reply.code(), "method_not_allowed");
            assert_valid("ApiError", &reply.json());
        }
    }
}

#[tokio::test]
async fn every_line_of_output_and_every_problem_has_the_documents_form() {
    let house = House::open();
    let mut client = house.connect().await;
    let reply = client.get(&format!("/v1/executions/{KNOWN}/output")).await;
    for line in reply.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        assert_valid("OutputChunk", &serde_json::from_slice(line).expect("a line"));
    }
    let reply = client.get("/v1/executions?limit=x").await;
    assert_valid("ApiError", &reply.json());
    client.send("GET / HTTP/1.1\n\r\n\r\n").await;
    assert_valid("ApiError", &client.reply().await.json());
}

#[tokio::test]
async fn the_document_is_served_as_it_is_made() {
    let house = House::open();
    let reply = house.connect().await.get("/v1/openapi.json").await;
    assert_eq!(reply.json(), openapi_document(env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let house = House::open();
    let mut client = house.connect().await;
    for path in ["/v1/doctor", "/v1/openapi.json", "/v1/executions", "/nowhere"] {
        let get = client.call("GET", path).await;
        let head = client.call("HEAD", path).await;
        let fields = |reply: &Reply| -> Vec<_> {
            reply.fields.iter().filter(|(name, _)| name != "date").cloned().collect()
        };
        assert_eq!((head.status, fields(&head)), (get.status, fields(&get)), "{path}");
    }
}

#[tokio::test]
async fn no_header_field_repeats_what_the_caller_sent() {
    let house = House::open();
    let mark = "zzmarkzz";
    for target in [
        format!("/{mark}"),
        format!("/v1/executions/{mark}"),
        format!("/v1/doctor?{mark}=1"),
        format!("/v1/executions?after={mark}"),
    ] {
        let mut client = house.connect().await;
        client
            .send(format!("GET {target} HTTP/1.1\r\nOrigin: {mark}\r\nHost: {mark}\r\n\r\n"))
            .await;
        let reply = client.reply().await;
        assert!(!format!("{:?}", reply.fields).contains(mark), "{reply:?}");
    }
}

#[tokio::test]
async fn a_file_is_passed_on_as_it_arrives_and_one_that_has_no_room_is_refused() {
    let house = House::open();
    let path = format!("/v1/sessions/{SESSION}/files/large");
    let reply = house.connect().await.put(&path, vec![b'x'; ROOM]).await;
    assert_eq!((reply.status, reply.json()["size"].as_u64()), (200, Some(ROOM as u64)));
    let reply = house.connect().await.put(&path, vec![b'x'; ROOM + 1]).await;
    assert_eq!((reply.status, reply.code().as_str()), (507, "storage_full"));
    // An archive whose reading has ended is told why, not cut off.
    let path = format!("/v1/sessions/{SESSION}/archive");
    let reply = house.connect().await.put(&path, vec![b'x'; ROOM + 1]).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"));
}

#[tokio::test]
async fn a_file_whose_sender_goes_away_is_not_finished() {
    let house = House::open();
    let mut client = house.connect().await;
    let head = format!("PUT /v1/sessions/{SESSION}/files/x HTTP/1.1\r\nContent-Length: 10\r\n\r\n");
    client.send(head + "12345").await;
    client.close_sending().await;
    let reply = client.head().await;
    assert!(reply.is_none_or(|reply| reply.status == 400));
}
