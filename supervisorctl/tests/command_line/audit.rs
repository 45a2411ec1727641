//! The audit log on files of the test's making, and what the daemon tells about it.

use std::fs;
use std::path::Path;

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use supervisor_api::{Administration, Chain, Checkpoint, Head, PublicKey, Subject, What};
use tempfile::TempDir;

use crate::fake::{Fake, ID};
use crate::program::{self, Ended};

const TIME: &str = "2026-01-01T00:00:00.000000Z";

/// A log of nine records in three files, and its key and head.
fn log() -> (TempDir, String) {
    let state = tempfile::tempdir().expect("a directory");
    let directory = state.path().join("audit");
    fs::create_dir(&directory).expect("made");
    let pair = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(pair.as_ref()).expect("a key");
    let mut chain = Chain::default();
    for file in 0..3u32 {
        let mut lines = Vec::new();
        let first = chain.next;
        for by in 0..2 {
            let act =
                Administration { act: "cancel".into(), by: Some(file * 2 + by), object: None };
            let subject = Subject { uid: Some(by), execution: Some(ID), ..Subject::default() };
            let event = What::Cancellation(act).about(subject);
            lines.extend(chain.seal(TIME, &event).expect("sealed").line);
        }
        let event =
            What::Checkpoint(Checkpoint { records: 2, key: "k".into(), closing: file == 2 });
        let sealed = chain.seal_checkpoint(TIME, &event.about_nobody(), &pair).expect("sealed");
        lines.extend(sealed.line);
        fs::write(directory.join(format!("audit-{first:020}.jsonl")), lines).expect("written");
    }
    let key = PublicKey::new(pair.public_key().as_ref().try_into().expect("32 bytes")).to_string();
    fs::write(directory.join("key.pub"), format!("{key}\n")).expect("written");
    fs::write(directory.join("head"), Head::sign(&chain, &pair).to_string()).expect("written");
    (state, key)
}

fn ctl(state: &TempDir, arguments: &[&str]) -> Ended {
    program::command(Path::new("/nowhere"), state.path(), arguments)
        .output()
        .expect("started")
        .into()
}

#[test]
fn a_log_is_verified_without_a_daemon_in_whatever_order_its_files_are_named() {
    let (state, key) = log();
    let ended = ctl(&state, &["audit", "verify", "--state", ".", "--key", &key]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("9 whole records, 1 to 9; 3 checkpoints"), "{}", ended.stderr);
    let names = [4, 7, 1].map(|first: u64| format!("audit/audit-{first:020}.jsonl"));
    let named: Vec<&str> =
        ["audit", "verify"].into_iter().chain(names.iter().map(String::as_str)).collect();
    assert_eq!(ctl(&state, &named).status, Some(0));
    let found = ctl(&state, &["audit", "verify", "--json", "--state", "."]).json();
    assert_eq!((&found["whole"], &found["report"]["signed"]), (&true.into(), &9.into()));
    assert_eq!(ctl(&state, &["audit", "key", "--state", "."]).stdout, format!("{key}\n"));
    let ended = ctl(&state, &["audit", "verify", "--state", ".", "--key", "abc"]);
    assert_eq!(ended.status, Some(64), "{}", ended.stderr);
}

#[test]
fn a_file_that_is_gone_and_one_that_is_cut_are_found() {
    let (state, _) = log();
    let file = |first: u64| state.path().join(format!("audit/audit-{first:020}.jsonl"));
    let middle = fs::read(file(4)).expect("there");
    fs::remove_file(file(4)).expect("removed");
    let ended = ctl(&state, &["audit", "verify", "--state", "."]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("records 4 to 6 are missing"), "{}", ended.stdout);
    fs::write(file(4), middle).expect("written");
    fs::remove_file(file(7)).expect("removed");
    let ended = ctl(&state, &["audit", "verify", "-q", "--state", "."]);
    assert!(
        ended.stdout.contains("records 7 to 9 at the end of the log: missing"),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.stderr, "");
}

/// A deed, and what is told of it.
type Deed = (&'static str, fn(&mut Vec<Vec<u8>>), &'static str);

/// One file, its key and its head.
#[test]
fn whatever_is_done_to_a_log_by_hand_is_named() {
    let changed = |lines: &mut Vec<Vec<u8>>| {
        let text = String::from_utf8(lines[4].clone()).expect("text");
        lines[4] = text.replace("cancel", "cancal").into_bytes();
    };
    let deeds: [Deed; 12] = [
        ("changed", changed, ":5: record 5 is not what was written"),
        ("dropped", |lines| drop(lines.remove(4)), ":5: record 5 is missing"),
        ("the first dropped", |lines| drop(lines.remove(0)), ":1: record 1 is missing"),
        ("exchanged", |lines| lines.swap(3, 4), ":5: record 4 stands behind one"),
        (
            "doubled",
            |lines| lines.insert(5, lines[4].clone()),
            ":6: record 5 stands there a second",
        ),
        (
            "the last dropped",
            |lines| drop(lines.pop()),
            ":8: record 9 at the end of the log: missing",
        ),
        ("cut at a checkpoint", |lines| lines.truncate(6), "records 7 to 9 at the end"),
        ("all dropped", Vec::clear, "head:1: records 1 to 9 at the end of the log: missing"),
        ("torn", |lines| lines[8].retain(|byte| *byte != b'\n'), ":9: record 9 is torn"),
        (
            "added to",
            |lines| lines.push(b"{}\n".to_vec()),
            ":10: record 10 is not what was written",
        ),
        ("spaced", |lines| lines[4].insert(1, b' '), ":5: record 5 is not what was written"),
        ("given a line", |lines| lines.insert(4, b"\n".to_vec()), ":5: record 5 is not what was"),
    ];
    for (what, deed, told) in deeds {
        let (state, _) = log();
        let place = |first: u64| state.path().join(format!("audit/audit-{first:020}.jsonl"));
        let mut whole: Vec<Vec<u8>> = Vec::new();
        for first in [1, 4, 7] {
            let text = fs::read(place(first)).expect("there");
            whole.extend(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec));
            fs::remove_file(place(first)).expect("removed");
        }
        deed(&mut whole);
        fs::write(place(1), whole.concat()).expect("written");
        let ended = ctl(&state, &["audit", "verify", "--state", "."]);
        assert_eq!(ended.status, Some(1), "{what}: {}", ended.stderr);
        assert!(ended.stdout.contains(told), "{what}: {}", ended.stdout);
    }
    let (state, _) = log();
    let head = state.path().join("audit/head");
    let verify = || ctl(&state, &["audit", "verify", "--json", "--state", "."]);
    for (deed, told) in [("damaged", "head_damaged"), ("removed", "head_missing")] {
        match deed {
            "damaged" => fs::write(&head, "9").expect("written"),
            _ => fs::remove_file(&head).expect("removed"),
        }
        let ended = verify();
        assert_eq!(ended.status, Some(1), "{deed}: {}", ended.stderr);
        assert_eq!(ended.json()["report"]["findings"][0]["fault"], told);
    }
}

#[test]
fn records_are_searched_for_without_a_daemon() {
    let (state, _) = log();
    let query = |words: &[&str]| {
        let all: Vec<&str> =
            ["audit", "query", "-q", "--state", "."].iter().chain(words).copied().collect();
        ctl(&state, &all).stdout
    };
    assert_eq!(query(&["--kind", "cancellation"]), "1\n2\n4\n5\n7\n8\n");
    assert_eq!(query(&["--uid", "1", "--after", "3"]), "5\n8\n");
    assert_eq!(query(&["--execution", &ID.to_string(), "--limit", "2"]), "1\n2\n");
    assert_eq!(query(&["--since", "2026-01-02"]), "");
    for (option, word) in [("--since", "2026-02-30"), ("--until", "never"), ("--kind", "act")] {
        let ended = ctl(&state, &["audit", "query", "--state", ".", option, word]);
        assert_eq!(ended.status, Some(64), "{option}: {}", ended.stderr);
    }
    let lines = ctl(&state, &["audit", "query", "--json", "--state", ".", "--limit", "3"]).stdout;
    assert_eq!(lines.lines().count(), 3);
    let table = ctl(&state, &["audit", "query", "--state", "."]).stdout;
    assert!(table.contains("cancel by uid 5") && table.contains("2 records signed"), "{table}");
}

#[test]
fn the_daemon_is_asked_for_what_the_options_say() {
    let fake = Fake::new();
    let words =
        ["audit", "query", "--rule", "a b.toml:1", "--verdict", "deny", "--host", "a.example"];
    let ended = fake.ctl(&words);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("GET https://a.example:443/x"), "{}", ended.stdout);
    let target = fake.requests("audit").pop().map(|request| request.target);
    let expected = "/v1/audit?after=0&limit=1000&rule=a%20b.toml%3A1&host=a.example&verdict=deny";
    assert_eq!(target.as_deref(), Some(expected));
    assert_eq!(fake.ctl(&["audit", "key"]).stdout, format!("{}\n", "ab".repeat(32)));
}

#[test]
fn why_tells_what_was_refused_by_which_line_and_what_would_have_allowed_it() {
    let fake = Fake::new();
    let ended = fake.ctl(&["why", &ID.to_string()]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for words in [
        "refused GET https://a.example:443/x: not_allowed",
        "    by: egress 2 (p.toml:9)",
        "    to allow it: add a rule",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("ok.example"), "what was allowed: {}", ended.stdout);
    assert!(ended.stderr.contains("1 refused or cut, 1 allowed"), "{}", ended.stderr);
    let missing = "does not reach back to where this execution began";
    assert!(ended.stderr.contains(missing), "no submission is left: {}", ended.stderr);
}

#[test]
fn why_tells_what_was_only_counted_and_what_failed_though_it_was_allowed() {
    let fake = Fake::with(|script| script.story = true);
    let ended = fake.ctl(&["why", &ID.to_string()]);
    for words in [
        "41 more requests, connections and look-ups refused since",
        "40 host_not_allowed",
        "failed GET https://a.example:443/x… (of 16000 bytes): upstream_tls",
        "    why: the upstream's certificate does not hold: expired",
        "    what helps: tell whoever runs it",
    ] {
        assert!(ended.stdout.contains(words), "{words}: {}", ended.stdout);
    }
    assert_eq!(ended.stderr, "42 refused or cut, 1 allowed\n");
    let told = fake.ctl(&["why", "--json", &ID.to_string()]).json();
    assert_eq!((&told["refused"], &told["whole"]), (&42.into(), &true.into()), "{told}");
}

#[test]
fn why_tells_pages_as_they_come_and_as_json_the_first_ten_thousand() {
    let fake = Fake::with(|script| script.refusals = 10_500);
    let ended = fake.ctl(&["why", &ID.to_string()]);
    assert_eq!(ended.stdout.matches("refused GET").count(), 10_500);
    assert!(ended.stderr.contains("10500 refused or cut, 0 allowed"), "{}", ended.stderr);
    let ended = fake.ctl(&["why", "--json", &ID.to_string()]);
    assert!(ended.stderr.contains("--after 10000 tells the rest"), "{}", ended.stderr);
    let told = ended.json();
    assert_eq!(
        (told["records"].as_array().map(Vec::len), &told["next"]),
        (Some(10_000), &10_000.into())
    );
}

#[test]
fn the_daemon_s_policies_are_listed() {
    let fake = Fake::new();
    let shown = fake.ctl(&["policy", "list"]).stdout;
    assert!(shown.contains("default") && shown.contains("yes") && shown.contains("own"), "{shown}");
    assert_eq!(fake.ctl(&["--quiet", "policy", "list"]).stdout, "default\nown\n");
    let list = fake.ctl(&["policy", "list", "--json"]).json();
    assert_eq!((&list["generation"], &list["policies"][1]["name"]), (&2.into(), &"own".into()));
}

#[test]
fn budgets_and_approvals_are_shown_and_answered() {
    let fake = Fake::new();
    let shown = fake.ctl(&["budgets"]).stdout;
    assert!(shown.contains("uid:1000") && shown.contains("2.0 KiB"), "{shown}");
    assert_eq!(fake.ctl(&["budgets", "--json"]).json()["budgets"][0]["meters"][0]["left"], 7);
    let id = "ap-faaaaaaaaaaaaaaaaaaaaaaaaa";
    for words in [
        vec!["approvals", "list"],
        vec!["approvals", "list", "--follow"],
        vec!["approvals", "show", id],
    ] {
        let shown = fake.ctl(&words).stdout;
        assert!(shown.contains("POST https://a.example:443/x"), "{words:?}: {shown}");
    }
    assert_eq!(fake.ctl(&["approvals", "approve", id, "--times", "3"]).status, Some(0));
    assert_eq!(fake.ctl(&["approvals", "deny", id]).status, Some(0));
    let answers: Vec<_> = fake.requests("answer").into_iter().map(|request| request.body).collect();
    let expected = serde_json::json!([{"approve": true, "times": 3}, {"approve": false}]);
    assert_eq!(serde_json::Value::from(answers), expected);
    assert_eq!(fake.ctl(&["approvals", "approve", id, "--times", "0"]).status, Some(64));
}
