//! `run`: bytes and status pass through, breaks are survived, refusals are told.

use serde_json::json;
use supervisor_api::{ApiError, ControlStatus, ErrorCode, Limit, Outcome, Stream};

use crate::fake::{Fake, ID, chunks, execution};
use crate::program;

#[test]
fn the_payloads_bytes_and_status_come_through_and_the_summary_stays_beside_them() {
    let fake = Fake::with(|script| {
        script.execution = execution(Outcome::Exited { code: 7 });
        script.chunks = chunks(&[(Stream::Stdout, b"out\x1b[1m\n"), (Stream::Stderr, b"err\n")]);
    });
    let ended = fake.ctl(&["run", "--quiet", "true"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(7), "out\x1b[1m\n"));
    assert_eq!(ended.stderr, "err\n");
    let ended = fake.ctl(&["run", "true"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(7), "out\x1b[1m\n"));
    for words in [
        "exited with status 7",
        "1.25 s wall, 800 ms CPU",
        "42.9 MiB peak",
        "1 enforced, 1 weaker, 0 missing",
        "weaker memory_max (by RLIMIT_AS): no memory controller; to get it: boot with cgroup v2",
    ] {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn the_exit_status_tells_how_it_ended() {
    let setup = |step: &str, reason: &str| Outcome::SetupFailed {
        step: step.to_owned(),
        reason: reason.to_owned(),
    };
    for (outcome, status) in [
        (Outcome::Exited { code: 255 }, 255),
        (Outcome::Signaled { signal: 11, name: "SIGSEGV".to_owned() }, 139),
        (Outcome::TimedOut, 124),
        (Outcome::LimitExceeded { limit: Limit::CpuTime }, 124),
        (Outcome::LimitExceeded { limit: Limit::WorkspaceBytes }, 137),
        (Outcome::OutOfMemory, 137),
        (Outcome::Cancelled, 130),
        (setup("exec", "ENOENT: no such file"), 127),
        (setup("exec", "EACCES: permission denied"), 126),
        (setup("mount_proc", "EPERM: not permitted"), 125),
        (Outcome::Lost { reason: "the launcher died".to_owned() }, 125),
    ] {
        let fake = Fake::with(|script| script.execution = execution(outcome.clone()));
        assert_eq!(fake.ctl(&["run", "true"]).status, Some(status), "{outcome:?}");
    }
}

#[test]
fn a_program_that_is_not_there_is_named_and_no_control_is_said_to_be_missing() {
    let fake = Fake::with(|script| {
        let (step, reason) = ("exec".to_owned(), "ENOENT: No such file or directory".to_owned());
        script.execution = execution(Outcome::SetupFailed { step, reason });
        script.execution.argv = vec!["nope".to_owned()];
        for report in &mut script.execution.controls {
            report.status = ControlStatus::Missing;
        }
    });
    let ended = fake.ctl(&["run", "nope"]);
    assert_eq!(ended.status, Some(127));
    let words = "not started: exec of nope: ENOENT: No such file or directory";
    assert!(ended.stderr.contains(words), "{}", ended.stderr);
    assert!(ended.stderr.contains("none, for nothing ran"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("missing"), "{}", ended.stderr);
}

#[test]
fn broken_connections_and_a_busy_daemon_cost_no_byte_and_repeat_none() {
    let fake = Fake::with(|script| {
        script.chunks = chunks(&[
            (Stream::Stdout, b"one "),
            (Stream::Stderr, b"uno "),
            (Stream::Stdout, b"two \xff"),
            (Stream::Stdout, b"three"),
        ]);
        script.breaks = [1, 0, 2].into();
        script.busy = 2;
        script.chunks[2].data.0.pop();
        script.chunks[3].offset -= 1;
    });
    let ended = fake.ctl(&["run", "--quiet", "true"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "one two three"));
    assert_eq!(ended.stderr, "uno ");
    assert_eq!(fake.requests("submit").len(), 1);
    assert_eq!(fake.requests("output").len(), 6);
}

#[test]
fn what_the_options_say_is_what_is_submitted() {
    let fake = Fake::new();
    std::fs::write(fake.directory().join("tool"), b"\xff\x00").expect("written");
    std::fs::write(fake.directory().join("vars"), "# c\nA=file\nB=b \"c\"\n").expect("written");
    std::fs::write(fake.directory().join("main.py"), "print(1)").expect("written");
    let ended = fake.ctl(&[
        "submit",
        "--file",
        "tool:bin/tool",
        "--env-file",
        "vars",
        "--env",
        "A=flag",
        "--cwd",
        "bin",
        "--artifact",
        "*.png",
        "--policy",
        "tight",
        "--label",
        "k=v",
        "--memory",
        "64M",
        "--cpus",
        "1.5",
        "--time",
        "2m",
        "--language",
        "python",
        "main.py",
        "--flag",
        "x",
    ]);
    assert_eq!((ended.status, ended.stdout), (Some(0), format!("{ID}\n")));
    let expected = json!({
        "language": "python",
        "source": "print(1)",
        "args": ["--flag", "x"],
        "env": {"A": "flag", "B": "b \"c\""},
        "cwd": "bin",
        "files": [{"path": "bin/tool", "content": {"base64": "/wA="}, "executable": false}],
        "limits": {"memory_max": 64 << 20, "cpu_max": 150, "wall_time": 120_000},
        "artifacts": {"globs": ["*.png"]},
        "policy": "tight",
        "labels": {"k": "v"},
        "wait": false,
    });
    assert_eq!(fake.requests("submit").first().map(|request| &request.body), Some(&expected));
}

#[test]
fn standard_input_reaches_the_payload_only_when_it_is_asked_for() {
    let fake = Fake::new();
    std::fs::write(fake.directory().join("input"), "typed").expect("written");
    for options in [&["submit", "cat"][..], &["submit", "--stdin", "cat"]] {
        let input = std::fs::File::open(fake.directory().join("input")).expect("there");
        let output = fake.command(options).stdin(input).output().expect("started");
        assert!(output.status.success());
    }
    let sent: Vec<_> =
        fake.requests("submit").into_iter().map(|request| request.body["stdin"].clone()).collect();
    assert_eq!(sent, [json!(null), json!("typed")]);
}

#[test]
fn a_refused_submission_is_ours_and_says_what_to_do() {
    let fake = Fake::with(|script| {
        let error = ApiError::new(ErrorCode::PolicyDenied, "more than the policy allows")
            .with_field("limits.memory_max")
            .with_hint("ask for at most 1073741824");
        script.refusal = Some(error);
    });
    let ended = fake.ctl(&["run", "true"]);
    assert_eq!(ended.status, Some(125));
    for words in ["more than the policy allows", "limits.memory_max", "at most 1073741824"] {
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
    let ended = fake.ctl(&["submit", "--json", "true"]);
    assert_eq!(ended.status, Some(77));
    assert_eq!(ended.json()["error"]["code"], "policy_denied");
}

#[test]
fn nobody_at_the_socket_is_ours_and_says_what_to_do() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("none.sock");
    for (arguments, status) in [
        (&["run", "true"][..], 125),
        (&["list"], 69),
        (&["run", "--nonsense", "true"], 125),
        (&["list", "x"], 64),
    ] {
        let output =
            program::command(&socket, directory.path(), arguments).output().expect("started");
        assert_eq!(output.status.code(), Some(status), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_too_large_or_no_file_is_refused_before_anything_is_sent() {
    let fake = Fake::new();
    let large = std::fs::File::create(fake.directory().join("large")).expect("created");
    large.set_len((24 << 20) + 1).expect("extended");
    let ended = fake.ctl(&["run", "--file", "large", "true"]);
    assert_eq!(ended.status, Some(125));
    assert!(ended.stderr.contains("large is larger than 24.0 MiB"), "{}", ended.stderr);
    assert_eq!(fake.ctl(&["run", "--file", ".:dir", "true"]).status, Some(125));
    assert_eq!(fake.ctl(&["run", "--file", "a:x", "--file", "b:x", "true"]).status, Some(125));
    assert!(fake.requests("submit").is_empty());
}

#[test]
fn with_json_a_run_is_one_object_with_everything_in_it() {
    let fake = Fake::with(|script| {
        script.chunks =
            chunks(&[(Stream::Stdout, b"a"), (Stream::Stderr, b"\xff"), (Stream::Stdout, b"b")]);
    });
    let ended = fake.ctl(&["--json", "run", "true"]);
    assert_eq!(ended.status, Some(0));
    let result = ended.json();
    assert_eq!(result["execution"]["id"], json!(ID));
    assert_eq!(result["stdout"], "ab");
    assert_eq!(result["stderr"], json!({"base64": "/w=="}));
    assert_eq!(result["saved"], json!([]));
    assert_eq!(ended.stderr, "");
}

#[test]
fn output_that_was_cut_is_said_to_be_cut() {
    let fake = Fake::with(|script| {
        script.chunks = chunks(&[(Stream::Stdout, b"kept")]);
        script.execution.output.stdout.cut = 2048;
    });
    let ended = fake.ctl(&["run", "true"]);
    assert!(ended.stderr.contains("2.0 KiB of standard output were cut"), "{}", ended.stderr);
}
