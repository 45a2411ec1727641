//! Copies of workspaces, where the launcher stands still or can't remove them.

use std::path::PathBuf;
use std::{fs, thread};

use supervisor_api::{
    ChangeSet, ChangesMode, ChangesState, ExtendSession, Session, SessionId, SessionList,
    SubmitRequest,
};
use supervisor_tests::{AGENT, Client, World, argv, until_true};

use super::silent::Stopped;

fn sessions(client: &Client) -> Vec<Session> {
    let reply = client.call("GET", "/v1/sessions", None).expect("an answer");
    serde_json::from_slice::<SessionList>(&reply.body).expect("a list").sessions
}

fn held(client: &Client) -> (SessionId, SubmitRequest) {
    let reply = client.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    let id = serde_json::from_slice::<Session>(&reply.body).expect("a session").id;
    let request = argv(&["touch", "new"]);
    (id, SubmitRequest { session: Some(id), changes: Some(ChangesMode::Hold), ..request })
}

/// A copy may take an hour, and nothing of its execution runs meanwhile.
#[test]
fn what_is_held_back_takes_no_turn_while_its_copy_is_made() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let (_, request) = held(&agent);
    let stopped = Stopped::process(world.launcher_pid());
    let submitted = thread::scope(|scope| {
        let submitted = scope.spawn(|| agent.submit(&request));
        let is_made = |session: &Session| session.holds_changes_of.is_some();
        until_true("the copy is being made", || sessions(&agent).iter().any(is_made));
        let metrics = world.root().call("GET", "/metrics", None).expect("an answer");
        let metrics = String::from_utf8(metrics.body).expect("text");
        assert!(metrics.lines().any(|line| line == "supervisord_running 0"), "{metrics}");
        drop(stopped);
        submitted.join().expect("it is answered")
    });
    agent.ended(submitted.expect("it is accepted").id).expect_exit(0);
}

/// FT-03. Nobody asks for it once more, and its session may live for weeks.
#[test]
fn a_copy_that_could_not_be_removed_is_removed_when_it_can_be() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let (id, request) = held(&agent);
    let ended = agent.run(&request);
    ended.expect_exit(0);
    let changes = ended.execution.changes.expect("they are held back");
    let copy = format!("{:032x}", changes.held_in.expect("a copy").bits());
    let is_it = |path: &PathBuf| path.to_string_lossy().contains(&copy);
    let image = world.kept_workspaces().into_iter().find(is_it).expect("it is there");
    let aside = world.path().join("aside");
    fs::rename(&image, &aside).expect("root may");
    let discard = format!("/v1/executions/{}/changes/discard", ended.execution.id);
    let reply = agent.call("POST", &discard, None).expect("an answer");
    assert_eq!(reply.status, 500, "{}", String::from_utf8_lossy(&reply.body));
    assert_eq!(sessions(&agent).len(), 2);
    fs::rename(&aside, &image).expect("root may");
    let reply = agent.call("POST", &discard, None).expect("an answer");
    let set: ChangeSet = serde_json::from_slice(&reply.body).expect("changes");
    assert_eq!(set.state, ChangesState::Discarded);
    // Which has the daemon look before its time.
    let longer = serde_json::to_vec(&ExtendSession { time_to_live: 600 }).expect("JSON");
    let extended = agent.call("POST", &format!("/v1/sessions/{id}/extend"), Some(&longer));
    assert_eq!(extended.expect("an answer").status, 200);
    until_true("the copy is gone", || sessions(&agent).iter().map(|session| session.id).eq([id]));
    assert!(!image.exists());
}
