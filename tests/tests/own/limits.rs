//! Workspaces on disk, and what strict mode refuses.

use supervisor_api::{
    ArtifactRequest, Content, ControlStatus, ErrorCode, InputFile, LimitsRequest, Mode, Outcome,
    SubmitRequest,
};
use supervisor_tests::{AGENT, Settings, World, bash, is_enforced};

const MIB: u64 = 1 << 20;

/// A submission with these limits.
fn limited(request: SubmitRequest, change: impl FnOnce(&mut LimitsRequest)) -> SubmitRequest {
    let mut limits = request.limits;
    change(&mut limits);
    SubmitRequest { limits, ..request }
}

/// A policy like the built-in one whose workspaces are on disk.
fn on_disk() -> Settings {
    let text = include_str!("../../../policies/default.toml");
    let policy = text.replace("workspace = \"memory\"", "workspace = \"disk\"");
    assert_ne!(policy, text);
    Settings { policies: vec![("default.toml".to_owned(), policy)], ..Settings::default() }
}

#[test]
fn a_workspace_on_disk_is_full_at_its_limit_and_does_not_count_as_memory() {
    let world = World::with(on_disk());
    let request = limited(bash("dd if=/dev/zero of=big bs=1M; stat -c %s big"), |limits| {
        limits.memory_max = Some(64 * MIB);
        limits.workspace_bytes = Some(100 * MIB);
    });
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
    assert!(ended.stderr.contains("No space left on device"), "{}", ended.stderr);
    let bytes: u64 = ended.stdout.trim().parse().expect("a number");
    assert!((99 * MIB..=100 * MIB).contains(&bytes), "{bytes}");
    let used = ended.execution.usage.workspace_bytes.expect("counted");
    assert!((bytes..=100 * MIB).contains(&used), "{used}");
    let line = ended.execution.controls.iter().find(|line| line.control == "workspace_disk");
    let by = &line.expect("a line").by;
    assert!(by == "image on a loop device" || by == "project quota", "{by}");
}

#[test]
fn a_workspace_on_disk_takes_files_gives_artifacts_and_goes_whoever_is_killed() {
    let mut world = World::with(on_disk());
    let agent = world.agent(AGENT);
    let content = Content(b"text".to_vec());
    let file = InputFile { path: "in".to_owned(), content, executable: false };
    let artifacts = ArtifactRequest { globs: vec!["out".to_owned()] };
    let request = SubmitRequest { files: vec![file], artifacts, ..bash("cat in >out; echo up") };
    let ended = agent.run(&request);
    assert_eq!(ended.stdout, "up\n");
    assert_eq!(agent.artifact(ended.execution.id, "out").expect("kept"), b"text");
    let id = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(id, "up");
    world.daemon().kill();
    world.start_daemon();
    agent.cancel(id).expect("it is ours");
    let left = std::fs::read_dir(world.path().join("workspaces")).expect("there").count();
    assert_eq!(left, 0);
}

/// Nothing is ever run with less than its policy requires, unless the mode says so.
#[test]
fn a_strict_daemon_refuses_what_this_host_cannot_hold_and_says_how_to_get_it() {
    let world = World::with(Settings { mode: Mode::Strict, ..Settings::default() });
    let agent = world.agent(AGENT);
    let doctor = agent.doctor();
    assert_eq!(doctor.mode, Mode::Strict);
    let required = ["memory_max", "pids_max", "cpu_max", "cgroup_kill"];
    let missing = doctor.controls.iter().find(|line| {
        required.contains(&line.control.as_str()) && line.status != ControlStatus::Enforced
    });
    match (agent.submit(&bash("true")), missing) {
        (Ok(execution), None) => {
            let execution = agent.finished(execution.id);
            assert_eq!(execution.outcome, Some(Outcome::Exited { code: 0 }));
            assert!(required.iter().all(|control| is_enforced(&execution, control)));
        }
        (Err(error), Some(line)) => {
            assert_eq!(error.code, ErrorCode::ControlMissing);
            assert!(error.detail.contains(&line.control), "{error}");
            assert_eq!(error.hint, line.remedy);
            assert!(agent.list("").expect("it may").executions.is_empty());
        }
        (result, line) => panic!("{result:?} with {line:?}"),
    }
}
