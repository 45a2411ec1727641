//! A launcher that stands still: whoever waits for it is told, and what was begun is done when it goes on.

use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_api::{ApiError, ErrorCode, Outcome};
use supervisor_tests::{AGENT, Reply, World, bash, until_true};

/// Stands still until this is dropped.
pub struct Stopped(Pid);

impl Stopped {
    pub fn process(pid: u32) -> Self {
        let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
        kill(pid, Signal::SIGSTOP).expect("root may");
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        kill(self.0, Signal::SIGCONT).expect("root may");
    }
}

/// All of these at once, for each of them waits as long as a launcher may be silent.
#[test]
fn who_waits_for_a_launcher_that_stands_still_is_told_and_what_was_begun_is_done_when_it_goes_on() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let call = |method: &str, target: &str, body: Option<&[u8]>| -> Reply {
        agent.call(method, target, body).expect("an answer")
    };
    let [kept, closed] = [(); 2].map(|()| {
        let made = call("POST", "/v1/sessions", Some(b"{}")).json();
        format!("/v1/sessions/{}", made["id"].as_str().expect("an id"))
    });
    let running = agent.start(&bash("echo up; exec sleep 600"));
    agent.wait_for_words(running, "up");
    let (tree, cancel) = (format!("{kept}/tree"), format!("/v1/executions/{running}/cancel"));
    let asked: [(&str, &str, Option<&[u8]>, &str); 5] = [
        ("GET", &kept, None, "the workspace can't be reached"),
        ("GET", &tree, None, "the workspace can't be reached"),
        ("POST", &cancel, None, "the execution is cancelled, and ends"),
        ("DELETE", &closed, None, "the session is being closed"),
        ("POST", "/v1/sessions", Some(b"{}"), "no workspace is made"),
    ];
    let stopped = Stopped::process(world.launcher_pid());
    let told: Vec<ApiError> = thread::scope(|scope| {
        let call = &call;
        let waits = asked.map(|(method, target, body, _)| {
            scope.spawn(move || call(method, target, body).problem())
        });
        waits.into_iter().map(|waits| waits.join().expect("it is answered")).collect()
    });
    for (told, (method, target, _, so)) in told.iter().zip(asked) {
        assert_eq!(told.code, ErrorCode::Unavailable, "{method} {target}: {told}");
        assert!(told.detail.contains("answered nothing for 30 s"), "{method} {target}: {told}");
        assert!(told.detail.contains(so), "{method} {target}: {told}");
        let hint = told.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("systemctl kill --signal=SIGCONT supervisor-launcher"), "{hint}");
    }
    drop(stopped);
    assert_eq!(agent.finished(running).outcome, Some(Outcome::Cancelled));
    assert_eq!(call("GET", &tree, None).status, 200);
    until_true("one session is left", || {
        let all = call("GET", "/v1/sessions", None).json();
        all["sessions"].as_array().is_some_and(|all| all.len() == 1)
    });
    until_true("its workspace is the only one", || world.kept_workspaces().len() == 1);
}
