//! Callers and their executions, kept apart from each other.

use serde_json::json;
use supervisor_api::{
    ChangesMode, ErrorCode, ExecutionId, OPERATIONS, Operation, RAW_BODY, Session, SessionId,
    SubmitRequest,
};
use supervisor_tests::{AGENT, Attempts, OTHER_AGENT, Selection, World, attack, bash, unconfined};

/// IS-01. Somebody else's execution is not there: the same words as for an id that nobody has.
#[test]
fn another_callers_executions_do_not_exist() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let mut kept = bash("echo secret; echo secret >a");
    kept.artifacts.globs = vec!["*".to_owned()];
    let finished = agent.run(&kept).execution.id;
    let running = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(running, "up");
    let nobodys: ExecutionId = "ex-aaaaaaaaaaaaaaaaaaaaaaaaab".parse().expect("an id");
    let ask = |id: &str| {
        let target = format!("/v1/executions/{id}");
        ["", "?wait=1", "/output", "/output?follow=true", "/artifacts", "/artifacts/a"]
            .map(|end| other.call("GET", &format!("{target}{end}"), None))
            .into_iter()
            .chain([other.call("POST", &format!("{target}/cancel"), None)])
            .map(|reply| {
                let reply = reply.expect("an answer");
                assert_eq!(reply.problem().code, ErrorCode::NotFound);
                String::from_utf8(reply.body).expect("JSON")
            })
            .collect::<Vec<_>>()
    };
    let expected = ask(&nobodys.to_string());
    assert_eq!(ask(&finished.to_string()), expected);
    assert_eq!(ask(&running.to_string()), expected);
    for id in ["1", "ex-1", "..%2f..", "%00", "ex-AAAAAAAAAAAAAAAAAAAAAAAAAB"] {
        assert_eq!(ask(id), expected, "{id}");
    }
    assert!(other.list("").expect("it may").executions.is_empty());
    let after = other.list(&format!("after={finished}")).expect_err("not its own");
    let unknown = other.list(&format!("after={nobodys}")).expect_err("nobody's");
    assert_eq!(after, unknown);
    assert_eq!(agent.status(running, 0).expect("it is its own").outcome, None);
    assert_eq!(agent.output(finished, Selection::Stdout, 0).expect("its own"), b"secret\n");
}

/// IS-01, of all that there is to ask: each operation whose path names an execution or a session answers who is no owner
/// of it in the words that it has for an id that nobody has, and does nothing.
#[test]
fn no_operation_tells_what_is_somebody_elses_from_what_is_not_there() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let made = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    let session: Session = serde_json::from_slice(&made.body).expect("a session");
    let target = format!("/v1/sessions/{}", session.id);
    let put = agent.call("PUT", &format!("{target}/files/a"), Some(b"secret"));
    assert!(put.expect("an answer").status < 300);
    let inside = |script: &str, changes| {
        let mut request = SubmitRequest { session: Some(session.id), changes, ..bash(script) };
        request.artifacts.globs = vec!["a".to_owned()];
        request
    };
    let held = agent.run(&inside("echo changed >a", Some(ChangesMode::Hold))).execution.id;
    let body = json!({"language": "python"}).to_string();
    let made = agent.call("POST", &format!("{target}/interpreters"), Some(body.as_bytes()));
    let interpreter = made.expect("an answer").json()["id"].as_str().expect("an id").to_owned();
    let cells = format!("{target}/interpreters/{interpreter}/cells");
    let body = json!({"source": "1", "wait": true}).to_string();
    assert!(agent.call("POST", &cells, Some(body.as_bytes())).expect("an answer").status < 300);
    let running = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(running, "up");
    let nobodys = (ExecutionId::from_bits(1), SessionId::from_bits(1));
    let answer = |operation: &Operation, id: &str| {
        let (target, body) = request(operation, id, &interpreter);
        let bytes = body.as_deref().map(str::as_bytes);
        let reply = other.call(operation.method.name(), &target, bytes).expect("an answer");
        assert_eq!(reply.problem().code, ErrorCode::NotFound, "{}: {reply:?}", operation.id);
        String::from_utf8(reply.body).expect("JSON")
    };
    let mut asked = 0;
    for operation in OPERATIONS {
        let (of_executions, of_sessions) = (
            operation.path.starts_with("/v1/executions/{id}"),
            operation.path.starts_with("/v1/sessions/{id}"),
        );
        if !(of_executions || of_sessions) {
            continue;
        }
        asked += 1;
        let ask = |execution: ExecutionId| {
            let id = if of_executions { execution.to_string() } else { session.id.to_string() };
            answer(operation, &id)
        };
        let nobodys = if of_executions { nobodys.0.to_string() } else { nobodys.1.to_string() };
        let expected = answer(operation, &nobodys);
        assert_eq!([ask(held), ask(running)], [expected.clone(), expected], "{}", operation.id);
    }
    assert!(asked > 40, "{asked}");
    let left = agent.call("GET", &format!("{target}/files/a"), None).expect("an answer");
    assert_eq!((left.status, &*left.body), (200, &b"secret"[..]));
    let changes = agent.call("GET", &format!("/v1/executions/{held}/changes"), None);
    assert_eq!(changes.expect("an answer").json()["state"], "held");
    assert_eq!(agent.status(running, 0).expect("it is its own").outcome, None);
    let body = json!({"source": "2", "wait": true}).to_string();
    assert!(agent.call("POST", &cells, Some(body.as_bytes())).expect("an answer").status < 300);
    agent.cancel(running).expect("it is its own");
    assert!(agent.call("DELETE", &target, None).expect("an answer").status < 300);
}

/// A request of an operation about this id: its target, and its body.
fn request(operation: &Operation, id: &str, interpreter: &str) -> (String, Option<String>) {
    let target = operation.path.replace("{id}", id).replace("{interpreter}", interpreter);
    let target = target.replace("{*path}", "a").replace("{number}", "1");
    let body = match operation.request {
        None => None,
        Some(RAW_BODY) => Some("x".to_owned()),
        Some("CreateInterpreter") => Some(json!({"language": "python"}).to_string()),
        Some("ExtendSession") => Some(json!({"time_to_live": 7}).to_string()),
        Some("MakeDirectory") => Some(json!({"path": "d"}).to_string()),
        Some("MoveFile") => Some(json!({"from": "a", "to": "b"}).to_string()),
        Some("RunCell") => Some(json!({"source": "1"}).to_string()),
        Some("TerminalSize") => Some(json!({"rows": 24, "columns": 80}).to_string()),
        Some(_) => Some("{}".to_owned()),
    };
    (target, body)
}

/// The image's files are the host's own, and the kernel tells a watcher of everybody's use of them. The
/// attempts outside show that it would. Changes of one's own files can be watched.
#[test]
fn nobody_can_watch_which_files_of_the_image_others_use() {
    let source = "
libc = ctypes.CDLL(None, use_errno=True)
def watch(path, mask):
    if libc.inotify_add_watch(watcher, path.encode(), mask) == -1:
        raise OSError(ctypes.get_errno(), '')
watcher = libc.inotify_init1(os.O_NONBLOCK)
for name, mask in (('open', 0x20), ('read', 1), ('close', 0x10), ('all', 0xfff)):
    for path in ('/usr/bin', '/usr/bin/true', '/etc/passwd'):
        attempt(f'{name} {path}', lambda: watch(path, mask))
attempt('change', lambda: watch('.', 0xfce))
open('made', 'x').close()
attempt('told', lambda: os.read(watcher, 4096)[16:20])
os.unlink('made')
";
    let outside = unconfined(source);
    outside.expect_allowed("open /usr/bin");
    outside.expect_allowed("all /usr/bin/true");
    let attempts = World::open().agent(AGENT).run(&attack(source)).attempts();
    for name in ["open", "read", "close", "all"] {
        attempts.expect_denied(name, &["EPERM"]);
    }
    attempts.expect_allowed("change");
    assert_eq!(attempts.expect_allowed("told"), "b'made'");
}

/// IS-02, in both directions: each looks when the other one is up and has left its marks.
#[test]
fn two_executions_at_once_see_nothing_of_each_other() {
    let world = World::open();
    let (agent, other) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let source = attack(include_str!("../payloads/see_others.py"));
    let first = agent.start(&source);
    agent.wait_for_words(first, "up\n");
    let second = other.start(&source);
    let third = agent.start(&source);
    let texts = [
        agent.wait_for_words(first, "up\n"),
        other.wait_for_words(second, "up\n"),
        agent.wait_for_words(third, "up\n"),
    ];
    for text in texts {
        assert!(text.starts_with("PIDS 1\n"), "{text}");
        let refusals = ["ENOENT", "ECONNREFUSED", "EPERM", "ENOSYS"];
        Attempts::of(&text).expect_all_denied(&refusals);
    }
}
