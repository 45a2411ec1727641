//! Policies without a daemon.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::program::{self, Ended};

fn ctl(directory: &TempDir, arguments: &[&str]) -> Ended {
    let nowhere = Path::new("/nowhere");
    program::command(nowhere, directory.path(), arguments).output().expect("started").into()
}

fn with_files(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        fs::write(directory.path().join(name), text).expect("written");
    }
    directory
}

/// A built-in policy as text, under another name.
fn stand_alone(directory: &TempDir, name: &str) -> String {
    let text = ctl(directory, &["policy", "show", "default", "--resolved"]).stdout;
    text.replacen("name = \"default\"", &format!("name = \"{name}\""), 1)
}

#[test]
fn a_built_in_policy_is_shown_with_the_origin_of_every_line() {
    let directory = with_files(&[]);
    let ended = ctl(&directory, &["policy", "show", "default", "--resolved"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("# from built-in/default.toml:"), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "show", "default"]);
    assert!(ended.stdout.contains("memory_max"), "{}", ended.stdout);
    let shown = ctl(&directory, &["policy", "show", "default", "--json"]).json();
    assert_eq!(shown["name"], "default");
    assert!(shown["maximum"]["memory_max"].is_u64());
    let ended = ctl(&directory, &["policy", "show", "defualt"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("did you mean default?"), "{}", ended.stderr);
}

#[test]
fn files_are_checked_together_and_a_mistake_is_pointed_at() {
    let directory = with_files(&[("child.toml", "name = \"child\"\nextends = \"parent\"\n")]);
    let parent = stand_alone(&directory, "parent");
    fs::write(directory.path().join("parent.toml"), parent).expect("written");
    let ended = ctl(&directory, &["policy", "check", "child.toml", "parent.toml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "child: valid\nparent: valid\n"));
    assert_eq!(ctl(&directory, &["policy", "check", "."]).status, Some(0));
    let ended = ctl(&directory, &["policy", "check", "child.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("child.toml:2:"), "{}", ended.stderr);
    fs::write(directory.path().join("rules.toml"), RULES).expect("written");
    let ended = ctl(&directory, &["policy", "check", "rules.toml"]);
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(0), "rules: valid\n"), "built-in");
    let ended = ctl(&directory, &["policy", "test", "rules.toml"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.ends_with("\n1 examples, 0 failed\n"), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "check", "."]);
    assert_eq!(ended.status, Some(1), "a directory is complete: {}", ended.stdout);
    fs::remove_file(directory.path().join("rules.toml")).expect("removed");
    let found = ctl(&directory, &["policy", "check", "--json", "child.toml"]).json();
    assert_eq!((&found["valid"], &found["diagnostics"][0]["line"]), (&false.into(), &2.into()));
}

#[test]
fn a_file_is_shown_with_what_it_extends_from_the_named_directory_only() {
    let directory = with_files(&[("child.toml", "name = \"child\"\nextends = \"parent\"\n")]);
    let parent = stand_alone(&directory, "parent");
    fs::write(directory.path().join("parent.toml"), parent).expect("written");
    let ended = ctl(&directory, &["policy", "show", "child.toml", "--resolved"]);
    assert_eq!(ended.status, Some(1));
    let arguments = ["policy", "show", "child.toml", "--resolved", "--directory", "."];
    let ended = ctl(&directory, &arguments);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("parent.toml:"), "{}", ended.stdout);
}

#[test]
fn a_floor_among_the_files_bounds_the_others() {
    let floor = "name = \"floor\"\n[limits.max]\npids_max = 3\n";
    let directory = with_files(&[("floor.toml", floor)]);
    let one = stand_alone(&directory, "one");
    fs::write(directory.path().join("one.toml"), one).expect("written");
    let shown = ctl(&directory, &["policy", "show", "one", "--directory", ".", "--json"]).json();
    assert_eq!(shown["maximum"]["pids_max"], 3);
}

#[test]
fn a_file_that_is_not_there_is_told_apart_from_one_that_is_wrong() {
    let directory = with_files(&[("bad.toml", "\x1b[2J = 1")]);
    let ended = ctl(&directory, &["policy", "check", "none.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("cannot open none.toml"), "{}", ended.stderr);
    let ended = ctl(&directory, &["policy", "check", "bad.toml"]);
    assert_eq!(ended.status, Some(1));
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
}

/// A policy with rules of egress, which extends a built-in one.
const RULES: &str = "name = \"rules\"\nextends = \"default\"\n\
    [[egress]]\nname = \"read\"\nhosts = [\"api.test\"]\nmethods = [\"GET\"]\npaths = [\"/v1/**\"]\n\
    [[expect]]\nrequest = \"GET https://api.test/v1/x\"\nverdict = \"allow\"\n";

#[test]
fn a_decision_is_explained_and_its_exit_status_is_the_verdict() {
    let directory = with_files(&[("rules.toml", RULES)]);
    let explain =
        |request: &str| ctl(&directory, &["policy", "explain", "rules.toml", request, "--json"]);
    let ended = explain("GET https://api.test/v1/items");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let answer = ended.json();
    assert_eq!(answer["decision"]["rule"], "read");
    assert_eq!(answer["decision"]["place"], "rules.toml:4");
    assert_eq!(answer["tls"]["treatment"], "inspect");
    let ended = explain("POST https://api.test/v1/items");
    assert_eq!(ended.status, Some(1));
    let answer = ended.json();
    assert_eq!(answer["decision"]["reason"], "method_not_allowed");
    assert_eq!(answer["considered"][0]["other"], "method");
    assert_eq!(explain("connect api.test:443 at 192.0.9.1").status, Some(0));
    let ended = explain("connect api.test:443 at 10.0.0.1");
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert_eq!(ended.json()["decision"]["reason"], "address_not_allowed");
    assert_eq!(explain("connect api.test:443 at home").status, Some(2));
    assert_eq!(explain("nonsense").status, Some(2));
    let ended = ctl(&directory, &["policy", "explain", "rules.toml", "dns \u{1b}[2J"]);
    assert_eq!(ended.status, Some(2));
    assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
}

#[test]
fn examples_are_run_one_by_one() {
    let wrong = RULES.replace("\"allow\"", "\"deny\"");
    let directory = with_files(&[("rules.toml", &wrong)]);
    let base = stand_alone(&directory, "default");
    fs::write(directory.path().join("default.toml"), base).expect("written");
    let ended = ctl(&directory, &["policy", "test", "."]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("rules.toml:9:"), "{}", ended.stderr);
    fs::write(directory.path().join("rules.toml"), RULES).expect("written");
    let ended = ctl(&directory, &["policy", "test", ".", "--json"]);
    assert_eq!((ended.status, &ended.json()["failed"]), (Some(0), &0.into()));
    assert_eq!(ctl(&directory, &["policy", "test", "none.toml"]).status, Some(2));
}

#[test]
fn a_difference_is_told_in_requests() {
    let more = RULES.replace("[\"GET\"]", "[\"GET\", \"PUT\"]");
    let directory =
        with_files(&[("rules.toml", RULES), ("more.toml", &more.replace("\"rules\"", "\"more\""))]);
    let ended = ctl(&directory, &["policy", "diff", "rules.toml", "rules.toml"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "diff", "rules.toml", "more.toml"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(
        ended.stdout.starts_with("Becomes allowed:\n  PUT https://api.test/v1/"),
        "{}",
        ended.stdout
    );
    assert!(!ended.stdout.contains("Becomes denied"), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "diff", "rules.toml", "none.toml"]);
    assert_eq!(ended.status, Some(2));
    for (name, tls) in [("seen", "tls = \"inspect\""), ("unseen", "tls = \"pass\"")] {
        let text = RULES.replace("methods = [\"GET\"]\npaths = [\"/v1/**\"]", tls);
        let text = text.replace("\"rules\"", &format!("\"{name}\""));
        fs::write(directory.path().join(format!("{name}.toml")), text).expect("written");
    }
    let ended = ctl(&directory, &["policy", "diff", "seen.toml", "unseen.toml"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let told = "TLS is treated otherwise:\n  connect api.test:443\n";
    assert!(ended.stdout.starts_with(told), "{}", ended.stdout);
    assert!(ended.stdout.contains(", tls pass\n"), "{}", ended.stdout);
    for (name, place) in [("header", "header = \"authorization\""), ("query", "query = \"key\"")] {
        let credential = "[[credential]]\nname = \"key\"\nhosts = [\"api.test\"]";
        let text = RULES.replace("[[expect]]", &format!("{credential}\n{place}\n[[expect]]"));
        let text = text.replace("\"rules\"", &format!("\"{name}\""));
        fs::write(directory.path().join(format!("{name}.toml")), text).expect("written");
    }
    let ended = ctl(&directory, &["policy", "diff", "header.toml", "query.toml"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("Gets other credentials, or"), "{}", ended.stdout);
    assert!(ended.stdout.contains("with key (query = \"key\")\n"), "{}", ended.stdout);
    let ended = ctl(&directory, &["policy", "diff", "header.toml", "query.toml", "--json"]);
    assert_eq!(ended.json()["requests"][0]["uses"]["new"][0], "key (query = \"key\")");
}

#[test]
fn a_log_is_replayed_and_learnt_from() {
    let line = |kind: &str, rest: &str| {
        format!(
            "{{\"seq\":1,\"kind\":\"{kind}\",\"session\":\"s-1\",\"verdict\":\"deny\",\
             \"reason\":\"host_not_allowed\",\"host\":\"api.test\",{rest}}}\n"
        )
    };
    let request =
        "\"port\":443,\"protocol\":\"https\",\"method\":\"GET\",\"path\":\"/v1/items?x=1\"";
    let log = line("egress", request) + &line("dns", "\"port\":53") + "{\"kind\":\"start\"}\n";
    let directory = with_files(&[("rules.toml", RULES), ("log", &log), ("no-log", "text\n")]);
    let ended = ctl(&directory, &["policy", "replay", "rules.toml", "log", "--json"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let answer = ended.json();
    assert_eq!(
        (&answer["replayed"], &answer["changes"][0]["sessions"][0]),
        (&2.into(), &"s-1".into())
    );
    let ended = ctl(&directory, &["policy", "learn", "default", "log"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    fs::write(directory.path().join("learnt.toml"), &ended.stdout).expect("written");
    let ended =
        ctl(&directory, &["policy", "explain", "learnt.toml", "GET https://api.test/v1/items"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stdout);
    let ended =
        ctl(&directory, &["policy", "explain", "learnt.toml", "GET https://api.test/v1/other"]);
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    assert_eq!(ctl(&directory, &["policy", "replay", "default", "no-log"]).status, Some(2));
}

#[test]
fn what_a_person_has_answered_changes_nothing_and_what_one_denied_is_not_learnt() {
    let line = |verdict: &str, reason: &str, path: &str| {
        format!(
            "{{\"seq\":1,\"kind\":\"egress\",\"session\":\"s-1\",\"verdict\":\"{verdict}\",\"reason\":\"{reason}\",\
             \"host\":\"api.test\",\"port\":443,\"protocol\":\"https\",\"method\":\"POST\",\
             \"path\":\"{path}\",\"body\":3}}\n"
        )
    };
    let log = line("ask", "approval_needed", "/v1/a")
        + &line("allow", "approved", "/v1/a")
        + &line("allow", "ended", "/v1/a")
        + &line("ask", "approval_needed", "/v1/b")
        + &line("deny", "approval_denied", "/v1/b");
    let directory = with_files(&[("log", &log)]);
    let asks = "[[egress]]\nname = \"all\"\nhosts = [\"api.test\"]\nmethods = [\"POST\"]\nverdict = \"ask\"\n";
    let text = stand_alone(&directory, "asks") + asks;
    fs::write(directory.path().join("asks.toml"), text).expect("written");
    let ended = ctl(&directory, &["policy", "replay", "asks.toml", "log", "--json"]);
    assert_eq!(ended.status, Some(0), "{} {}", ended.stdout, ended.stderr);
    assert_eq!(ended.json()["replayed"], 3);
    let ended = ctl(&directory, &["policy", "learn", "default", "log", "--json"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let learnt = ended.json();
    assert_eq!(
        (&learnt["rules"], &learnt["left_out"][0]["why"]),
        (&0.into(), &"a person has denied it".into())
    );
}

#[test]
fn warnings_are_told_and_can_be_made_to_fail() {
    let broad = "name = \"default\"\n[[egress]]\nname = \"all\"\nhosts = [\"**\"]\n";
    let directory = with_files(&[]);
    let base = stand_alone(&directory, "default");
    let text = base + broad.trim_start_matches("name = \"default\"\n");
    fs::write(directory.path().join("default.toml"), text).expect("written");
    let ended = ctl(&directory, &["policy", "check", "default.toml"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("warning: this rule is about every host"), "{}", ended.stderr);
    let ended = ctl(&directory, &["policy", "check", "default.toml", "--deny-warnings", "--json"]);
    assert_eq!(
        (ended.status, &ended.json()["diagnostics"][0]["severity"]),
        (Some(1), &"warning".into())
    );
}

#[test]
fn clients_answers_fill_in_the_hosts_of_rules() {
    let packages = "name = \"packages\"\nextends = \"default\"\n[[egress]]\nname = \"pip\"\nhosts = { from = \"pip\" }\n";
    let clients = "pip = [\"https://index.test\", \"http://mirror.test:8080\"]\n";
    let directory = with_files(&[("packages.toml", packages), ("clients.toml", clients)]);
    let base = stand_alone(&directory, "default");
    fs::write(directory.path().join("default.toml"), base).expect("written");
    let request = "GET http://mirror.test:8080/simple/";
    let arguments = ["policy", "explain", "packages", request, "--directory", "."];
    assert_eq!(ctl(&directory, &arguments).status, Some(0));
    fs::write(directory.path().join("clients.toml"), "pip = [\"mirror.test\"]\n").expect("written");
    let ended = ctl(&directory, &arguments);
    assert_eq!(ended.status, Some(2));
    assert!(ended.stderr.contains("clients.toml:1:8"), "{}", ended.stderr);
}

#[test]
fn the_schema_is_json_and_knows_every_section() {
    let directory = with_files(&[]);
    let schema = ctl(&directory, &["policy", "schema", "--json"]).json();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for section in ["limits", "egress", "credential", "budgets", "expect"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
    let floor = ctl(&directory, &["policy", "schema", "--floor", "--json"]).json();
    assert!(floor["properties"]["addresses"].is_object());
}

#[test]
fn the_tree_that_is_looked_at_runs_nothing_and_names_no_host() {
    let directory = with_files(&[
        ("re.py", "open('ran', 'w')\n"),
        ("json.py", "open('ran', 'w')\n"),
        (".npmrc", "registry=https://evil.test/\n"),
        ("pip.conf", "[global]\nindex-url = https://evil.test/simple\n"),
    ]);
    fs::create_dir(directory.path().join("pip")).expect("made");
    for name in ["__init__.py", "__main__.py"] {
        fs::write(directory.path().join("pip").join(name), "open('ran', 'w')\n").expect("written");
    }
    let ended = ctl(&directory, &["policy", "hosts"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("evil.test"), "{}", ended.stdout);
    assert!(!directory.path().join("ran").exists(), "a module of the tree has run");
}
