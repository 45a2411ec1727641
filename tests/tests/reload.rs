//! Configuration and policies that change under a running daemon: all or nothing, by administrators
//! alone, and nothing that runs notices.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_api::{
    Administration, AuditPage, Execution, Limit, Outcome, Policy, PolicyList, Reloaded, State,
    SubmitRequest, What,
};
use supervisor_tests::{AGENT, Reply, Settings, World, assert_described, bash, until_true};

const POLICY: &str = "name = \"own\"\ndescription = \"A test's\"\n[limits]\n";

fn world() -> World {
    let default = include_str!("../../policies/default.toml").to_owned();
    World::with(Settings {
        policies: vec![("default.toml".to_owned(), default)],
        ..Settings::default()
    })
}

fn write_policy(world: &World, more: &str) {
    let text = POLICY.replace("[limits]", "extends = \"default\"\n[limits]") + more;
    fs::write(world.path().join("policies/own.toml"), text).unwrap();
}

fn reload(world: &World) -> Reply {
    world.root().call("POST", "/v1/reload", None).expect("an answer")
}

fn under_own(payload: &str) -> SubmitRequest {
    SubmitRequest { policy: Some("own".to_owned()), ..bash(payload) }
}

#[test]
fn a_policy_is_in_force_from_the_reload_on_and_what_runs_keeps_its_own() {
    let world = world();
    let agent = world.agent(AGENT);
    assert!(agent.submit(&under_own("true")).is_err(), "it is not there yet");
    write_policy(&world, "pids_max = 50\n");
    let reply = reload(&world);
    let reloaded: Reloaded = serde_json::from_slice(&reply.body).expect("a reload");
    assert_eq!((reloaded.generation, reply.status), (2, 200));
    assert_eq!(reloaded.policies, ["default", "own"]);
    let reply = agent.call("GET", "/v1/policies", None).expect("an answer");
    assert_described("policies", reply.status, reply.field("content-type"), &reply.body);
    let list: PolicyList = serde_json::from_slice(&reply.body).expect("policies");
    let told = |policy: &Policy| (policy.name.clone(), policy.is_default);
    let told: Vec<_> = list.policies.iter().map(told).collect();
    assert_eq!((list.generation, told), (2, vec![("default".into(), true), ("own".into(), false)]));
    let id = agent.start(&under_own("echo begun; read -t 2 < <(sleep 2); echo over"));
    agent.wait_for_words(id, "begun");
    write_policy(&world, "pids_max = 60\n");
    assert_eq!(reload(&world).status, 200);
    let Execution { limits, .. } = agent.ended(id).execution;
    assert_eq!(limits.get(Limit::PidsMax), 50);
    assert_eq!(agent.run(&under_own("true")).execution.limits.get(Limit::PidsMax), 60);
}

#[test]
fn a_mistake_anywhere_leaves_everything_in_force_and_is_told() {
    let mut world = world();
    write_policy(&world, "");
    assert_eq!(reload(&world).status, 200);
    write_policy(&world, "mistake = 1\n");
    let refused = reload(&world);
    let problem = refused.problem();
    assert_eq!(refused.status, 409);
    assert!(problem.detail.contains("own.toml") && problem.detail.contains("mistake"), "{problem}");
    let agent = world.agent(AGENT);
    agent.run(&under_own("true")).expect_exit(0);
    assert!(world.daemon().words().contains("stays in force"), "the log has it");
    write_policy(&world, "");
    let reloaded: Reloaded = serde_json::from_slice(&reload(&world).body).expect("a reload");
    assert_eq!(reloaded.generation, 3, "a failed one has no number");
}

#[test]
fn nobody_but_an_administrator_reloads() {
    let world = world();
    let reply = world.agent(AGENT).call("POST", "/v1/reload", None).expect("an answer");
    assert_eq!((reply.status, reply.problem().code.name()), (403, "permission_denied"));
}

#[test]
fn a_hangup_is_a_reload_and_ends_nothing() {
    let world = world();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo begun; sleep 100"));
    agent.wait_for_words(id, "begun");
    write_policy(&world, "");
    kill(Pid::from_raw(world.daemon_pid().cast_signed()), Signal::SIGHUP).unwrap();
    until_true("the policy is there", || agent.submit(&under_own("true")).is_ok());
    write_policy(&world, "nonsense = 1");
    kill(Pid::from_raw(world.daemon_pid().cast_signed()), Signal::SIGHUP).unwrap();
    let acts = || {
        let target = "/v1/audit?kind=administration";
        let page = world.root().call("GET", target, None).expect("an answer").body;
        let page: AuditPage = serde_json::from_slice(&page).expect("a page");
        page.records.into_iter().map(|record| record.event.what).collect::<Vec<_>>()
    };
    until_true("both are recorded", || acts().len() == 2);
    let act = |act: &str| {
        let (act, object) = (act.to_owned(), Some("generation 2".to_owned()));
        What::Administration(Administration { act, by: None, object })
    };
    assert_eq!(acts(), [act("reload"), act("reload_failed")]);
    assert_eq!(agent.status(id, 0).expect("it is ours").state, State::Running);
    agent.cancel(id).expect("it is ours");
    agent.ended(id).expect(&Outcome::Cancelled);
}

#[test]
fn without_its_directory_of_policies_a_reload_is_refused_and_nothing_else_is_in_force() {
    let world = world();
    let (policies, away) = (world.path().join("policies"), world.path().join("away"));
    fs::rename(&policies, &away).unwrap();
    let refused = reload(&world);
    let words = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 409, "{words}");
    assert!(
        words.contains(policies.to_str().unwrap()) && words.contains("put the files"),
        "{words}"
    );
    let reply = world.agent(AGENT).call("GET", "/v1/policies", None).expect("an answer");
    let list: PolicyList = serde_json::from_slice(&reply.body).expect("policies");
    assert_eq!((list.generation, list.policies.len()), (1, 1));
    fs::rename(&away, &policies).unwrap();
    assert_eq!(reload(&world).status, 200);
}
