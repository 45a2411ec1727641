//! A host whose clock is set while executions run and after them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use supervisor_api::{AuditPage, Envelope, ExecutionId};
use supervisor_tests::{AGENT, Client, Settings, World, argv, bash};

use super::audit_is_whole;

/// The kinds of what was recorded about an execution, and whether its receipt has them.
#[track_caller]
fn recorded(agent: &Client, id: ExecutionId) -> (Vec<String>, bool) {
    let get = |what: &str| {
        let reply = agent.call("GET", &format!("/v1/executions/{id}/{what}"), None);
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{what}: {:?}", reply.problem());
        reply
    };
    let page: AuditPage = serde_json::from_slice(&get("decisions").body).expect("a page");
    let kinds = page.records.iter().map(|record| record.event.what.kind().to_owned()).collect();
    let envelope: Envelope = serde_json::from_slice(&get("receipt").body).expect("a receipt");
    let statement = STANDARD.decode(&envelope.payload).expect("base64");
    let statement: Value = serde_json::from_slice(&statement).expect("a statement");
    (kinds, statement.pointer("/predicate/decisions").is_some_and(Value::is_object))
}

/// AU-01. After a step back the times of many records come twice.
#[test]
fn what_was_recorded_of_an_execution_is_found_wherever_the_clock_is_set() {
    let mut world = World::with(Settings { has_clock: true, ..Settings::default() });
    let agent = world.agent(AGENT);
    let mut all = vec![agent.run(&argv(&["true"])).execution.id];
    for (before, within, after) in
        [(3600, 0, 0), (0, -600, -600), (-600, 3600, -7200), (-7200, -7200, 10)]
    {
        world.turn_clock(before);
        let slow = agent.start(&bash("echo up; exec sleep 600"));
        agent.wait_for_words(slow, "up");
        world.turn_clock(within);
        all.push(agent.run(&argv(&["true"])).execution.id);
        agent.cancel(slow).expect("it is ours");
        agent.finished(slow);
        all.push(slow);
        world.turn_clock(after);
        all.push(agent.run(&argv(&["true"])).execution.id);
    }
    let check = |all: &[ExecutionId]| {
        for id in all {
            let (kinds, is_signed) = recorded(&agent, *id);
            let ends = [kinds.first(), kinds.last()].map(|kind| kind.map(String::as_str));
            assert_eq!(ends, [Some("submission"), Some("outcome")], "{id}: {kinds:?}");
            assert!(is_signed, "{id}");
        }
    };
    check(&all);
    world.daemon().end();
    world.turn_clock(-100_000);
    world.start_daemon();
    all.push(agent.run(&argv(&["true"])).execution.id);
    check(&all);
    audit_is_whole(&world);
}
