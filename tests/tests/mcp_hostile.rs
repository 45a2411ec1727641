//! The server of the Model Context Protocol before clients that break off, and before those that mean harm: each of them
//! is refused what is not its own, in words, and ends nothing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use serde_json::{Value, json};
use supervisor_api::{ExecutionId, Outcome, State};
use supervisor_tests::agent::{BEFORE, ask, begin_with, call, greet, send, within};
use supervisor_tests::{AGENT, Client, Connection, OTHER_AGENT, Reply, World, argv, until};

/// A request to run this.
fn run(id: &Value, arguments: &Value) -> Value {
    let parameters = json!({"name": "run", "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": parameters})
}

/// Asks for what came after an event.
fn after(caller: &Client, conversation: &str, event: &str) -> Connection {
    let fields = [
        ("MCP-Protocol-Version", BEFORE),
        ("Mcp-Session-Id", conversation),
        ("Last-Event-ID", event),
    ];
    send(caller, "GET", &fields, b"")
}

/// The first event of an answer: it has an id, says when to come back, and nothing else.
#[track_caller]
fn first_event(connection: &mut Connection) -> String {
    let head = connection.head().expect("an answer");
    assert_eq!(head.status, 200, "{head:?}");
    let event = connection.piece(&head).expect("an event").expect("an event");
    let event = String::from_utf8(event).expect("it is text");
    assert!(event.contains("retry: 1000") && !event.contains("jsonrpc"), "{event}");
    let id = event.lines().find_map(|line| line.strip_prefix("id: "));
    id.unwrap_or_else(|| panic!("it has an id: {event}")).to_owned()
}

#[track_caller]
fn status(connection: &mut Connection) -> u16 {
    connection.reply().expect("an answer").status
}

#[track_caller]
fn words(connection: &mut Connection) -> String {
    let reply = connection.reply().expect("an answer");
    assert_eq!(reply.status, 200, "{reply:?}");
    String::from_utf8(reply.body).expect("it is text")
}

/// The one execution of this caller's that runs.
fn running(caller: &Client) -> ExecutionId {
    until("it runs", || {
        let list = caller.list("state=running").expect("a list");
        list.executions.first().map(|execution| execution.id)
    })
}

#[test]
fn a_client_whose_connection_broke_has_the_rest_of_its_answer_and_nobody_else_has() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let session = call(&agent, "create_session", json!({}))["structuredContent"]["id"].take();
    let (conversation, another) = (greet(&agent), greet(&agent));
    let waits = "until [ -e go ]; do sleep 0.1; done; echo came";
    let asked = run(&json!(1), &json!({"argv": ["sh", "-c", waits], "session": session}));
    let mut broken = within(&agent, "POST", &conversation, &asked);
    let event = first_event(&mut broken);
    // Somebody listens all the time, however long the host takes between the two.
    let mut again = after(&agent, &conversation, &event);
    let head = again.head().expect("an answer");
    assert_eq!(head.status, 200, "{head:?}");
    drop(broken);
    assert_eq!(status(&mut after(&other, &conversation, &event)), 404, "it is not theirs");
    assert_eq!(status(&mut after(&agent, &another, &event)), 410, "it is another conversation's");
    assert_eq!(status(&mut after(&agent, &conversation, "no-such-event")), 410);
    let file = json!({"session": session, "path": "go", "text": ""});
    assert_eq!(call(&agent, "write_file", file)["isError"], false);
    let mut rest = Vec::new();
    while let Some(piece) = again.piece(&head).expect("the rest") {
        rest.extend(piece);
    }
    let rest = String::from_utf8(rest).expect("it is text");
    assert!(rest.contains("came") && rest.contains("id: "), "{rest}");
    // What was told may be asked for once more, until it is forgotten.
    assert!(words(&mut after(&agent, &conversation, &event)).contains("came"));
}

#[test]
fn what_a_client_waited_for_that_does_not_come_back_is_ended() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let conversation = greet(&agent);
    let asked = run(&json!(1), &json!({"argv": ["sleep", "600"]}));
    let mut broken = within(&agent, "POST", &conversation, &asked);
    let event = first_event(&mut broken);
    let id = running(&agent);
    drop(broken);
    let ended = agent.finished(id);
    assert_eq!(ended.outcome, Some(Outcome::Cancelled));
    let rest = words(&mut after(&agent, &conversation, &event));
    assert!(!rest.contains("jsonrpc"), "who is cancelled has no answer: {rest}");
}

#[test]
fn an_id_is_one_requests_as_long_as_it_is_under_way_and_has_a_bound() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let conversation = greet(&agent);
    let long = json!({"argv": ["sleep", "600"]});
    let mut first = within(&agent, "POST", &conversation, &run(&json!("a"), &long));
    first_event(&mut first);
    let id = running(&agent);
    let refused = |id: Value| -> Reply {
        within(&agent, "POST", &conversation, &run(&id, &long)).reply().expect("an answer")
    };
    for id in [json!("a"), json!("x".repeat(300))] {
        let reply = refused(id);
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)));
    }
    assert_eq!(agent.status(id, 0).expect("it is kept").state, State::Running);
    agent.cancel(id).expect("it runs");
}

#[test]
fn conversations_that_are_begun_without_end_are_forgotten_from_the_oldest_on() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let theirs = greet(&other);
    let all: Vec<String> = (0..100).map(|_| greet(&agent)).collect();
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let answers = |caller: &Client, name: &str| status(&mut within(caller, "POST", name, &list));
    let statuses: Vec<u16> = all.iter().map(|name| answers(&agent, name)).collect();
    let kept = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((kept, statuses[0], statuses[99]), (32, 404, 200), "{statuses:?}");
    assert_eq!(answers(&other, &theirs), 200, "nobody else's is forgotten for them");
}

#[test]
fn what_is_nested_without_end_is_refused_before_it_is_read() {
    let world = World::open();
    let agent = world.agent(AGENT);
    for depth in [200, 40_000] {
        let nested = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let message = format!(
            r#"{{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {{"a": {nested}}}}}"#
        );
        let reply = send(&agent, "POST", &[], message.as_bytes()).reply().expect("an answer");
        assert_eq!((reply.status, &reply.json()["error"]["code"]), (400, &json!(-32600)));
    }
    // A list of messages is none: this revision knows no batches.
    let batch = br#"[{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}]"#;
    let status = send(&agent, "POST", &[], batch).reply().expect("an answer").status;
    assert!((400..500).contains(&status), "{status}");
    assert!(ask(&agent, "tools/list", json!({}))["result"]["tools"].is_array());
}

#[test]
fn nothing_of_another_uid_can_be_named() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let mut request = argv(&["sh", "-c", "echo secret | tee a.txt"]);
    request.artifacts.globs = vec!["a.txt".to_owned()];
    let theirs = other.run(&request).execution.id;
    let runs = other.start(&argv(&["sleep", "600"]));
    let session = call(&other, "create_session", json!({}))["structuredContent"]["id"].take();
    let session = session.as_str().expect("an id");
    let file = json!({"session": session, "path": "a.txt", "text": "secret"});
    assert_eq!(call(&other, "write_file", file)["isError"], false);
    for (method, id) in
        [("tasks/get", theirs), ("tasks/get", runs), ("tasks/cancel", runs), ("tasks/update", runs)]
    {
        let parameters = json!({"taskId": id, "inputResponses": {}});
        let knows = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
        let answer = begin_with(&agent, method, parameters, &knows, &[]).reply();
        let answer = answer.expect("an answer").json();
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
        assert!(answer.to_string().contains("not_found"), "{method}: {answer}");
    }
    for place in [
        format!("executions/{theirs}/artifacts/a.txt"),
        format!("executions/{theirs}/stdout"),
        format!("executions/{theirs}/receipt"),
        format!("sessions/{session}/files/a.txt"),
    ] {
        let uri = format!("supervisord://{place}");
        let answer = ask(&agent, "resources/read", json!({"uri": uri}));
        assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
        assert!(!answer.to_string().contains("secret"), "{uri}: {answer}");
        let own = ask(&other, "resources/read", json!({"uri": uri}));
        assert!(own["result"]["contents"].is_array(), "{uri}: {own}");
    }
    for (tool, arguments) in [
        ("read_file", json!({"session": session, "path": "a.txt"})),
        ("list_files", json!({"session": session})),
        ("run_cell", json!({"session": session, "code": "1"})),
        ("close_session", json!({"session": session})),
        ("run", json!({"session": session, "argv": ["true"]})),
        ("list_artifacts", json!({"execution": theirs})),
        ("read_artifact", json!({"execution": theirs, "path": "a.txt"})),
    ] {
        let answer = call(&agent, tool, arguments);
        assert_eq!(answer["isError"], true, "{tool}: {answer}");
        assert!(answer.to_string().contains("not_found"), "{tool}: {answer}");
    }
    assert_eq!(other.status(runs, 0).expect("it is kept").state, State::Running);
    other.cancel(runs).expect("it runs");
}

#[test]
fn an_address_leads_to_what_it_names_and_never_out_of_it() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let session = call(&agent, "create_session", json!({}))["structuredContent"]["id"].take();
    let session = session.as_str().expect("an id");
    let links = "ln -s /etc/passwd link; ln -s / root; mkdir d; echo secret > d/a; echo a > '..a'";
    let made = call(&agent, "run", json!({"session": session, "argv": ["sh", "-c", links]}));
    assert_eq!(made["structuredContent"]["outcome"]["code"], 0, "{made}");
    let id = made["structuredContent"]["execution"].as_str().expect("an id").to_owned();
    let files = format!("sessions/{session}/files");
    for place in [
        format!("{files}/../files/d/a"),
        format!("{files}/d/../../../../etc/passwd"),
        format!("{files}/%2e%2e/%2e%2e/etc/passwd"),
        format!("{files}/..%2f..%2fetc%2fpasswd"),
        format!("{files}//etc/passwd"),
        format!("{files}/%2fetc%2fpasswd"),
        format!("{files}/link"),
        format!("{files}/root/etc/passwd"),
        format!("{files}/d%00/a"),
        format!("{files}/d/a%"),
        format!("{files}/d/a%zz"),
        format!("{files}/d/a%ff"),
        format!("{files}/d"),
        format!("{files}/"),
        format!("sessions/{session}"),
        format!("sessions/../executions/{id}/stdout"),
        format!("executions/{id}/artifacts/../stdout"),
        format!("executions/{id}/artifacts/%2e%2e/receipt"),
        format!("executions/{id}/stdout/"),
        format!("executions/{id}/stdout?offset=1"),
        format!("executions/{id}/stdout#a"),
        format!("executions/{}/stdout", "a".repeat(1_000)),
        String::new(),
    ] {
        let answer =
            ask(&agent, "resources/read", json!({"uri": format!("supervisord://{place}")}));
        assert_eq!(answer["error"]["code"], -32602, "{place:.200}: {answer:.1000}");
        assert!(!answer.to_string().contains("root:x"), "{place:.200}: {answer:.1000}");
    }
    for uri in ["file:///etc/passwd", "/etc/passwd", "SUPERVISORD://x", "http://localhost/", ""] {
        let answer = ask(&agent, "resources/read", json!({"uri": uri}));
        assert_eq!(answer["error"]["code"], -32602, "{uri}: {answer}");
    }
    let uri = format!("supervisord://{files}/..a");
    let own = ask(&agent, "resources/read", json!({"uri": uri}));
    assert!(own["result"]["contents"].is_array(), "a name that only begins so: {own}");
}

#[test]
fn messages_that_do_not_come_keep_nobody_out() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Accept: application/json, text/event-stream\r\nContent-Length: 100\r\n\r\n{";
    let mut slow: Vec<Connection> = (0..32).map(|_| agent.connect().expect("a place")).collect();
    for connection in &mut slow {
        connection.send(head.as_bytes()).expect("it is read");
    }
    assert!(ask(&agent, "tools/list", json!({}))["result"]["tools"].is_array());
}
