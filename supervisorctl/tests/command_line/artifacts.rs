//! Artifacts: checked, kept beneath their directory, never in the way of what is there.

use std::fs;

use serde_json::json;
use supervisor_api::{ApiError, ErrorCode, RefusedArtifact};

use crate::fake::{Fake, ID, artifact};

#[test]
fn artifacts_are_saved_with_their_digest_checked_and_listed_in_the_summary() {
    let fake = Fake::with(|script| {
        script.artifacts =
            vec![artifact("out/a b#.png", b"picture"), artifact("report.csv", b"1,2")];
        let path = "link\n\x1b[2J".to_owned();
        script.refused = vec![RefusedArtifact { path, reason: "symbolic_link".to_owned() }];
    });
    let ended = fake.ctl(&["run", "--artifact", "**", "true"]);
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let directory = fake.directory().join(format!("artifacts-{ID}"));
    assert_eq!(fs::read(directory.join("out/a b#.png")).expect("saved"), b"picture");
    assert_eq!(fs::read(directory.join("report.csv")).expect("saved"), b"1,2");
    for words in
        ["report.csv  3 B  sha256 17f8af97", "not kept: link\u{2424}\u{241b}[2J: symbolic_link"]
    {
        assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
    }
}

#[test]
fn an_artifact_whose_bytes_are_not_the_listed_ones_does_not_stay() {
    let fake = Fake::with(|script| {
        let (mut longer, bytes) = artifact("longer", b"abc");
        longer.size = 2;
        let (mut wrong, other) = artifact("wrong", b"abc");
        wrong.sha256 = "0".repeat(64);
        script.artifacts = vec![(longer, bytes), (wrong, other), artifact("good", b"x")];
    });
    let ended = fake.ctl(&["run", "--json", "--artifacts-to", "out", "true"]);
    assert_eq!(ended.status, Some(125));
    let result = ended.json();
    assert_eq!(result["saved"][0]["path"], "good");
    assert_eq!(result["unsaved"].as_array().map(Vec::len), Some(2));
    let names: Vec<_> = fs::read_dir(fake.directory().join("out")).expect("made").collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn an_artifact_cannot_leave_its_directory_or_go_through_a_link() {
    let fake = Fake::with(|script| {
        script.artifacts =
            vec![artifact("../evil", b"x"), artifact("link/evil", b"x"), artifact("/evil", b"x")];
    });
    let out = fake.directory().join("out");
    fs::create_dir(&out).expect("made");
    std::os::unix::fs::symlink("..", out.join("link")).expect("a link");
    let ended = fake.ctl(&["artifacts", "get", &ID.to_string(), "--to", "out", "--force"]);
    assert_eq!(ended.status, Some(1));
    assert_eq!(ended.stdout.matches("not saved").count(), 3, "{}", ended.stdout);
    assert!(!fake.directory().join("evil").exists());
}

#[test]
fn an_existing_file_is_overwritten_only_with_force() {
    let fake = Fake::with(|script| script.artifacts = vec![artifact("x", b"new")]);
    let id = ID.to_string();
    let file = fake.directory().join("x");
    fs::write(&file, b"old").expect("written");
    let ended = fake.ctl(&["artifacts", "get", &id, "--to", "."]);
    assert_eq!((ended.status, fs::read(&file).expect("there")), (Some(1), b"old".to_vec()));
    let ended = fake.ctl(&["artifacts", "get", &id, "--to", ".", "--force", "--json"]);
    assert_eq!((ended.status, fs::read(&file).expect("there")), (Some(0), b"new".to_vec()));
    assert_eq!(ended.json()["saved"][0]["to"], "./x");
}

#[test]
fn only_the_named_artifacts_are_fetched_and_an_unknown_name_is_an_error() {
    let fake =
        Fake::with(|script| script.artifacts = vec![artifact("a", b"1"), artifact("b", b"2")]);
    let id = ID.to_string();
    let ended = fake.ctl(&["artifacts", "get", &id, "b", "-q"]);
    assert_eq!((ended.status, ended.stdout), (Some(0), format!("./artifacts-{id}/b\n")));
    assert!(!fake.directory().join(format!("artifacts-{id}/a")).exists());
    let ended = fake.ctl(&["artifacts", "get", &id, "c", "--to", "other"]);
    assert_eq!(ended.status, Some(1));
    assert!(!fake.directory().join("other").exists());
}

#[test]
fn a_directory_that_got_no_artifact_is_not_left_behind() {
    let fake = Fake::new();
    assert_eq!(
        fake.ctl(&["run", "--artifacts-to", "out", "--artifact", "*", "true"]).status,
        Some(0)
    );
    assert!(!fake.directory().join("out").exists());
    let ended = fake.ctl(&["run", "--artifacts-to", "no/where", "true"]);
    assert_eq!(ended.status, Some(125));
    assert_eq!(fake.requests("submit").len(), 1);
}

#[test]
fn a_refused_submission_leaves_no_directory_behind() {
    let fake = Fake::with(|script| {
        script.refusal = Some(ApiError::new(ErrorCode::StorageFull, "the disk is full"));
    });
    assert_eq!(fake.ctl(&["run", "--artifacts-to", "out", "true"]).status, Some(125));
    assert!(!fake.directory().join("out").exists());
}

#[test]
fn a_list_of_artifacts_is_a_table_or_one_object() {
    let fake = Fake::with(|script| script.artifacts = vec![artifact("a\tb", b"12")]);
    let id = ID.to_string();
    let ended = fake.ctl(&["artifacts", "list", &id]);
    assert!(
        ended.stdout.contains("a\u{2409}b") && ended.stdout.contains("2 B"),
        "{}",
        ended.stdout
    );
    let ended = fake.ctl(&["artifacts", "list", &id, "--json"]);
    assert_eq!(ended.json()["artifacts"][0]["path"], json!("a\tb"));
}
