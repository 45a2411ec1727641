//! A state that root brought back from a backup as root's own.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use supervisor_tests::{AGENT, World, argv};

/// What the daemon can't enter or write is told by its path and with what to do, and nothing as damaged.
#[test]
fn what_belongs_to_somebody_else_in_the_state_is_told_by_its_path() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    agent.run(&argv(&["true"])).expect_exit(0);
    world.daemon().end();
    let state = fs::metadata(world.state()).expect("it is there");
    for name in ["executions", "moving", "writing", "budgets.db", "approvals.db"] {
        let path = world.state().join(name);
        let was = fs::metadata(&path).expect("it is there");
        chown(&path, Some(0), Some(0)).expect("root may");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("root may");
        assert!(!world.start_daemon_if_it_can(), "{name}");
        let words = world.daemon().words();
        let told = path.display().to_string();
        assert!(words.contains(&told) && words.contains("chown -R"), "{name}: {words}");
        chown(&path, Some(state.uid()), Some(state.gid())).expect("root may");
        let mode = fs::Permissions::from_mode(was.mode() & 0o7777);
        fs::set_permissions(&path, mode).expect("root may");
    }
    world.start_daemon();
    agent.run(&argv(&["true"])).expect_exit(0);
}
