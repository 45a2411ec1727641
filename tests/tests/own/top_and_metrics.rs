//! What administrators look at: what runs and what it uses, and what the daemon counts.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::collections::HashMap;

use supervisor_api::{ErrorCode, LimitsRequest, SubmitRequest, Top};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Settings, World, argv, assert_described, bash, until_true,
};

fn top(client: &Client) -> Top {
    let reply = client.call("GET", "/v1/top", None).expect("the daemon answers");
    assert_described("top", reply.status, reply.field("content-type"), &reply.body);
    serde_json::from_slice(&reply.body).expect("what is described")
}

/// The numbers by name and labels.
fn metrics(client: &Client) -> HashMap<String, f64> {
    let reply = client.call("GET", "/metrics", None).expect("the daemon answers");
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.field("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let text = String::from_utf8(reply.body).expect("text");
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a number");
            (name.to_owned(), value.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn an_agent_sees_its_own_in_top_and_an_administrator_everybodys() {
    let world = World::with(Settings { running: 2, ..Settings::default() });
    let agents = [world.agent(AGENT), world.agent(OTHER_AGENT)];
    let ids = agents.each_ref().map(|agent| {
        let id = agent.start(&bash("echo up; exec sleep 300"));
        agent.wait_for_words(id, "up");
        id
    });
    let waits = agents[0].start(&argv(&["true"]));
    for (agent, (id, waiting)) in agents.iter().zip([(ids[0], 1), (ids[1], 0)]) {
        let seen = top(agent);
        let seen_ids: Vec<_> = seen.executions.iter().map(|line| line.id).collect();
        assert_eq!((seen_ids, seen.waiting), (vec![id], waiting));
    }
    let seen = top(&world.root());
    assert_eq!((seen.executions.len(), seen.waiting), (2, 1));
    for (agent, id) in agents.iter().zip(ids) {
        agent.cancel(id).expect("it is ours");
    }
    agents[0].finished(waits);
}

#[test]
fn what_happened_is_counted_and_only_administrators_read_it() {
    let world = World::open();
    let (root, agent) = (world.root(), world.agent(AGENT));
    let refused = agent.call("GET", "/metrics", None).expect("the daemon answers");
    assert_eq!((refused.status, refused.problem().code), (403, ErrorCode::PermissionDenied));
    agent.run(&bash("printf 12345; printf 12 >&2")).expect_exit(0);
    let id = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(id, "up");
    let limits = LimitsRequest { memory_max: Some(u64::MAX), ..LimitsRequest::default() };
    let much = SubmitRequest { limits, ..bash("true") };
    assert_eq!(agent.submit(&much).unwrap_err().code, ErrorCode::PolicyDenied);
    // What has ended gives its turn back behind its end.
    until_true("one runs", || metrics(&root)["supervisord_running"] == 1.0);
    let counted = metrics(&root);
    for (name, value) in [
        ("supervisord_submissions_total{policy=\"default\"}", 2.0),
        ("supervisord_refusals_total{code=\"policy_denied\"}", 1.0),
        ("supervisord_executions_total{policy=\"default\",outcome=\"exited\"}", 1.0),
        ("supervisord_output_bytes_total{stream=\"stdout\",fate=\"kept\"}", 5.0),
        ("supervisord_output_bytes_total{stream=\"stderr\",fate=\"kept\"}", 2.0),
        ("supervisord_running", 1.0),
        ("supervisord_waiting", 0.0),
        ("supervisord_start_seconds_count", 2.0),
        ("supervisord_queue_seconds_count", 2.0),
        ("supervisord_store_seconds_count{operation=\"insert\"}", 2.0),
        ("supervisord_store_seconds_count{operation=\"finish\"}", 1.0),
        ("supervisord_calls_total{front=\"socket\",operation=\"submit\",code=\"ok\"}", 2.0),
        (
            "supervisord_calls_total{front=\"socket\",operation=\"submit\",code=\"policy_denied\"}",
            1.0,
        ),
        (
            "supervisord_calls_total{front=\"socket\",operation=\"metrics\",code=\"permission_denied\"}",
            1.0,
        ),
    ] {
        assert_eq!(counted.get(name), Some(&value), "{name}: {counted:#?}");
    }
    agent.cancel(id).expect("it is ours");
    let name = "supervisord_executions_total{policy=\"default\",outcome=\"cancelled\"}";
    assert_eq!(metrics(&root).get(name), Some(&1.0));
}

#[test]
fn the_metrics_socket_serves_the_metrics_to_its_group_and_nothing_else() {
    let world = World::with(Settings { metrics: true, ..Settings::default() });
    let socket = world.path().join("run/metrics.sock");
    let daemons = Client::at(socket.clone(), Some(supervisor_tests::DAEMON));
    assert!(metrics(&daemons).contains_key("supervisord_running"));
    for path in ["/v1/executions", "/v1/doctor", "/v1/top", "/v1/openapi.json"] {
        let reply = daemons.call("GET", path, None).expect("the daemon answers");
        assert_eq!(reply.status, 404, "{path}");
    }
    let refused = Client::at(socket, Some(AGENT)).connect();
    assert!(refused.is_err(), "an agent connected to the metrics' socket");
}
