//! The workspaces' disk, which is the state's too as the installation makes it.

use std::fs;

use nix::sys::statvfs::statvfs;
use supervisor_api::{
    ArtifactRequest, AuditRecord, ControlStatus, ErrorCode, LimitsRequest, Outcome, Session,
    SubmitRequest, What,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Reply, Settings, World, argv, bash, until_true,
};

/// Bytes of the disk.
const DISK: u64 = 900 << 20;

fn open(client: &Client, body: &str) -> Reply {
    client.call("POST", "/v1/sessions", Some(body.as_bytes())).expect("an answer")
}

fn session(reply: &Reply) -> Session {
    serde_json::from_slice(&reply.body).expect("a session")
}

/// RS-04. Workspaces that hold nothing take their room at once, and leave what everybody's records need.
#[test]
fn workspaces_leave_an_eighth_of_their_disk_to_the_records_of_all() {
    let world = World::with(Settings { shared_disk: Some(DISK), ..Settings::default() });
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let free = || {
        let disk = statvfs(&world.state()).expect("it is there");
        (disk.blocks_available() * disk.fragment_size(), disk.blocks() * disk.fragment_size())
    };
    let first = open(&agent, "{}");
    assert_eq!(first.status, 201, "{first:?}");
    let refused = loop {
        let reply = open(&agent, "{}");
        if reply.status != 201 {
            break reply.problem();
        }
    };
    assert_eq!(refused.code, ErrorCode::StorageFull, "{refused}");
    assert!(refused.detail.contains("no room for another workspace"), "{refused}");
    for megabytes in [64, 16, 4, 1] {
        let body = format!("{{\"workspace_bytes\":{}}}", megabytes << 20);
        while open(&agent, &body).status == 201 {}
    }
    let (left, size) = free();
    assert!(left >= size / 8, "{left} of {size}");
    let told = fs::read_to_string(world.path().join("launcher.log")).expect("it says something");
    assert!(told.contains(&format!("{} stay so", size / 8)), "{told}");

    let ended = other.run(&bash("head -c 12000000 /dev/zero"));
    ended.expect_exit(0);
    assert_eq!(ended.stdout.len(), 12_000_000);
    let target = format!("/v1/sessions/{}", session(&first).id);
    assert_eq!(agent.call("DELETE", &target, None).expect("an answer").status, 200);
    assert_eq!(open(&other, "{}").status, 201);
}

/// RS-04. What several owners leave, each within what may be kept of one, ends where records still have room: nothing new
/// is run, and what runs ends with its record, its output cut and its artifacts left out by name.
#[test]
fn what_is_kept_of_all_leaves_room_for_records_and_nothing_of_it_goes_for_what_is_new() {
    const LEFT: u64 = 12 << 20;
    let world = World::with(Settings { state_disk: Some(128 << 20), ..Settings::default() });
    let free = || {
        let disk = statvfs(&world.state()).expect("it is there");
        (disk.blocks_available() * disk.fragment_size(), disk.blocks() * disk.fragment_size())
    };
    let limits = || LimitsRequest { output_bytes: Some(LEFT), ..LimitsRequest::default() };
    let leaves =
        SubmitRequest { limits: limits(), ..bash(&format!("head -c {} /dev/zero", LEFT - 1)) };
    let agent = world.agent(AGENT);
    let running = agent.start(&SubmitRequest {
        limits: LimitsRequest { wall_time: Some(600_000), ..limits() },
        stdin_open: true,
        artifacts: ArtifactRequest { globs: vec!["*".to_owned()] },
        ..bash(&format!(
            "echo up; read -r; head -c {LEFT} /dev/zero >large; head -c {LEFT} /dev/zero"
        ))
    });
    agent.wait_for_words(running, "up");
    let mut kept = Vec::new();
    // Two of each are less than a quarter of the disk.
    let refused = (AGENT..AGENT + 8).flat_map(|uid| [uid, uid]).find_map(|uid| {
        let owner = world.agent(uid);
        match owner.submit(&leaves) {
            Err(refused) => Some(refused),
            Ok(submitted) => {
                let ended = owner.finished(submitted.id).outcome;
                assert_eq!(ended, Some(Outcome::Exited { code: 0 }));
                kept.push((owner, submitted.id));
                None
            }
        }
    });
    let refused = refused.expect("they leave more than there is");
    assert_eq!(refused.code, ErrorCode::StorageFull, "{refused}");
    let (left, size) = free();
    assert!(left < size / 16 && left > size / 32 - (2 << 20), "{left} of {size}");
    assert!(refused.detail.contains(&format!("leave {} to records", size / 16)), "{refused}");
    let doctor = agent.doctor();
    let line = doctor.controls.iter().find(|line| line.control == "state_room");
    assert_eq!(line.map(|line| line.status), Some(ControlStatus::Missing));
    assert!(!doctor.healthy);

    agent.send(running, 0, "go on\n").expect("it reads");
    let ended = agent.ended(running);
    ended.expect_exit(0);
    let stdout = ended.execution.output.stdout;
    assert!(stdout.cut > 0 && stdout.kept + stdout.cut == LEFT + 3, "{stdout:?}");
    assert!(ended.stdout.ends_with("bytes cut, no space left to keep them]\n"));
    let refused = agent.refused(running);
    assert_eq!(refused.get("large").map(String::as_str), Some("no_room"), "{refused:?}");
    let is_told = |record: &AuditRecord| matches!(&record.event.what, What::Limit(hit) if hit.limit == "no_room");
    until_true("the log says so", || {
        let page = world.root().audit(&format!("execution={running}"));
        page.is_ok_and(|page| page.records.iter().any(is_told))
    });
    for (owner, id) in &kept {
        let stdout = owner.finished(*id).output.stdout;
        assert_eq!(stdout.kept + stdout.cut, LEFT - 1, "{id}");
    }
    let (left, _) = free();
    assert!(left > size / 32 - (3 << 20), "{left} of {size}");

    for (owner, id) in kept.iter().take(2) {
        let removed = owner.call("DELETE", &format!("/v1/executions/{id}"), None);
        assert!(removed.expect("an answer").status < 300);
    }
    agent.run(&argv(&["true"])).expect_exit(0);
}

/// FT-04. Artifacts that the disk turns out to have no room for are left out by name, none of them stays on it, and the end
/// is recorded with what they leave. Here names run out, of which the file system tells nothing before.
#[test]
fn artifacts_that_find_no_room_leave_it_to_the_record_of_the_end() {
    let world = World::with(Settings { state_disk: Some(64 << 20), ..Settings::default() });
    let agent = world.agent(AGENT);
    let running = agent.start(&SubmitRequest {
        stdin_open: true,
        artifacts: ArtifactRequest { globs: vec!["f*".to_owned()] },
        ..bash("echo up; read -r; for i in {10..49}; do echo $i >f$i; done")
    });
    agent.wait_for_words(running, "up");
    let ballast = world.state().join("ballast");
    fs::create_dir(&ballast).expect("there are some left");
    let number = |number: u32| ballast.join(number.to_string());
    let made = (0..1 << 20).take_while(|name| fs::write(number(*name), "").is_ok()).count();
    // For the directory, some of the artifacts, and what is kept of an end until it is recorded.
    (0..8).for_each(|name| fs::remove_file(number(name)).expect("it was made"));
    assert!(made > 8);

    agent.send(running, 0, "go on\n").expect("it reads");
    let ended = agent.ended(running);
    ended.expect_exit(0);
    assert_eq!(ended.execution.artifact_count, 0);
    assert!(ended.execution.artifacts_truncated);
    let refused = agent.refused(running);
    assert_eq!(refused.len(), 40);
    assert!(refused.values().all(|reason| reason == "no_room"), "{refused:?}");
    let place = world.state().join("executions").join(running.to_string());
    let left = fs::read_dir(place.join("artifacts")).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "what is in no list stays");
    let removed = agent.call("DELETE", &format!("/v1/executions/{running}"), None);
    assert!(removed.expect("an answer").status < 300);
}
