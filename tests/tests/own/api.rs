//! The line that a caller's own flood waits in.

use supervisor_api::{ErrorCode, LimitsRequest, Outcome, SubmitRequest};
use supervisor_tests::{AGENT, OTHER_AGENT, Settings, World, argv, bash};

/// AP-07. Past its own queue a caller is told so; another caller's turn comes as if it were alone.
#[test]
fn a_flood_of_submissions_is_bounded_and_delays_nobody_else() {
    let settings =
        Settings { running: 3, running_per_uid: 2, waiting_per_uid: 40, ..Settings::default() };
    let world = World::with(settings);
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { wall_time: Some(600_000), ..LimitsRequest::default() };
    let sleeper = SubmitRequest { limits, ..bash("echo up; exec sleep 600") };
    let sleepers = [(); 2].map(|()| agent.start(&sleeper));
    for id in sleepers {
        agent.wait_for_words(id, "up");
    }
    let accepted: Vec<_> = (0..40).map(|_| agent.start(&argv(&["true"]))).collect();
    for _ in 0..20 {
        let error = agent.submit(&argv(&["true"])).expect_err("the line is full");
        assert_eq!(error.code, ErrorCode::Busy, "{error}");
    }
    for _ in 0..5 {
        world.agent(OTHER_AGENT).run(&argv(&["true"])).expect_exit(0);
    }
    let waiting = agent.list("state=queued&limit=200").expect("it may").executions;
    assert_eq!(waiting.len(), 40, "a line was jumped");
    for id in sleepers {
        agent.cancel(id).expect("it is ours");
    }
    for id in accepted {
        assert_eq!(agent.finished(id).outcome, Some(Outcome::Exited { code: 0 }));
    }
}
