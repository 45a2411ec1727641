//! Three uids, one of them abusive: each has what is its own, and none waits because of another for
//! longer than a turn.

use std::time::{Duration, Instant};

use supervisor_api::{ErrorCode, LimitsRequest, Outcome, State, SubmitRequest};
use supervisor_tests::{AGENT, OTHER_AGENT, Settings, World, bash};

const MIB: u64 = 1 << 20;

/// An account of the third caller.
const THIRD_AGENT: u32 = OTHER_AGENT + 1;

fn with_memory(request: SubmitRequest, bytes: u64) -> SubmitRequest {
    let limits = LimitsRequest { memory_max: Some(bytes), ..request.limits };
    SubmitRequest { limits, ..request }
}

#[test]
fn an_abusive_uid_is_refused_and_queued_and_two_others_go_on_as_if_it_were_not_there() {
    let settings = Settings {
        running: 4,
        running_per_uid: 3,
        waiting_per_uid: 20,
        memory_per_uid: 256 * MIB,
        ..Settings::default()
    };
    let world = World::with(settings);
    let abuser = world.agent(AGENT);
    let error = abuser.submit(&with_memory(bash("true"), 257 * MIB)).expect_err("never fits");
    assert_eq!(error.code, ErrorCode::PolicyDenied);
    assert_eq!(error.field.as_deref(), Some("limits.memory_max"));
    assert!(error.hint.is_some());

    let endless = with_memory(bash("sleep 300"), 128 * MIB);
    let mut flood = Vec::new();
    let refused = loop {
        match abuser.submit(&endless) {
            Ok(execution) => flood.push(execution.id),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code, ErrorCode::Busy);
    assert!(refused.hint.is_some());
    assert_eq!(flood.len(), 22, "two run, for more memory there is not; twenty wait");
    let last = abuser.status(flood[21], 0).expect("ours");
    assert_eq!((last.state, last.queue_position), (State::Queued, Some(20)));

    for _ in 0..5 {
        for uid in [OTHER_AGENT, THIRD_AGENT] {
            let begin = Instant::now();
            let ended = world.agent(uid).run(&with_memory(bash("echo mine"), 128 * MIB));
            ended.expect(&Outcome::Exited { code: 0 });
            assert_eq!(ended.execution.queue_position, None);
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        }
    }
    let running =
        flood.iter().filter(|id| abuser.status(**id, 0).expect("ours").state == State::Running);
    assert_eq!(running.count(), 2);
    for id in flood.iter().rev() {
        abuser.cancel(*id).expect("ours");
    }
}
