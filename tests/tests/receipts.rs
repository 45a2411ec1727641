//! Receipts of a real daemon: what they bind, who gets one, and that nothing in one can be changed.

#![allow(clippy::expect_used, reason = "a test fails by a panic, and so does what it stands on")]
#![allow(clippy::panic, clippy::indexing_slicing, reason = "the same")]

use std::fs;
use std::process::Command;

use serde_json::Value;
use supervisor_api::{
    ArtifactRequest, Content, Envelope, ErrorCode, Execution, ExecutionId, InputFile, Language,
    SubmitRequest,
};
use supervisor_tests::{AGENT, Client, OTHER_AGENT, Told, World, argv, program};
use tempfile::TempDir;

const SOURCE: &str =
    "import sys\nprint(len(open('in.txt').read()))\nopen('out.txt', 'w').write('made')\n";

fn request() -> SubmitRequest {
    let content = Content(b"some bytes".to_vec());
    SubmitRequest {
        language: Some(Language::Python),
        source: Some(SOURCE.to_owned()),
        files: vec![InputFile { path: "in.txt".to_owned(), content, executable: false }],
        artifacts: ArtifactRequest { globs: vec!["out.txt".to_owned()] },
        ..SubmitRequest::default()
    }
}

#[track_caller]
fn receipt(client: &Client, id: ExecutionId) -> Vec<u8> {
    let reply =
        client.call("GET", &format!("/v1/executions/{id}/receipt"), None).expect("an answer");
    assert_eq!(reply.status, 200, "{:?}", reply.problem());
    reply.body
}

/// What an execution was given and left, as files, with its receipt.
struct Kept {
    world: World,
    execution: Execution,
    directory: TempDir,
}

impl Kept {
    fn new() -> Self {
        let world = World::open();
        let agent = world.agent(AGENT);
        let execution = agent.run(&request()).execution;
        let directory = tempfile::tempdir().expect("a directory");
        let artifacts = directory.path().join("artifacts");
        fs::create_dir(&artifacts).expect("a directory");
        for (name, bytes) in [
            ("receipt.json", receipt(&agent, execution.id).as_slice()),
            ("stdout", b"10\n"),
            ("in.txt", b"some bytes"),
            ("main.py", SOURCE.as_bytes()),
            ("artifacts/out.txt", b"made"),
        ] {
            fs::write(directory.path().join(name), bytes).expect("a file");
        }
        Self { world, execution, directory }
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// `receipt verify` with everything at hand.
    fn verify(&self) -> Told {
        let mut command = Command::new(program("supervisorctl"));
        command.args([
            "receipt",
            "verify",
            &self.at("receipt.json"),
            "--stdout",
            &self.at("stdout"),
        ]);
        command.args(["--artifacts", &self.at("artifacts"), "--state"]).arg(self.world.state());
        for name in ["in.txt", "main.py"] {
            command.arg("--input").arg(format!("{name}={}", self.at(name)));
        }
        let log = fs::read_dir(self.world.state().join("audit")).expect("a log").flatten();
        for file in log.map(|entry| entry.path()) {
            if file.extension().is_some_and(|ending| ending == "jsonl") {
                command.arg("--audit").arg(file);
            }
        }
        Told::of(command)
    }

    /// The receipt with its statement changed, and signed as it was.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        use base64::Engine as _;
        use base64::engine::general_purpose::STANDARD;
        let path = self.at("receipt.json");
        let mut envelope: Envelope =
            serde_json::from_slice(&fs::read(&path).expect("a receipt")).expect("a receipt");
        let payload = STANDARD.decode(&envelope.payload).expect("base64");
        let mut statement = serde_json::from_slice(&payload).expect("a statement");
        change(&mut statement);
        envelope.payload = STANDARD.encode(statement.to_string());
        fs::write(path, serde_json::to_vec(&envelope).expect("JSON")).expect("a file");
    }
}

#[test]
fn a_receipt_binds_what_went_in_what_came_out_and_what_was_decided() {
    let kept = Kept::new();
    let told = kept.verify();
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.stderr.contains("5 of 5 compared things are the same"), "{told:?}");
    // Two that are asked for are the same to the byte.
    let again = receipt(&kept.world.agent(AGENT), kept.execution.id);
    assert_eq!(again, fs::read(kept.at("receipt.json")).expect("a receipt"));
    let envelope: Envelope = serde_json::from_slice(&again).expect("an envelope");
    let statement = envelope.look().expect("a statement");
    let predicate = statement.predicate;
    assert_eq!(predicate.execution, kept.execution.id);
    assert_eq!(predicate.policy, kept.execution.policy);
    assert_eq!(predicate.controls, kept.execution.controls);
    let decisions = predicate.decisions.expect("the log has them");
    assert!(decisions.records >= 2, "{decisions:?}");
}

#[test]
fn what_differs_from_a_receipt_is_named() {
    let kept = Kept::new();
    for (name, bytes, words) in [
        ("stdout", &b"11\n"[..], "stdout differs"),
        ("main.py", b"print()", "input main.py differs"),
        ("artifacts/out.txt", b"Made", "artifacts/out.txt differs"),
        ("artifacts/more.txt", b"", "artifacts/more.txt: the receipt knows of none"),
    ] {
        let before = fs::read(kept.at(name)).ok();
        fs::write(kept.at(name), bytes).expect("a file");
        let told = kept.verify();
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stdout.contains(words), "{told:?}");
        match before {
            Some(bytes) => fs::write(kept.at(name), bytes).expect("a file"),
            None => fs::remove_file(kept.at(name)).expect("no file"),
        }
    }
    fs::remove_file(kept.at("artifacts/out.txt")).expect("no file");
    assert!(kept.verify().stdout.contains("artifacts/out.txt is missing"));
}

#[test]
fn a_statement_that_was_changed_is_not_believed_and_the_change_is_found_where_it_can_be() {
    let kept = Kept::new();
    let whole = fs::read(kept.at("receipt.json")).expect("a receipt");
    type Change = fn(&mut Value);
    let changes: [(&str, Change, &str); 4] = [
        (
            "outcome",
            |it| it["predicate"]["outcome"]["code"] = 1.into(),
            "predicate.outcome.code was changed",
        ),
        ("owner", |it| it["predicate"]["owner_uid"] = 0.into(), "predicate.owner_uid was changed"),
        (
            "an artifact",
            |it| it["subject"][2]["digest"]["sha256"] = "00".repeat(32).into(),
            "artifacts/out.txt differs",
        ),
        (
            "the decisions",
            |it| it["predicate"]["decisions"]["denied"] = 7.into(),
            "decisions differs",
        ),
    ];
    for (name, change, words) in changes {
        kept.change(change);
        let told = kept.verify();
        assert_eq!(told.code, Some(1), "{name}: {told:?}");
        assert!(told.stdout.contains(words), "{name}: {told:?}");
        fs::write(kept.at("receipt.json"), &whole).expect("a file");
    }
    assert_eq!(kept.verify().code, Some(0));
}

#[test]
fn a_receipt_is_its_owners_and_comes_after_the_end() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let ended = agent.run(&argv(&["true"]));
    let target = format!("/v1/executions/{}/receipt", ended.execution.id);
    let reply = other.call("GET", &target, None).expect("an answer");
    assert_eq!(reply.problem().code, ErrorCode::NotFound);
    let running = agent.start(&argv(&["sleep", "1000"]));
    let target = format!("/v1/executions/{}/receipt", running);
    let reply = agent.call("GET", &target, None).expect("an answer");
    assert_eq!(reply.problem().code, ErrorCode::Conflict);
    agent.cancel(running).expect("an end");
    receipt(&agent, running);
}
