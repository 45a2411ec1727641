//! Sandboxes that are parked ahead: a program that finds one behaves as if it had found none, and nobody
//! finds one that is not for it.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

#[path = "warm/sessions.rs"]
mod sessions;
#[path = "warm/way_out.rs"]
mod way_out;

use std::collections::BTreeMap;

use supervisor_api::{
    Content, Envelope, InputFile, LimitsRequest, Outcome, StartKind, SubmitRequest, TerminalSize,
    Top, UniqueMap,
};
use supervisor_tests::{
    AGENT, Client, Ended, OTHER_AGENT, Settings, World, bash, children, command_line,
    is_sandbox_id, owner_uid, python, until_true,
};

const MIB: u64 = 1 << 20;

fn world(warm: &str) -> World {
    World::with(Settings { tables: format!("[warm]\n{warm}\n"), ..Settings::default() })
}

fn parked(client: &Client) -> (u64, u64) {
    let reply = client.call("GET", "/v1/top", None).expect("an answer");
    let top: Top = serde_json::from_slice(&reply.body).expect("what runs");
    (top.parked, top.parked_memory)
}

/// Submits until something is parked for the next one.
fn warm_up(agent: &Client, request: &SubmitRequest) {
    agent.run(request);
    until_parked(agent, request, 1);
}

fn until_parked(agent: &Client, request: &SubmitRequest, count: u64) {
    agent.run(request);
    until_true("something is parked", || parked(agent).0 >= count);
}

fn start_of(ended: &Ended) -> StartKind {
    ended.execution.start.expect("it had a sandbox")
}

fn with_variable(request: &SubmitRequest, name: &str, value: &str) -> SubmitRequest {
    let mut env = request.env.0.clone();
    env.insert(name.to_owned(), value.to_owned());
    SubmitRequest { env: UniqueMap(env), ..request.clone() }
}

/// What it does is the same, and yet it acts when an interpreter starts.
fn cold(request: &SubmitRequest) -> SubmitRequest {
    with_variable(request, "LANG", "C.UTF-8")
}

fn file(path: &str, text: &str) -> InputFile {
    let content = Content(text.as_bytes().to_vec());
    InputFile { path: path.to_owned(), content, executable: false }
}

/// Programs, separated by lines that start with `#---` and end with a name.
fn programs() -> Vec<(&'static str, &'static str)> {
    let text = include_str!("warm/programs.py");
    let parts = text.split("#--- ").skip(1);
    parts.map(|part| part.split_once('\n').expect("a name and a program")).collect()
}

#[test]
fn a_program_behaves_as_it_does_in_a_sandbox_that_is_made_for_it() {
    let world = world("parked = 8\nparked_per_uid = 8");
    let agent = world.agent(AGENT);
    warm_up(&agent, &python("print(1)"));
    compare(&agent, &SubmitRequest::default(), &programs());
}

/// Runs programs warm and cold, in the same session and under the same policy, and finds no difference.
#[track_caller]
fn compare(agent: &Client, place: &SubmitRequest, programs: &[(&str, &str)]) {
    let mut wrong = Vec::new();
    for (name, program) in programs {
        let SubmitRequest { session, policy, .. } = place.clone();
        let mut request = SubmitRequest { session, policy, ..python(program) };
        request.args = vec!["one".to_owned(), "zwei \u{fc}".to_owned(), String::new()];
        request.stdin = Some(Content(b"first\nsecond".to_vec()));
        request.env = UniqueMap(BTreeMap::from([("ORDER".to_owned(), "a b".to_owned())]));
        request.files = vec![file("beside.py", "value = 7\n"), file("data/in.txt", "in")];
        if *name == "stand-in" {
            request.files.push(file("json.py", "dumps = lambda what: 'stand-in'\n"));
        }
        until_true("something is parked", || parked(agent).0 > 0);
        let (warm, cold) = (agent.run(&request), agent.run(&cold(&request)));
        assert_eq!(
            (start_of(&warm), start_of(&cold)),
            (StartKind::Warm, StartKind::Cold),
            "{name}"
        );
        let seen = |ended: &Ended| {
            (ended.execution.outcome.clone(), ended.stdout.clone(), ended.stderr.clone())
        };
        if seen(&warm) != seen(&cold) {
            wrong.push(format!("{name}:\nwarm {:#?}\ncold {:#?}", seen(&warm), seen(&cold)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What only the interpreter holds, under a name that it never clears, shows whether it takes itself apart.
#[test]
fn an_interpreter_that_has_let_go_of_a_program_ends_at_once_where_it_is_known_how_it_ended() {
    let source = "\
import os, sys

class Last:
    def __del__(self, write=os.write):
        write(1, b'apart')

vars(sys)['__builtins__'] = Last()
print((3, 10) <= sys.version_info < (3, 13))
";
    let world = world("");
    let agent = world.agent(AGENT);
    warm_up(&agent, &python(source));
    let (warm, cold) = (agent.run(&python(source)), agent.run(&cold(&python(source))));
    assert_eq!((start_of(&warm), start_of(&cold)), (StartKind::Warm, StartKind::Cold));
    assert!(cold.stdout.ends_with("\napart"), "{}", cold.stdout);
    let is_known = warm.stdout.starts_with("True");
    assert!(!is_known || warm.stdout == "True\n", "{}", warm.stdout);
}

#[test]
fn what_is_claimed_counts_once_and_waits_for_no_room_of_its_own() {
    let tables = "[warm]\n".to_owned();
    let memory_per_uid = 384 * MIB; // of one, and half of another
    let world = World::with(Settings { memory_per_uid, tables, ..Settings::default() });
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { memory_max: Some(256 * MIB), ..LimitsRequest::default() };
    let request = |source| SubmitRequest { limits, ..python(source) };
    warm_up(&agent, &request("print(1)"));
    let ended = agent.run(&request("print(2)"));
    assert_eq!((start_of(&ended), ended.stdout.as_str()), (StartKind::Warm, "2\n"));
}

#[test]
fn what_was_used_while_it_was_parked_is_not_the_program_s() {
    let world = world("");
    let agent = world.agent(AGENT);
    let request = python("import time; print(time.process_time())");
    warm_up(&agent, &request);
    let ended = agent.run(&request);
    assert_eq!(start_of(&ended), StartKind::Warm);
    let usage = ended.execution.usage;
    let of_process: f64 = ended.stdout.trim().parse().expect("seconds");
    assert!((usage.cpu_ms as f64) < of_process * 1000.0, "{usage:?} of {of_process} s");
}

#[test]
fn what_was_used_while_it_was_parked_is_known_to_the_daemon_after_this_one() {
    let mut world = world("");
    let agent = world.agent(AGENT);
    let source = "import time; print(time.process_time(), flush=True); time.sleep(600)";
    warm_up(&agent, &python("print(1)"));
    let id = agent.start(&python(source));
    agent.wait_for_words(id, "\n");
    for action in ["pause", "resume"] {
        // What it has come to is on disk before the answer.
        let target = format!("/v1/executions/{id}/{action}");
        let reply = agent.call("POST", &target, None).expect("an answer");
        assert_eq!(reply.status, 200, "{:?}", reply.problem());
    }
    world.daemon().kill();
    world.start_daemon();
    agent.cancel(id).expect("ours");
    let ended = agent.ended(id);
    assert_eq!(start_of(&ended), StartKind::Warm);
    let usage = ended.execution.usage;
    let of_process: f64 = ended.stdout.trim().parse().expect("seconds");
    assert!(usage.parked_cpu_ms > 0, "{usage:?}");
    assert!((usage.cpu_ms as f64) < of_process * 1000.0, "{usage:?} of {of_process} s");
}

#[test]
fn memory_counts_once_however_it_is_counted() {
    let world = world("");
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { memory_max: Some(128 * MIB), ..LimitsRequest::default() };
    let source = "import time\nheld = bytearray(80 << 20)\ntime.sleep(1)\nprint(len(held))";
    let request = SubmitRequest { limits, ..python(source) };
    warm_up(&agent, &request);
    let ended = agent.run(&request);
    ended.expect_exit(0);
    assert_eq!(start_of(&ended), StartKind::Warm);
    let peak = ended.execution.usage.memory_peak.expect("somebody counted");
    assert!((80 * MIB..128 * MIB).contains(&peak), "{peak}");
}

#[test]
fn a_sandbox_is_used_once() {
    let world = world("");
    let agent = world.agent(AGENT);
    let request = python("import os; print(os.path.exists('/tmp/mark')); open('/tmp/mark', 'w')");
    warm_up(&agent, &request);
    for _ in 0..4 {
        let ended = agent.run(&request);
        ended.expect_exit(0);
        assert_eq!(ended.stdout, "False\n");
        until_true("something is parked", || parked(&agent).0 > 0);
    }
}

#[test]
fn nobody_finds_what_is_parked_for_another_owner_policy_or_limits() {
    let quiet = "name = \"quiet\"\nextends = \"default\"\n";
    let policies = [("quiet.toml", quiet)].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let mut policies = policies.to_vec();
    policies
        .push(("default.toml".to_owned(), include_str!("../../policies/default.toml").to_owned()));
    let tables = "[warm]\n".to_owned();
    let world = World::with(Settings { tables, policies, ..Settings::default() });
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    warm_up(&agent, &request);
    let limits = LimitsRequest { memory_max: Some(300 * MIB), ..LimitsRequest::default() };
    let others = [
        world.agent(OTHER_AGENT).run(&request),
        agent.run(&SubmitRequest { policy: Some("quiet".to_owned()), ..request.clone() }),
        agent.run(&SubmitRequest { limits, ..request.clone() }),
        agent.run(&bash("echo 1")),
    ];
    for other in others {
        other.expect_exit(0);
        assert_eq!(start_of(&other), StartKind::Cold);
    }
    assert_eq!(parked(&world.agent(OTHER_AGENT)).0, 0, "an agent sees its own");
    assert_eq!(start_of(&agent.run(&request)), StartKind::Warm);
}

#[test]
fn streams_that_stay_open_and_terminals_are_made_when_they_are_asked_for() {
    let world = world("");
    let agent = world.agent(AGENT);
    let request = python("import sys; print(sys.stdin.isatty())");
    warm_up(&agent, &request);
    let size = TerminalSize { rows: 24, columns: 80 };
    let terminal = agent.run(&SubmitRequest { terminal: Some(size), ..request.clone() });
    let open = agent.run(&SubmitRequest { stdin_open: true, ..request.clone() });
    for ended in [&terminal, &open] {
        ended.expect_exit(0);
        assert_eq!(start_of(ended), StartKind::Cold);
    }
    assert_eq!((terminal.stdout.as_str(), open.stdout.as_str()), ("True\r\n", "False\n"));
    assert_eq!(start_of(&agent.run(&request)), StartKind::Warm);
}

#[test]
fn what_is_asked_for_next_finds_room_beside_what_was_asked_for_before() {
    let world = world("parked = 2\nparked_per_uid = 2");
    let agent = world.agent(AGENT);
    let (first, limits) =
        (python("print(1)"), LimitsRequest { pids_max: Some(32), ..LimitsRequest::default() });
    let next = SubmitRequest { limits, ..first.clone() };
    warm_up(&agent, &first);
    until_parked(&agent, &first, 2);
    until_true("the next one is parked too", || start_of(&agent.run(&next)) == StartKind::Warm);
    until_true("both are parked", || parked(&agent).0 == 2);
    assert_eq!(start_of(&agent.run(&first)), StartKind::Warm);
}

#[test]
fn a_receipt_says_how_its_execution_started() {
    let world = world("");
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    warm_up(&agent, &request);
    for (request, start) in [(request.clone(), StartKind::Warm), (cold(&request), StartKind::Cold)]
    {
        let id = agent.run(&request).execution.id;
        let path = format!("/v1/executions/{id}/receipt");
        let reply = agent.call("GET", &path, None).expect("an answer");
        let envelope: Envelope = serde_json::from_slice(&reply.body).expect("a receipt");
        let statement = envelope.look().expect("a statement");
        assert_eq!(statement.predicate.start, Some(start));
    }
}

#[test]
fn what_is_parked_goes_with_the_settings_it_was_parked_under() {
    let world = world("");
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    warm_up(&agent, &request);
    let reloaded = world.root().call("POST", "/v1/reload", None).expect("an answer");
    assert!(reloaded.status < 300, "{}", String::from_utf8_lossy(&reloaded.body));
    assert_eq!(start_of(&agent.run(&request)), StartKind::Cold);
}

#[test]
fn an_empty_pool_and_a_dead_interpreter_are_a_cold_start() {
    let mut world = world("");
    let launcher = world.launcher().pid();
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    let first = agent.run(&request);
    first.expect_exit(0);
    assert_eq!(start_of(&first), StartKind::Cold);
    until_parked(&agent, &request, 1);
    let inits = inits(launcher);
    for pid in interpreters(launcher) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL)
            .ok();
    }
    until_true("it has ended", || {
        inits.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists())
    });
    let ended = agent.run(&request);
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "1\n");
}

/// Interpreters in sandboxes of this launcher.
fn interpreters(launcher: u32) -> Vec<u32> {
    let mut found: Vec<u32> = inits(launcher).into_iter().flat_map(children).collect();
    found.retain(|pid| command_line(*pid).starts_with(b"python3"));
    found
}

/// The inits of this launcher's sandboxes.
fn inits(launcher: u32) -> Vec<u32> {
    let mut inits = children(launcher);
    inits.retain(|pid| owner_uid(*pid).is_some_and(is_sandbox_id));
    inits
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_parked() {
    let mut world = world("");
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    warm_up(&agent, &request);
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(parked(&world.root()), (0, 0));
    assert!(interpreters(world.launcher().pid()).is_empty());
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
}

#[test]
fn the_budget_bounds_what_is_parked() {
    let world = world("memory = 40000000\nparked = 8\nparked_per_uid = 8");
    let agent = world.agent(AGENT);
    let request = python("print(1)");
    for _ in 0..8 {
        agent.run(&request);
    }
    until_true("something is parked", || parked(&agent).0 > 0);
    for _ in 0..8 {
        agent.run(&request).expect_exit(0);
        let (count, memory) = parked(&world.root());
        assert!(memory <= 40_000_000 && count <= 8, "{count} with {memory} bytes");
    }
}

#[test]
fn one_that_is_cancelled_or_out_of_time_ends_as_it_should() {
    let world = world("");
    let agent = world.agent(AGENT);
    let mut request = python("import time\nprint('up')\ntime.sleep(600)");
    request.limits.wall_time = Some(1000);
    agent.run(&request);
    until_parked(&agent, &request, 1);
    let ended = agent.run(&request);
    assert_eq!(start_of(&ended), StartKind::Warm);
    ended.expect(&Outcome::TimedOut);
    request.limits.wall_time = None;
    warm_up(&agent, &python("print(1)"));
    let id = agent.start(&request);
    agent.wait_for_words(id, "up");
    agent.cancel(id).expect("ours");
    assert_eq!(agent.finished(id).outcome, Some(Outcome::Cancelled));
}
