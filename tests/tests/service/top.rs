//! What runs, as its owner sees it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use supervisor_api::{State, Top, TopLine};
use supervisor_tests::{AGENT, Client, World, assert_described, python, until};

fn top(client: &Client) -> Top {
    let reply = client.call("GET", "/v1/top", None).expect("the daemon answers");
    assert_described("top", reply.status, reply.field("content-type"), &reply.body);
    serde_json::from_slice(&reply.body).expect("what is described")
}

#[test]
fn top_tells_what_a_busy_and_a_large_payload_use_just_now() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let busy = agent.start(&python("print('up', flush=True)\nwhile True: pass"));
    let large = "import time\nheld = b'x' * (64 << 20)\nprint('up', flush=True)\ntime.sleep(300)";
    let large = agent.start(&python(large));
    for id in [busy, large] {
        agent.wait_for_words(id, "up");
    }
    let find = |top: &Top, id| -> Option<TopLine> {
        top.executions.iter().find(|line| line.id == id).cloned()
    };
    let first = find(&top(&agent), busy).expect("it runs");
    assert_eq!(
        (first.owner_uid, first.state, first.policy.as_str()),
        (agent.uid(), State::Running, "default")
    );
    let second = until("it has used CPU", || {
        let line = find(&top(&agent), busy)?;
        (line.cpu_us? > first.cpu_us? + 100_000).then_some(line)
    });
    let (used, passed) =
        (second.cpu_us.unwrap() - first.cpu_us.unwrap(), second.read_at_us - first.read_at_us);
    assert!(used <= passed + passed / 2 + 100_000, "{used} of {passed} on one thread");
    let line = find(&top(&agent), large).expect("it runs");
    let memory = line.memory.expect("told one way or another");
    assert!((64 << 20..256 << 20).contains(&memory), "{memory}");
    assert!(line.pids.expect("told") >= 1 && line.output_bytes == 3, "{line:?}");
    for id in [busy, large] {
        agent.cancel(id).expect("it is ours");
    }
    assert_eq!(top(&agent).executions, []);
}
