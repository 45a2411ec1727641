//! What has to be so after a daemon's death, whenever it came: held against what a caller was told before,
//! the state directory, the audit log and the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use supervisor_api::{Execution, ExecutionId, FileList, Outcome, Session, SessionId, SessionList};
use supervisor_tests::{AGENT, Client, Ended, Recorded, Selection, World, bash};

use crate::story::{Held, KEPT, Kind, Story, Told, all_of};

/// Why an execution may be lost: only what had not begun, or had part of its input.
const BEFORE_THE_START: [&str; 2] =
    ["the daemon was killed before the payload started", "its sandbox is gone"];
const BEFORE_ALL_INPUT: &str = "before the payload had all of its standard input";

/// Checks everything, and leaves nothing of the stories but their finished executions. `workspaces` is what
/// is in that directory when there is no session.
pub fn expect(world: &World, stories: Vec<(Client, Story)>, workspaces: &BTreeSet<String>) {
    let mut ends: BTreeMap<ExecutionId, Execution> = BTreeMap::new();
    for (client, mut story) in stories {
        let told = story.executions.iter();
        ends.extend(told.map(|told| (told.id, expect_one_end(&client, told))));
        expect_no_byte_lost(&client, &mut story);
        expect_sessions(&client, story.sessions);
    }
    expect_accounts(world, &ends, workspaces);
}

/// What was told to have ended is there once, with its files, and so it is in the log; nothing else is left.
pub fn expect_accounts(
    world: &World,
    ends: &BTreeMap<ExecutionId, Execution>,
    workspaces: &BTreeSet<String>,
) {
    let known = expect_only_ended(&world.root());
    let once: BTreeSet<&ExecutionId> = known.iter().collect();
    assert_eq!(once.len(), known.len(), "an execution is in the list twice");
    for id in ends.keys() {
        assert!(once.contains(id), "{id} is not in the list");
    }
    expect_files(world, &known);
    let left = names_in(&world.path().join("workspaces"));
    assert_eq!(&left, workspaces, "workspaces without a session");
    let recorded = Recorded::read(world);
    for (id, execution) in ends {
        recorded.expect(*id, execution.outcome.as_ref());
    }
    world.expect_nothing_left();
    world.agent(AGENT).run(&bash("true")).expect_exit(0);
}

/// Names in a directory.
pub fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("readable").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// It ended as its payload did, with all that it said and made; only what had not begun may be lost.
fn expect_one_end(client: &Client, told: &Told) -> Execution {
    if told.kind == Kind::Cancelled {
        client.cancel(told.id).expect("it is ours"); // which changes no end that there was
    }
    let mut ended = client.ended(told.id);
    if let Some((kept, _)) = ended.stdout.split_once("\n[supervisord: ") {
        ended.stdout = kept.to_owned(); // what was cut is counted behind it
    }
    let (stdout, stderr) = told.kind.output();
    if let Some(Outcome::Lost { reason }) = &ended.execution.outcome {
        let unstarted = BEFORE_THE_START.iter().any(|each| reason.contains(each));
        let may = if unstarted { !told.started } else { reason.contains(BEFORE_ALL_INPUT) };
        assert!(may && !told.fed, "{:?}, which had started, is lost: {reason}", told.kind);
        assert!(stdout.starts_with(&ended.stdout), "{ended:?}");
        assert!(told.end.is_none(), "an end was told, and another one came");
        return ended.execution;
    }
    let Ended { execution, .. } = &ended;
    let before = told.kind == Kind::Cancelled && !told.started && ended.stdout.is_empty();
    assert_eq!(execution.outcome, Some(told.kind.outcome()), "{ended:?}");
    if !before {
        assert_eq!((&ended.stdout, &ended.stderr), (&stdout, &stderr), "{execution:?}");
    }
    if let Some(end) = &told.end {
        assert_eq!(end, &ended.execution, "what was told has changed");
    }
    if told.kind == Kind::Maker {
        assert_eq!(client.kept(told.id), ["a1", "a2", "a3"]);
    }
    if told.kind == Kind::Flood {
        let kept = ended.execution.output.stdout.kept;
        assert_eq!(kept, KEPT as u64, "{ended:?}");
    }
    ended.execution
}

/// Whoever followed goes on where it was cut off, and has all in the end, in one order.
fn expect_no_byte_lost(client: &Client, story: &mut Story) {
    let followed = story.followed();
    let talker = story.executions.iter().find(|told| told.kind == Kind::Talker);
    let Some(talker) = talker else { return };
    let all = all_of(client.follow(talker.id, Selection::Both, 0).expect("it can be read"));
    assert_eq!(all.get(..followed.len()), Some(&*followed), "the order has changed");
}

/// Every execution that there is has ended; their ids.
fn expect_only_ended(client: &Client) -> Vec<ExecutionId> {
    let (mut known, mut after) = (Vec::new(), String::new());
    loop {
        let page = client.list(&format!("all=true&limit=200{after}")).expect("it may");
        for execution in page.executions {
            let ended = client.finished(execution.id); // one that nobody was told of is adopted as well
            assert!(ended.outcome.is_some());
            known.push(ended.id);
        }
        match page.next {
            Some(next) => after = format!("&after={next}"),
            None => return known,
        }
    }
}

/// No artifact without a record, no record without its artifact, and nothing else either.
fn expect_files(world: &World, known: &[ExecutionId]) {
    let client = world.root();
    let executions = world.state().join("executions");
    let all: BTreeSet<String> = known.iter().map(ToString::to_string).collect();
    let there = names_in(&executions);
    assert!(there.is_subset(&all), "files without a record: {:?}", there.difference(&all));
    for id in known {
        let directory = executions.join(id.to_string());
        let list = client.artifacts(*id).expect("it has finished");
        let count = client.status(*id, 0).expect("it is ours").artifact_count;
        assert_eq!(list.artifacts.len() as u64, count);
        for artifact in &list.artifacts {
            let bytes = client.artifact(*id, &artifact.path).expect("it is kept");
            let digest: String =
                Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((bytes.len() as u64, &digest), (artifact.size, &artifact.sha256));
        }
        if !there.contains(&id.to_string()) {
            continue;
        }
        let mut left = names_in(&directory);
        if left.remove("artifacts") {
            let kept = names_in(&directory.join("artifacts")).len() as u64;
            assert_eq!(kept, count, "artifacts that are kept and that are recorded");
        }
        let execution = client.status(*id, 0).expect("it is ours");
        if execution.changes.is_some() && !matches!(execution.outcome, Some(Outcome::Lost { .. })) {
            assert!(left.contains("changes"), "{id} does not say what it changed");
            assert!(execution.changes.is_some_and(|told| told.complete), "{execution:?}");
        }
        // Samples that a daemon was about to put in the place of those before may be left besides.
        let samples = ["samples", "samples.new"];
        let streams = ["stdout", "stderr", "index"];
        let rest = ["globs", "input", "before", "changes"];
        for expected in samples.iter().chain(&streams).chain(&rest) {
            left.remove(*expected);
        }
        assert!(left.is_empty(), "{id} leaves {left:?}");
    }
}

/// What was told of a session is so; what was not is one or the other, and whole.
fn expect_sessions(client: &Client, held: Vec<Held>) {
    let reply = client.call("GET", "/v1/sessions", None).expect("an answer");
    let list: SessionList = serde_json::from_slice(&reply.body).expect("a list");
    let there: Vec<SessionId> = list.sessions.iter().map(|session: &Session| session.id).collect();
    for Held { id, files, closing } in held {
        match closing {
            Some(true) => assert!(!there.contains(&id), "a session that was closed is back"),
            Some(false) => {}
            None => assert!(there.contains(&id), "a session is gone"),
        }
        for (name, bytes) in files {
            let reply = client.call("GET", &format!("/v1/sessions/{id}/files/{name}"), None);
            let reply = reply.expect("an answer");
            assert_eq!((reply.status, reply.body), (200, bytes), "{name}");
        }
    }
    for id in there {
        let reply = client.call("GET", &format!("/v1/sessions/{id}/tree"), None);
        let tree: FileList = serde_json::from_slice(&reply.expect("an answer").body).expect("it");
        let whole = ["data", "one", "two", "log", "main.sh"];
        for entry in tree.entries {
            let is_known = whole.contains(&entry.path.as_str());
            assert!(is_known, "a session is left with {entry:?}");
        }
        let reply = client.call("DELETE", &format!("/v1/sessions/{id}"), None).expect("an answer");
        assert!(reply.status < 300, "{:?}", reply.problem());
    }
}
