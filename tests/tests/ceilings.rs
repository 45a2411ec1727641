//! Three uids, one of them abusive: each has what is its own, and none waits because of another for
//! longer than a turn.

#![allow(clippy::expect_used, reason = "a test that panics is a test that fails")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use supervisor_api::{
    ErrorCode, LimitsRequest, Outcome, Session, State, SubmitRequest, TerminalSize,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Settings, World, argv, bash, python, until_true,
};

const MIB: u64 = 1 << 20;

/// Connections on which one uid asks for workspaces; it may have 32 sessions.
const CROWD: usize = 24;

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
            let agent = world.agent(uid);
            let submitted = agent.submit(&with_memory(bash("echo mine"), 128 * MIB));
            let submitted = submitted.expect("there is room");
            assert_eq!(submitted.queue_position, None, "it waits behind the flood");
            agent.ended(submitted.id).expect(&Outcome::Exited { code: 0 });
        }
    }
    let running =
        flood.iter().filter(|id| abuser.status(**id, 0).expect("ours").state == State::Running);
    assert_eq!(running.count(), 2);
    for id in flood.iter().rev() {
        abuser.cancel(*id).expect("ours");
    }
}

/// The least that is accepted is the least that works.
#[test]
fn what_nothing_could_run_under_is_refused_and_what_is_accepted_runs() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let plain = LimitsRequest::default();
    for (name, limits, least) in [
        ("open_files", LimitsRequest { open_files: Some(15), ..plain }, "16 at the least"),
        ("memory_max", LimitsRequest { memory_max: Some(MIB - 1), ..plain }, "1 MiB at the least"),
    ] {
        let refused = agent.submit(&SubmitRequest { limits, ..bash("true") });
        let refused = refused.expect_err("nothing could run");
        assert_eq!(refused.code, ErrorCode::InvalidArgument, "{name}");
        assert_eq!(refused.field, Some(format!("limits.{name}")));
        assert!(refused.hint.is_some_and(|hint| hint.contains(least)), "{name}");
    }
    // Where the kernel's controller of processes is there, one that starts no other runs.
    let alone = LimitsRequest { pids_max: Some(1), ..plain };
    match agent.run(&SubmitRequest { limits: alone, ..argv(&["true"]) }).execution.outcome {
        Some(Outcome::SetupFailed { step, reason }) => {
            assert!(
                step == "fork" && reason.contains("pids_max") && reason.contains("2 is the least")
            );
        }
        other => assert_eq!(other, Some(Outcome::Exited { code: 0 })),
    }
    let least = LimitsRequest { pids_max: Some(2), open_files: Some(16), ..plain };
    let terminal = Some(TerminalSize { rows: 24, columns: 80 });
    for request in [argv(&["true"]), bash("true"), python("print(1)")] {
        let request = SubmitRequest { limits: least, ..request };
        agent.run(&request).expect_exit(0);
        let on_terminal = SubmitRequest { terminal, ..request };
        agent.run(&on_terminal).expect_exit(0);
    }
}

/// Makes and closes sessions: a file system is made for each, and taken apart. None has the size of another, whose
/// formatted image would be copied: formatting takes the launcher longer than an execution does.
fn make_and_close(agent: &Client, answered: &AtomicUsize, over: &AtomicBool) {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    while !over.load(Ordering::Relaxed) {
        let bytes = (4 << 20) + 4096 * MADE.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"workspace_bytes":{bytes},"workspace_inodes":1000}}"#);
        let made = agent.call("POST", "/v1/sessions", Some(body.as_bytes())).expect("an answer");
        assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
        answered.fetch_add(1, Ordering::Relaxed);
        let session = serde_json::from_slice::<Session>(&made.body).expect("a session").id;
        let closed = agent.call("DELETE", &format!("/v1/sessions/{session}"), None);
        assert!(closed.expect("an answer").status < 300);
        answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// IS-06. The launcher does one thing after the other, and a file system takes it long. What one uid asks for waits in
/// the daemon: counted is what the launcher did for it while another's execution was made, ran and was removed.
#[test]
fn an_execution_waits_for_few_of_the_workspaces_that_another_uid_has_made_and_removed() {
    let world = World::alone();
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let least = thread::scope(|scope| {
        for _ in 0..CROWD {
            let (agent, answered, over) = (world.agent(AGENT), &answered, &over);
            scope.spawn(move || {
                let _ends = Ends(over);
                make_and_close(&agent, answered, over);
            });
        }
        let _ends = Ends(&over); // also where this one fails
        until_true("all of them are at it", || {
            over.load(Ordering::Relaxed) || answered.load(Ordering::Relaxed) >= CROWD
        });
        let other = world.agent(OTHER_AGENT);
        let between = (0..10).map(|_| {
            let before = answered.load(Ordering::Relaxed);
            other.run(&argv(&["true"])).expect_exit(0);
            answered.load(Ordering::Relaxed) - before
        });
        // It waits twice, for one each time; what it does besides takes its time as well. In the order of calls it
        // would wait twice for all of them, each time.
        between.take_while(|_| !over.load(Ordering::Relaxed)).min()
    });
    assert!(least.is_some_and(|least| least < CROWD / 2), "{least:?} of {CROWD}");
}

/// Has the others stop.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
