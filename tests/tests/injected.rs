//! FT-03, in the manner in which SQLite is tested: of all system calls that make a sandbox the first fails, then the
//! second, and so on to the last. Nothing runs with less around it than without, what fails is told, and nothing stays.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, and so does what it stands on"
)]
#![cfg(target_arch = "x86_64")]

#[path = "injected/tracer.rs"]
mod tracer;

use std::collections::BTreeMap;

use supervisor_api::{LimitsRequest, Outcome, SubmitRequest};
use supervisor_tests::{AGENT, Settings, World, bash};
use tracer::Tracer;

/// What a payload sees of what is around it.
const POSTURE: &str = "
grep -E '^(Uid|Gid|Groups|NoNewPrivs|Seccomp|Cap)' /proc/self/status
cut -d' ' -f5,6 /proc/self/mountinfo
cat /proc/self/limits /proc/self/oom_score_adj /proc/sys/user/max_user_namespaces /proc/net/dev
hostname; umask; pwd; env | sort; ls -l /proc/self/fd | wc -l; ls /dev /
touch /usr/new /etc/new /dev/new; unshare -U true; mount -t tmpfs none /tmp; kill -0 1; cat /proc/1/environ
exit 0
";

fn look() -> SubmitRequest {
    let limits = LimitsRequest { wall_time: Some(60_000), ..LimitsRequest::default() };
    SubmitRequest { limits, ..bash(&format!("exec 2>&1; {POSTURE}")) }
}

/// That, and how many filters there are: where a bound can't be set another filter stands in for it.
fn around(told: &str) -> (String, u32) {
    let (name, mut filters) = ("Seccomp_filters:", 0);
    let rest = told.lines().filter(|line| {
        let number = line.strip_prefix(name).and_then(|number| number.trim().parse().ok());
        filters += number.unwrap_or(0);
        number.is_none()
    });
    (rest.collect::<Vec<_>>().join("\n"), filters)
}

fn is_without_seed(outcome: Option<&Outcome>) -> bool {
    matches!(outcome, Some(Outcome::SetupFailed { step, reason }) if step == "clone" && reason.starts_with("EPIPE"))
}

#[test]
fn every_system_call_of_the_set_up_fails_once_and_nothing_runs_with_less_around_it() {
    let mut world = World::with(Settings::default());
    let agent = world.agent(AGENT);
    let right = agent.run(&look());
    right.expect_exit(0);
    let (right, most) = around(&right.stdout);
    let tracer = Tracer::start(world.launcher_pid(), world.seed());
    assert_eq!(around(&agent.run(&look()).stdout).0, right, "nor less while somebody watches");
    let (mut ended, mut number, mut without) = (BTreeMap::<String, u32>::new(), 0, 0);
    let mut misses = false;
    while without < 3 {
        tracer.fail(number);
        let run = agent.run(&look());
        let Some(call) = tracer.failed() else {
            // A seed that the call before was the end of is missed by the next launch, which has another one made.
            if misses && is_without_seed(run.execution.outcome.as_ref()) {
                misses = false;
                continue;
            }
            run.expect_exit(0);
            without += 1;
            number += 1;
            continue;
        };
        (without, misses) = (0, true);
        let what = match &run.execution.outcome {
            Some(Outcome::Exited { code: 0 }) => {
                let (seen, filters) = around(&run.stdout);
                assert_eq!(seen, right, "without call {number} ({call})");
                assert!(filters >= most, "without call {number} ({call}): {filters} filters");
                format!("call {call} is not missed")
            }
            Some(Outcome::SetupFailed { step, .. }) => {
                assert_eq!(run.stdout, "", "without call {number} ({call}): {run:?}");
                format!("{step} failed")
            }
            Some(Outcome::Lost { reason }) => {
                assert_eq!(run.stdout, "", "without call {number} ({call}): {run:?}");
                assert!(!reason.contains("launcher"), "without call {number} ({call}): {reason}");
                format!("lost: {reason}")
            }
            other => panic!("without call {number} ({call}): {other:?}"),
        };
        *ended.entry(what).or_default() += 1;
        number += 1;
    }
    eprintln!("{number} calls: {ended:#?}");
    assert!(number > 200 && ended.len() > 20, "{number} calls: {ended:?}");
    tracer.end(|| assert_eq!(around(&agent.run(&look()).stdout).0, right));
    // A copy of which its seed could not tell any more ends by itself, and is the launcher's to be waited for.
    world.daemon().end();
    world.launcher().end();
    world.start_launcher();
    world.start_daemon();
    assert_eq!(around(&agent.run(&look()).stdout).0, right);
}
