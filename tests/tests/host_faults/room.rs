//! The workspaces' disk, which is the state's too as the installation makes it.

use nix::sys::statvfs::statvfs;
use supervisor_api::{ErrorCode, Session};
use supervisor_tests::{AGENT, Client, OTHER_AGENT, Reply, Settings, World, bash};

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
    let told =
        std::fs::read_to_string(world.path().join("launcher.log")).expect("it says something");
    assert!(told.contains(&format!("{} stay so", size / 8)), "{told}");

    let ended = other.run(&bash("head -c 12000000 /dev/zero"));
    ended.expect_exit(0);
    assert_eq!(ended.stdout.len(), 12_000_000);
    let target = format!("/v1/sessions/{}", session(&first).id);
    assert_eq!(agent.call("DELETE", &target, None).expect("an answer").status, 200);
    assert_eq!(open(&other, "{}").status, 201);
}
