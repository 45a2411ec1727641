//! What executions use over time.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use supervisor_api::{ErrorCode, Sample};
use supervisor_tests::{AGENT, Account, OTHER_AGENT, World, python, until_true};

/// Takes 64 MiB, and computes for ever.
const BUSY: &str = "
taken = bytearray(b'x' * (64 << 20))
print('up', flush=True)
while True:
    pass
";

/// Samples after which an early part of them is kept on disk.
const KEPT: usize = 20;

#[test]
fn what_an_execution_used_over_time_is_kept_over_the_death_of_the_daemon() {
    let mut world = World::alone();
    let agent = world.agent(AGENT);
    let id = agent.start(&python(BUSY));
    agent.wait_for_words(id, "up");
    let seen = |least: usize| {
        until_true("it was looked at", || {
            agent.samples(id).expect("it is ours").samples.len() >= least
        });
    };
    seen(KEPT);
    let before = agent.samples(id).expect("it is ours").samples;
    world.daemon().kill();
    world.start_daemon();
    seen(KEPT);
    agent.cancel(id).expect("it is ours");
    let after = agent.samples(id).expect("it is ours").samples;
    assert_eq!(after[..10], before[..10], "{after:?}");
    assert!(after.is_sorted_by_key(|sample: &Sample| (sample.at_ms, sample.cpu_us)), "{after:?}");
    let used = after.last().expect("one").cpu_us.expect("CPU time is told everywhere");
    assert!(used > 500_000, "{after:?}");
    let most = after.iter().filter_map(|sample| sample.memory).max().expect("memory is told");
    assert!((64 << 20..256 << 20).contains(&most), "{after:?}");
    assert!(after.iter().any(|sample| sample.pids >= Some(1)), "{after:?}");
    // Whose it is, and nobody else but an administrator.
    let other = world.agent(OTHER_AGENT).samples(id).expect_err("it is another's");
    assert_eq!(other.code, ErrorCode::NotFound);
    assert_eq!(world.root().samples(id).expect("root may").samples, after);
    let account = Account::of(&world, AGENT);
    let socket = world.socket().display().to_string();
    let table = account.run(&["--socket", &socket, "status", "--samples", &id.to_string()]);
    assert!(table.code == Some(0) && table.stdout.contains("CPU %"), "{table:?}");
    assert_eq!(table.stdout.lines().count(), after.len() + 1, "{table:?}");
    let told =
        account.run(&["--socket", &socket, "--json", "status", "--samples", &id.to_string()]);
    assert_eq!(told.json()["samples"].as_array().map(Vec::len), Some(after.len()), "{told:?}");
}

#[test]
fn an_execution_that_says_nothing_has_its_samples_as_well() {
    let world = World::alone();
    let agent = world.agent(AGENT);
    let id = agent.start(&python("import time\nwhile True: time.sleep(0.01)"));
    until_true("it was looked at", || !agent.samples(id).expect("it is ours").samples.is_empty());
    agent.cancel(id).expect("it is ours");
    assert!(!agent.samples(id).expect("it is ours").samples.is_empty());
}
