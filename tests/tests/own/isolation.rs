//! Callers kept apart where they share the one place there is, come in crowds, or are administrators.

use std::collections::HashMap;

use supervisor_api::{ErrorCode, ExecutionId, LimitsRequest, State, SubmitRequest};
use supervisor_tests::{AGENT, OTHER_AGENT, Settings, World, argv, attack, bash};

/// IS-04. The one range of host ids goes from tenant to tenant.
#[test]
fn nothing_is_left_over_for_the_next_one() {
    let world = World::with(Settings { running: 1, ..Settings::default() });
    let limits = LimitsRequest {
        workspace_bytes: Some(32 << 20),
        tmp_bytes: Some(16 << 20),
        ..LimitsRequest::default()
    };
    let first = SubmitRequest { limits, ..attack(include_str!("../payloads/tenant.py")) };
    let first = world.agent(AGENT).run(&first);
    first.expect_exit(0);
    assert_eq!(first.execution.usage.workspace_bytes, Some(32 << 20));
    let next = SubmitRequest { limits, ..attack(include_str!("../payloads/next_tenant.py")) };
    let next = world.agent(OTHER_AGENT).run(&next);
    next.expect_exit(0);
    assert_eq!(next.stdout, "FILE /workspace/main.py\nlooked\n");
}

/// RS-17. What one says is never another's, however many there are at once.
#[test]
fn two_hundred_submissions_of_four_callers_each_run_once_and_say_their_own_word() {
    let world = World::with(Settings { running: 8, ..Settings::default() });
    let submit = &|uid: u32| {
        let client = world.agent(uid);
        (0..50)
            .map(|number| {
                let word = format!("{uid}-{number}");
                (client.start(&argv(&["echo", &word])), word)
            })
            .collect::<Vec<_>>()
    };
    let each = std::thread::scope(|scope| {
        let threads: Vec<_> = (2001..2005).map(|uid| scope.spawn(move || submit(uid))).collect();
        threads.into_iter().map(|thread| thread.join().expect("done")).collect::<Vec<_>>()
    });
    let mut words: HashMap<ExecutionId, String> = HashMap::new();
    for (uid, submitted) in (2001..).zip(each) {
        for (id, word) in submitted {
            let ended = world.agent(uid).ended(id);
            ended.expect_exit(0);
            assert_eq!(ended.stdout, format!("{word}\n"));
            assert!(words.insert(id, word).is_none());
        }
    }
    assert_eq!(words.len(), 200);
}

#[test]
fn lists_are_paged_filtered_and_each_callers_own() {
    let world = World::with(Settings { admins: vec![3001], ..Settings::default() });
    let agent = world.agent(AGENT);
    let ids: Vec<_> = (0..7).map(|_| agent.start(&argv(&["true"]))).collect();
    let other = world.agent(OTHER_AGENT).start(&bash("echo up; exec sleep 300"));
    world.agent(OTHER_AGENT).wait_for_words(other, "up");
    for id in &ids {
        agent.finished(*id);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = agent.list(&format!("limit=3{after}")).expect("it may");
        assert!(page.executions.len() <= 3);
        seen.extend(page.executions.iter().map(|each| each.id));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert!(seen.iter().rev().eq(&ids), "newest first, each once");
    assert!(agent.list("state=running").expect("it may").executions.is_empty());
    assert_eq!(agent.list("all=true").expect_err("no").code, ErrorCode::PermissionDenied);
    let all = world.agent(3001).list("all=true&state=running").expect("an administrator may");
    assert_eq!(all.executions.iter().map(|each| each.id).collect::<Vec<_>>(), [other]);
    let ended = world.agent(3001).cancel(other).expect("an administrator may");
    assert_eq!((ended.state, ended.owner_uid), (State::Finished, OTHER_AGENT));
    for query in [
        "limit=0",
        "limit=201",
        "limit=x",
        "state=gone",
        "after=1",
        "colour=red",
        "limit=1&limit=2",
    ] {
        assert_eq!(agent.list(query).expect_err(query).code, ErrorCode::InvalidArgument);
    }
}
