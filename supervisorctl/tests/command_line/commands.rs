//! The commands that ask and tell.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use supervisor_api::{ApiError, ErrorCode, Stream};

use crate::fake::{Fake, ID, chunks};

#[test]
fn a_list_shows_ids_and_outcomes_and_asks_for_what_the_options_say() {
    let fake = Fake::new();
    let ended = fake.ctl(&["list", "--limit", "3", "--state", "finished", "--all"]);
    assert!(ended.stdout.contains(&ID.to_string()), "{}", ended.stdout);
    assert!(ended.stdout.contains("exited 0"), "{}", ended.stdout);
    let targets: Vec<_> = fake.requests("list").into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/v1/executions?limit=3&state=finished&all=true"]);
    assert_eq!(fake.ctl(&["list", "-q"]).stdout, format!("{ID}\n"));
    assert_eq!(fake.ctl(&["list", "--json"]).json()["executions"][0]["state"], "finished");
}

/// With a disk that is full behind its standard output.
fn onto_a_full_disk(mut command: Command) -> (Option<i32>, String) {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("there");
    let ended = command.stdout(full).stderr(Stdio::piped()).output().expect("started");
    (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[test]
fn an_answer_that_can_not_be_written_is_said_and_is_no_success_whatever_the_command() {
    let fake = Fake::new();
    let id = ID.to_string();
    let commands: [&[&str]; 12] = [
        &["list"],
        &["list", "--json"],
        &["list", "--quiet"],
        &["status", &id],
        &["status", &id, "--json"],
        &["policy", "show", "default"],
        &["policy", "show", "default", "--json"],
        &["completions", "bash"],
        &["--help"],
        &["run", "--help"],
        &["help", "session", "close"],
        &["--version"],
    ];
    for arguments in commands {
        let (status, words) = onto_a_full_disk(fake.command(arguments));
        assert_eq!(status, Some(1), "{arguments:?}: {words}");
        assert!(words.contains("cannot write to standard output"), "{arguments:?}: {words}");
    }
    // What went wrong first decides; that its JSON is not there is said as well.
    let refused = fake.command(&["--socket", "/nonexistent", "list", "--json"]);
    let (status, words) = onto_a_full_disk(refused);
    assert_eq!(status, Some(69), "{words}");
    assert!(words.contains("cannot write to standard output"), "{words}");
}

#[test]
fn a_status_is_a_summary_a_word_or_an_object() {
    let fake = Fake::new();
    let id = ID.to_string();
    assert!(fake.ctl(&["status", &id]).stdout.contains("exited with status 0"));
    assert_eq!(fake.ctl(&["status", &id, "-q"]).stdout, "finished\n");
    assert_eq!(fake.ctl(&["status", &id, "--wait", "2m", "--json"]).json()["state"], "finished");
    let last = fake.requests("status").pop().map(|request| request.target);
    assert_eq!(last, Some(format!("/v1/executions/{id}?wait=60")));
}

#[test]
fn output_comes_by_stream_from_an_offset_and_over_breaks() {
    let fake = Fake::with(|script| {
        script.chunks =
            chunks(&[(Stream::Stdout, b"abc"), (Stream::Stderr, b"DEF"), (Stream::Stdout, b"ghi")]);
        script.breaks = [1, 1].into();
    });
    let id = ID.to_string();
    let ended = fake.ctl(&["output", "-f", &id, "--offset", "1"]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("bcghi", "DEF"));
    assert_eq!(fake.ctl(&["output", &id, "--stream", "stdout", "--offset", "2"]).stdout, "cghi");
    assert_eq!(fake.ctl(&["output", &id, "--stream", "stderr"]).stdout, "");
    let lines = fake.ctl(&["output", &id, "--json"]).stdout;
    let offsets: Vec<u64> = lines
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("JSON")["offset"]
                .as_u64()
                .expect("a number")
        })
        .collect();
    assert_eq!(offsets, [0, 3, 6]);
}

#[test]
fn cancel_tells_the_outcome() {
    let fake = Fake::with(|script| script.runs_until_cancelled = true);
    let ended = fake.ctl(&["cancel", &ID.to_string()]);
    assert_eq!(ended.status, Some(0));
    assert!(ended.stdout.contains("cancelled"), "{}", ended.stdout);
}

#[test]
fn remove_says_that_it_is_done_or_shows_what_it_was() {
    let fake = Fake::new();
    let id = ID.to_string();
    let ended = fake.ctl(&["remove", &id]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), ""));
    assert!(ended.stderr.contains(&format!("{id} is removed")), "{}", ended.stderr);
    assert_eq!(fake.ctl(&["remove", &id, "--json"]).json()["id"], id);
    assert_eq!(fake.ctl(&["remove", &id, "-q"]).stderr, "");
    assert_eq!(fake.requests("remove").len(), 3);
}

#[test]
fn doctor_shows_the_matrix_and_how_to_get_what_is_not_enforced() {
    let fake = Fake::new();
    let ended = fake.ctl(&["doctor"]);
    assert_eq!(ended.status, Some(1));
    for words in ["network_namespace", "enforced", "RLIMIT_AS", "to get it: boot with cgroup v2"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b'), "no colours without a terminal");
    assert_eq!(fake.ctl(&["doctor", "-q"]).stdout, "");
    assert_eq!(fake.ctl(&["doctor", "--json"]).json()["healthy"], false);
}

#[test]
fn top_shows_what_is_used_since_the_last_look() {
    let fake = Fake::new();
    let ended = fake.ctl(&["top"]);
    assert_eq!(ended.status, Some(0), "without a terminal it ends: {}", ended.stderr);
    for words in ["1 running, 3 waiting", "25.0 %", "5.0 MiB", "1.5/0.5", "sleep 300"] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains('\x1b'), "{:?}", ended.stdout);
    let page = fake.ctl(&["top", "--once", "--json"]).json();
    assert_eq!(page["executions"][0]["cpu_percent"], 25.0);
    assert_eq!(page["executions"][0]["id"], ID.to_string());
}

#[test]
fn credentials_are_listed_rotated_and_revoked_by_name() {
    let fake = Fake::new();
    let listed = fake.ctl(&["credentials", "list"]).stdout;
    for words in ["forge", "static", "ready", "api.example.com"] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    assert_eq!(fake.ctl(&["credentials", "list", "-q"]).stdout, "forge\n");
    assert_eq!(
        fake.ctl(&["credentials", "list", "--json"]).json()["credentials"][0]["kind"],
        "static"
    );
    assert_eq!(fake.ctl(&["credentials", "rotate", "forge"]).stdout, "forge: ready\n");
    let revoked = fake.ctl(&["credentials", "revoke", "a/../b", "--json"]);
    assert_eq!(revoked.json()["state"], "revoked");
    let targets: Vec<_> =
        fake.requests("revoke_credential").into_iter().map(|request| request.target).collect();
    assert_eq!(targets, ["/v1/credentials/a%2F..%2Fb/revoke"]);
}

#[test]
fn a_reload_says_what_is_in_force_or_why_it_is_not() {
    let fake = Fake::new();
    let ended = fake.ctl(&["reload"]);
    assert_eq!(ended.stdout, "generation 2 is in force, strict; policies: default own\n");
    assert_eq!(fake.ctl(&["reload", "-q"]).stdout, "");
    assert_eq!(fake.ctl(&["reload", "--json"]).json()["generation"], 2);
    let refusing = Fake::with(|script| {
        let problem = "generation 1 stays in force: own.toml:3:1: unknown key";
        script.refusal = Some(ApiError::new(ErrorCode::Conflict, problem));
    });
    let ended = refusing.ctl(&["reload", "-q"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("own.toml:3:1"), "{}", ended.stderr);
}
