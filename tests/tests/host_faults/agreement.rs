//! A start with a disk that isn't mounted, another directory, or a state from a backup: nothing is tidied away of which
//! the daemon had not begun to tidy away itself.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use supervisor_api::{
    ChangesMode, ChangesState, ErrorCode, Outcome, Recovery, Session, SessionId, SessionList,
    SubmitRequest, What,
};
use supervisor_tests::{AGENT, Client, World, argv, until_true};

use super::audit_is_whole;

/// What has a start take sessions and workspaces as they are.
const SETTLE: &str = "settle-workspaces";

fn open(client: &Client) -> SessionId {
    let made = client.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    serde_json::from_slice::<Session>(&made.body).expect("a session").id
}

fn sessions(client: &Client) -> Vec<SessionId> {
    let reply = client.call("GET", "/v1/sessions", None).expect("an answer");
    let list: SessionList = serde_json::from_slice(&reply.body).expect("a list");
    list.sessions.into_iter().map(|session| session.id).collect()
}

fn file(session: SessionId) -> String {
    format!("/v1/sessions/{session}/files/keep")
}

#[track_caller]
fn write(client: &Client, session: SessionId) {
    let put = client.call("PUT", &file(session), Some(b"precious")).expect("an answer");
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
}

#[track_caller]
fn expect_written(client: &Client, session: SessionId) {
    let got = client.call("GET", &file(session), None).expect("an answer");
    assert_eq!((got.status, &*got.body), (200, &b"precious"[..]));
}

/// What is recorded of starts, of these acts.
fn recoveries(world: &World, act: &str) -> Vec<Recovery> {
    let records = world.root().audit("kind=recovery").expect("root may").records;
    let all = records.into_iter().filter_map(|record| match record.event.what {
        What::Recovery(recovery) => Some(recovery),
        _ => None,
    });
    all.filter(|recovery| recovery.act == act).collect()
}

/// Puts an empty directory in the place of one, as a disk that isn't mounted leaves it; where the other is now.
fn unmounted(directory: &Path) -> PathBuf {
    let away = directory.with_extension("away");
    let was = fs::metadata(directory).expect("it is there");
    fs::rename(directory, &away).expect("renamed");
    let mode = was.mode() & 0o7777;
    fs::DirBuilder::new().mode(mode).create(directory).expect("made");
    chown(directory, Some(was.uid()), Some(was.gid())).expect("root may");
    away
}

/// Puts it back.
fn mounted_again(directory: &Path, away: &Path) {
    fs::remove_dir_all(directory).expect("removed");
    fs::rename(away, directory).expect("renamed back");
}

fn stop(world: &mut World) {
    world.daemon().clear_away();
    world.launcher().end();
}

#[track_caller]
fn refused_start(world: &mut World, why: &str) {
    world.start_launcher();
    assert!(!world.start_daemon_if_it_can(), "it started");
    let words = world.daemon().words();
    assert!(words.contains(why) && words.contains(SETTLE), "{words}");
}

/// FT-32. Both sides in turn; what is held back of a session included.
#[test]
fn a_start_without_the_workspaces_or_without_the_state_is_refused_and_loses_nothing() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let session = open(&agent);
    write(&agent, session);
    let change = SubmitRequest {
        session: Some(session),
        changes: Some(ChangesMode::Hold),
        ..argv(&["touch", "new"])
    };
    let held = agent.run(&change).execution.id;
    let workspaces = world.path().join("workspaces");
    let state = world.state();
    for (directory, why) in [
        (&workspaces, "none of the sessions in the state directory (2) has its workspace"),
        (&state, "none of the workspaces that the launcher keeps (2) has its session"),
    ] {
        stop(&mut world);
        let away = unmounted(directory);
        refused_start(&mut world, why);
        world.launcher().end();
        mounted_again(directory, &away);
        world.start_launcher();
        world.start_daemon();
        expect_written(&agent, session);
    }
    let refused = recoveries(&world, "refused");
    assert_eq!(refused.len(), 1, "the other log went with its state: {refused:?}");
    let applied = agent.call("POST", &format!("/v1/executions/{held}/changes/apply"), None);
    assert_eq!(applied.expect("an answer").status, 200);
    let state_of_changes = agent.call("GET", &format!("/v1/executions/{held}/changes"), None);
    let state_of_changes = state_of_changes.expect("an answer").json();
    assert_eq!(state_of_changes["state"], serde_json::json!(ChangesState::Applied));
    agent.run(&SubmitRequest { session: Some(session), ..argv(&["ls", "new"]) }).expect_exit(0);
    audit_is_whole(&world);
}

/// FT-32. Some are not there, and some nobody knows: they stay what they are until somebody says otherwise.
#[test]
fn a_session_that_has_lost_its_workspace_is_told_and_comes_back_with_it() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let (lost, whole) = (open(&agent), open(&agent));
    write(&agent, lost);
    world.daemon().end();
    world.launcher().end();
    let name = format!("{:032x}", lost.bits());
    let of_it = |path: &PathBuf| path.to_string_lossy().contains(&name);
    let place = world.kept_workspaces().into_iter().find(of_it).expect("it is kept");
    let nobodys = place.to_string_lossy().replace(&name, &format!("{:032x}", lost.bits() ^ 1));
    let nobodys = PathBuf::from(nobodys);
    fs::rename(&place, &nobodys).expect("renamed");
    world.start_launcher();
    world.start_daemon();
    let said = agent.call("GET", &file(lost), None).expect("an answer").problem();
    assert_eq!(said.code, ErrorCode::Unavailable, "{said:?}");
    assert!(said.detail.contains("the session's workspace is missing"), "{said:?}");
    let ran = agent.run(&SubmitRequest { session: Some(lost), ..argv(&["true"]) }).execution;
    let Some(Outcome::SetupFailed { step, reason }) = &ran.outcome else { panic!("{ran:?}") };
    assert!(step == "find_workspace" && reason.contains("is missing"), "{step}: {reason}");
    agent.run(&SubmitRequest { session: Some(whole), ..argv(&["true"]) }).expect_exit(0);
    assert!(nobodys.exists(), "a workspace that nobody knows is not this start's to remove");
    assert_eq!((recoveries(&world, "missing").len(), recoveries(&world, "left").len()), (1, 1));
    world.daemon().end();
    world.launcher().end();
    fs::rename(&nobodys, &place).expect("renamed back");
    world.start_launcher();
    world.start_daemon();
    expect_written(&agent, lost);
}

/// FT-32. And by the way that the refusal names there is a start, once.
#[test]
fn an_administrator_has_a_start_close_what_has_no_workspace_and_remove_what_has_no_session() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    open(&agent);
    stop(&mut world);
    let workspaces = world.path().join("workspaces");
    let away = unmounted(&workspaces);
    refused_start(&mut world, "none of the sessions in the state directory (1) has");
    let asked = world.state().join(SETTLE);
    fs::write(&asked, "").expect("written");
    let state = fs::metadata(world.state()).expect("it is there");
    chown(&asked, Some(state.uid()), Some(state.gid())).expect("root may");
    world.start_daemon();
    assert_eq!((sessions(&agent), asked.exists()), (Vec::new(), false));
    // The other way round: that workspace is nobody's now.
    stop(&mut world);
    mounted_again(&workspaces, &away);
    refused_start(&mut world, "none of the workspaces that the launcher keeps (1) has");
    fs::write(&asked, "").expect("written");
    world.start_daemon();
    assert_eq!(world.kept_workspaces(), Vec::<PathBuf>::new());
    until_true("both are recorded", || recoveries(&world, "settled").len() == 2);
    audit_is_whole(&world);
}
