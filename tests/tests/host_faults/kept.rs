//! What is kept of an execution and was damaged on the disk since.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use supervisor_api::{ArtifactRequest, ErrorCode, ExecutionId, Outcome, State, SubmitRequest};
use supervisor_tests::{AGENT, World, bash};

/// FT-06. Nobody is told, and no signature says, that what a disk made of it is what the execution left.
#[test]
fn damaged_output_and_artifacts_are_refused_by_their_name_and_not_signed() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let request = || SubmitRequest {
        artifacts: ArtifactRequest { globs: vec!["*.txt".to_owned()] },
        ..bash(
            "head -c 1000000 /dev/zero | tr '\\0' x; echo made >a.txt; echo more >b.txt; echo last >c.txt",
        )
    };
    let [damaged, whole] = [(); 2].map(|()| agent.run(&request()).execution.id);
    let place = world.state().join("executions").join(damaged.to_string());
    let code = |id: ExecutionId, what: &str| {
        let reply = agent.call("GET", &format!("/v1/executions/{id}/{what}"), None);
        let reply = reply.expect("an answer");
        match reply.status {
            200 => (None, String::new()),
            _ => (Some(reply.problem().code), reply.problem().detail),
        }
    };
    let files = ["output?stream=stdout", "artifacts/a.txt", "artifacts/b.txt", "artifacts/c.txt"];
    for what in files.into_iter().chain(["receipt"]) {
        assert_eq!(code(damaged, what).0, None, "{what}");
    }
    fs::write(place.join("artifacts/0"), "made up").expect("written"); // longer
    fs::write(place.join("artifacts/1"), "mora\n").expect("written"); // as long
    fs::remove_file(place.join("artifacts/2")).expect("removed");
    let stdout = fs::OpenOptions::new().write(true).open(place.join("stdout")).expect("there");
    stdout.set_len(1000).expect("cut");
    for (what, said) in [
        ("output?stream=stdout", "has 1000 bytes, and had 1000000"),
        ("receipt", "has 1000 bytes, and had 1000000"),
        ("artifacts/a.txt", "has 7 bytes, and had 5"),
        ("artifacts/b.txt", "SHA-256"),
        ("artifacts/c.txt", "is gone"),
    ] {
        let (code, detail) = code(damaged, what);
        assert_eq!(code, Some(ErrorCode::Damaged), "{what}");
        assert!(detail.contains(said), "{what}: {detail}");
    }
    for what in files {
        assert_eq!(code(whole, what).0, None, "{what}");
    }
}

/// FT-06. As long as before is not as it was: of a stream, and of the order of both. What is put back is as it was again.
#[test]
fn output_that_was_changed_at_its_length_is_refused_until_it_is_as_it_was() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let both = "head -c 100000 /dev/zero | tr '\\0' x; echo between >&2; head -c 100000 /dev/zero | tr '\\0' y";
    let execution = agent.run(&bash(both)).execution;
    assert!(execution.output.stdout.sha256.is_some() && execution.output.order_sha256.is_some());
    let place = world.state().join("executions").join(execution.id.to_string());
    let refused = |what: &str| {
        let target = format!("/v1/executions/{}/{what}", execution.id);
        let reply = agent.call("GET", &target, None).expect("an answer");
        (reply.status != 200).then(|| (reply.problem().code, reply.problem().detail))
    };
    let reads = ["output", "output?stream=stdout&offset=199000", "receipt"];
    for (name, at, said) in [
        ("stdout", 100_000, "the kept stdout is damaged"),
        ("stderr", 3, "the kept stderr is damaged"),
        ("index", 24, "the kept order of stdout and stderr is damaged"),
    ] {
        let was = fs::read(place.join(name)).expect("it is there");
        for what in reads {
            assert_eq!(refused(what), None, "{name} {what}");
        }
        let mut changed = was.clone();
        changed[at] ^= 1;
        fs::write(place.join(name), changed).expect("it is written");
        for what in reads {
            let (code, detail) = refused(what).expect("it was changed");
            assert_eq!(code, ErrorCode::Damaged, "{name} {what}");
            assert!(detail.starts_with(said), "{name} {what}: {detail}");
        }
        fs::write(place.join(name), was).expect("it is written");
    }
    for what in reads {
        assert_eq!(refused(what), None, "{what}");
    }
}

/// FT-06. Something else stands where a file of an execution was: a daemon that starts waits for nobody to write to it, ends
/// that execution by the file's name, and takes over all others.
#[test]
fn a_pipe_in_the_place_of_what_was_kept_of_an_execution_keeps_no_daemon_from_starting() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let names = ["end", "reason", "globs"];
    let begin = |_: &str| {
        let request = SubmitRequest {
            artifacts: ArtifactRequest { globs: vec!["*.txt".to_owned()] },
            ..bash("echo begun; sleep 1000")
        };
        let id = agent.start(&request);
        agent.wait_for_words(id, "begun");
        id
    };
    let (damaged, whole) = (names.map(begin), begin("none"));
    world.daemon().kill();
    for (name, id) in names.iter().zip(damaged) {
        let file = world.state().join("executions").join(id.to_string()).join(name);
        drop(fs::remove_file(&file)); // of these, only the globs are there
        mkfifo(&file, Mode::S_IRWXU).expect("made");
        fs::set_permissions(&file, Permissions::from_mode(0o666)).expect("the daemon is another");
    }
    world.start_daemon();
    for (name, id) in names.iter().zip(damaged) {
        let lost = agent.finished(id).outcome;
        let Some(Outcome::Lost { reason }) = lost else { panic!("{name}: {lost:?}") };
        assert!(reason.contains(&format!("the file `{name}` is not a regular file")), "{reason}");
    }
    assert_eq!(agent.status(whole, 0).expect("a status").state, State::Running);
    agent.cancel(whole).expect("cancelled");
    assert_eq!(agent.finished(whole).outcome, Some(Outcome::Cancelled));
}
