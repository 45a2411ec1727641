//! The interface against callers that lie, flood, stall and ask for too much. The front end's own
//! tests know every case; these hold the whole daemon to the promises.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use supervisor_api::{
    Content, ErrorCode, LimitsRequest, Outcome, SubmitRequest, UniqueMap, openapi_document,
};
use supervisor_tests::{
    AGENT, Connection, OTHER_AGENT, Reply, World, argv, resident_bytes, slowness,
};

/// The most that a body may have.
const BODY: usize = 32 << 20;

fn is_refused(reply: &Reply, code: ErrorCode) -> bool {
    reply.status == code.status() && reply.problem().code == code
}

#[test]
fn the_document_that_is_served_is_the_one_the_types_make() {
    let world = World::open();
    assert_eq!(world.agent(AGENT).openapi(), openapi_document(env!("CARGO_PKG_VERSION")));
    let doctor = world.agent(AGENT).doctor();
    assert_eq!(doctor.version, env!("CARGO_PKG_VERSION"));
    assert!(doctor.controls.len() > 20, "{doctor:?}");
    for line in &doctor.controls {
        let is_explained = line.reason.is_some() && line.remedy.is_some();
        let is_enforced = line.status == supervisor_api::ControlStatus::Enforced;
        assert!(is_enforced || is_explained, "{line:?}");
    }
}

/// AP-01. Nothing that a caller sends says who it is; the kernel does.
#[test]
fn a_caller_cannot_claim_to_be_somebody_else() {
    let world = World::open();
    let agent = world.agent(OTHER_AGENT);
    for claim in ["uid", "user", "owner", "owner_uid", "peer", "auth", "id", "session"] {
        let body = json!({"argv": ["true"], claim: 0}).to_string();
        let error = agent.submit_bytes(body.as_bytes()).problem();
        assert_eq!((error.status, error.field.as_deref()), (400, Some(claim)));
    }
    let mut connection = agent.connect().expect("connected");
    let body = br#"{"argv":["true"],"wait":true}"#;
    let head = format!(
        "POST /v1/executions HTTP/1.1\r\nHost: root@localhost\r\nX-Remote-User: root\r\n\
         X-Forwarded-For: 127.0.0.1\r\nAuthorization: Basic cm9vdDo=\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    connection.send(head.as_bytes()).expect("sent");
    connection.send(body).expect("sent");
    let execution = connection.reply().expect("an answer").json();
    assert_eq!(execution["owner_uid"], agent.uid());
    assert_eq!(execution["state"], "finished");
}

/// AP-03. What is too large is refused by what it says of itself, before it is read.
#[test]
fn bodies_are_bounded_before_they_are_read() {
    let world = World::alone();
    let agent = world.agent(AGENT);
    let before = resident_bytes(world.daemon_pid());
    let send = |head: &str| {
        let mut connection = agent.connect().expect("connected");
        let head = format!("POST /v1/executions HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
        connection.send(head.as_bytes()).expect("sent");
        connection
    };
    for (length, code) in [
        ("Content-Length: 1099511627776", ErrorCode::TooLarge),
        ("Content-Length: 33554433", ErrorCode::TooLarge),
        ("Content-Length: -1", ErrorCode::InvalidArgument),
        ("Content-Length: 5\r\nContent-Length: 6", ErrorCode::InvalidArgument),
        ("Transfer-Encoding: chunked", ErrorCode::LengthRequired),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", ErrorCode::LengthRequired),
    ] {
        let json = format!("Content-Type: application/json\r\n{length}");
        let reply = send(&json).reply().expect(length);
        let expected = [code, ErrorCode::InvalidArgument];
        assert!(expected.iter().any(|code| is_refused(&reply, *code)), "{length}: {reply:?}");
    }
    let empty = send("Content-Type: application/json\r\nContent-Length: 0").reply();
    assert!(is_refused(&empty.expect("an answer"), ErrorCode::InvalidArgument));
    let typeless = send("Content-Type: text/plain\r\nContent-Length: 0").reply();
    assert!(is_refused(&typeless.expect("an answer"), ErrorCode::UnsupportedMediaType));
    let mut endless = send("Content-Type: application/json\r\nContent-Length: 104857600");
    let piece = vec![b'['; 1 << 20];
    let sent = (0..1024).take_while(|_| endless.send(&piece).is_ok()).count();
    assert!(sent < 256, "{sent} megabytes were taken");
    let grown = resident_bytes(world.daemon_pid()).saturating_sub(before);
    assert!(grown < (BODY + (16 << 20)) as u64, "the daemon grew by {grown} bytes");
    let pad = |length: usize| {
        let frame = r#"{"argv":["true"],"labels":{},"stdin":""}"#.len();
        format!(r#"{{"argv":["true"],"labels":{{}},"stdin":"{}"}}"#, "A".repeat(length - frame))
    };
    let largest = agent.submit_bytes(pad(BODY).as_bytes());
    assert!(is_refused(&largest, ErrorCode::InvalidArgument), "{largest:?}");
    assert_eq!(largest.problem().field.as_deref(), Some("stdin"));
    agent.run(&SubmitRequest { stdin: Some(Content(vec![b'A'; 16 << 20])), ..argv(&["true"]) });
}

/// AP-04. Each is told in a moment which field it is about.
#[test]
fn hostile_json_is_refused_with_the_field_and_costs_nothing() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let limit = |value: &str| format!(r#"{{"argv":["true"],"limits":{{"memory_max":{value}}}}}"#);
    let cases = [
        ("[".repeat(200_000), None),
        (r#"{"argv":"#.repeat(100_000), Some("argv")),
        (r#"{"argv":["true"],"limits":{"pids_max":1},"limits":{}}"#.to_owned(), Some("limits")),
        (limit("-1"), Some("limits.memory_max")),
        (limit("18446744073709551616"), Some("limits.memory_max")),
        (limit("1e400"), Some("limits.memory_max")),
        (limit("1e9"), Some("limits.memory_max")),
        (limit("NaN"), Some("limits.memory_max")),
        (limit("\"1G\""), Some("limits.memory_max")),
        (limit("0"), Some("limits.memory_max")),
        (r#"{"argv":[]}"#.to_owned(), Some("argv")),
        (r#"{"argv":[""]}"#.to_owned(), Some("argv[0]")),
        (r#"{"argv":["a\u0000b"]}"#.to_owned(), Some("argv[0]")),
        (r#"{"argv":["\ud800"]}"#.to_owned(), Some("argv[0]")),
        (r#"{"argv":["true"],"env":{"A=B":"c"}}"#.to_owned(), Some("env")),
        (r#"{"argv":["true"],"env":{"A":"b\u0000"}}"#.to_owned(), Some("env.A")),
        (r#"{"argv":["true"],"surprise":1}"#.to_owned(), Some("surprise")),
        (r#"{"argv":["true"],"language":"python"}"#.to_owned(), Some("argv")),
        (r#"{"language":"python"}"#.to_owned(), Some("argv")),
        (r#"{"argv":["true"],"policy":"none"}"#.to_owned(), Some("policy")),
        (r#"{"argv":["true"],"artifacts":{"globs":["["]}}"#.to_owned(), Some("artifacts.globs[0]")),
        ("null".to_owned(), None),
        (String::new(), None),
        (format!(r#"{{"argv":["x"],"argv0":"{}"}}"#, "a".repeat(100_000)), Some("argv0")),
    ];
    for (body, field) in cases {
        let begin = Instant::now();
        let reply = agent.submit_bytes(body.as_bytes());
        let shown: String = body.chars().take(60).collect();
        assert!(begin.elapsed() < Duration::from_secs(30) * slowness(), "{shown}");
        let error = reply.problem();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{shown}: {error}");
        if let Some(field) = field {
            let given = error.field.unwrap_or_default();
            assert!(given.starts_with(field), "{shown}: {given}");
        }
        assert!(reply.body.len() < 2048, "{shown}: {} bytes", reply.body.len());
    }
    agent.submit_bytes(b"\xff\xfe{}").problem();
    let page = agent.list("limit=200").expect("it may");
    assert!(page.executions.is_empty(), "something was run: {page:?}");
}

/// AP-05. A caller that takes all the connections it can leaves other callers theirs, and half a
/// request is waited for only so long.
#[test]
fn idle_and_half_open_connections_are_bounded_for_each_caller() {
    let world = World::open();
    let mut held: Vec<Connection> = Vec::new();
    for number in 0..64 {
        let mut connection = world.agent(AGENT).connect().expect("connected");
        if number % 2 == 0 {
            connection.send(b"POST /v1/exec").expect("sent");
        }
        held.push(connection);
    }
    let refused = world.agent(AGENT).call("GET", "/v1/doctor", None).expect("told");
    assert!(is_refused(&refused, ErrorCode::Busy), "{refused:?}");
    world.agent(OTHER_AGENT).run(&argv(&["true"])).expect_exit(0);
    let begin = Instant::now();
    let late = held.first_mut().expect("held").reply().expect("told");
    assert!(is_refused(&late, ErrorCode::RequestTimeout), "{late:?}");
    assert!(begin.elapsed() < Duration::from_secs(25) * slowness());
    drop(held);
    supervisor_tests::until_true("places are given back", || {
        let answer = world.agent(AGENT).call("GET", "/v1/doctor", None);
        answer.is_ok_and(|reply| reply.status == 200)
    });
}

/// AP-05 by many callers together: administrators keep a way in.
#[test]
fn a_crowd_of_callers_does_not_shut_the_administrator_out() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let world = World::alone();
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(8192), hard).expect("raised");
    let mut crowd = Vec::new();
    for uid in 0..20 {
        for _ in 0..64 {
            crowd.extend(world.agent(AGENT + 1 + uid).connect());
        }
    }
    assert_eq!(crowd.len(), 1280);
    let refused = world.agent(AGENT).call("GET", "/v1/doctor", None).expect("told");
    assert!(is_refused(&refused, ErrorCode::Busy), "{refused:?}");
    assert!(!world.root().doctor().controls.is_empty());
    drop(crowd);
    supervisor_tests::until_true("places are given back", || {
        let answer = world.agent(AGENT).call("GET", "/v1/doctor", None);
        answer.is_ok_and(|reply| reply.status == 200)
    });
}

/// AP-12. There is no field for what a request must not decide, and no value past the policy's.
#[test]
fn a_request_cannot_ask_for_more_than_the_policy_gives() {
    let world = World::open();
    let agent = world.agent(AGENT);
    for (field, value) in [
        ("mounts", json!([{"src": "/", "dst": "/host"}])),
        ("ro", json!(["/root"])),
        ("rw", json!(["/etc"])),
        ("workspace", json!("/")),
        ("network", json!("host")),
        ("egress", json!([{"host": "*"}])),
        ("caps", json!(["CAP_SYS_ADMIN"])),
        ("seccomp", json!("unconfined")),
        ("landlock", json!(false)),
        ("image", json!("/")),
        ("devices", json!(["/dev/kvm"])),
        ("credential", json!("x")),
        ("exec", json!(true)),
        ("profile", json!("unix-sockets")),
        ("mode", json!("best-effort")),
    ] {
        let body = json!({"argv": ["id"], field: value}).to_string();
        let error = agent.submit_bytes(body.as_bytes()).problem();
        assert_eq!((error.status, error.field.as_deref()), (400, Some(field)), "{error}");
    }
    let ask = |change: fn(&mut LimitsRequest)| {
        let mut limits = LimitsRequest::default();
        change(&mut limits);
        agent.submit(&SubmitRequest { limits, ..argv(&["true"]) }).expect_err("too much")
    };
    for (error, field) in [
        (ask(|limits| limits.memory_max = Some(1 << 50)), "limits.memory_max"),
        (ask(|limits| limits.wall_time = Some(u64::MAX)), "limits.wall_time"),
        (ask(|limits| limits.pids_max = Some(1 << 20)), "limits.pids_max"),
    ] {
        assert_eq!((error.code, error.field.as_deref()), (ErrorCode::PolicyDenied, Some(field)));
        assert!(error.hint.is_some(), "{error}");
    }
    let none = ask(|limits| limits.pids_max = Some(0));
    assert_eq!(
        (none.code, none.field.as_deref()),
        (ErrorCode::InvalidArgument, Some("limits.pids_max"))
    );
    assert!(agent.list("").expect("it may").executions.is_empty());
}

/// AP-13. What can't be executed is told apart from what was and failed.
#[test]
fn arguments_reach_the_program_byte_for_byte_and_no_shell_sees_them() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let words = ["; touch pwned", "$(touch pwned)", "`id`", "a\nb", "", "*", "--", "\u{202e}", "ü"];
    let print = "import sys; sys.stdout.write('\\x01'.join(sys.argv[1:]))";
    let mut request = argv(&["python3", "-c", print]);
    request.argv.extend(words.map(str::to_owned));
    assert_eq!(agent.run(&request).stdout, words.join("\u{1}"));
    let mut many = argv(&["sh", "-c", "echo $#", "sh"]);
    many.argv.extend(vec!["a".to_owned(); 20_000]);
    assert_eq!(agent.run(&many).stdout, "20000\n");
    let long = "x".repeat(131_073);
    for (words, error) in [
        (vec!["./nope"], "ENOENT"),
        (vec!["no-such-program"], "ENOENT"),
        (vec!["--version"], "ENOENT"),
        (vec!["/root/x"], "ENOENT"),
        (vec!["/etc/passwd"], "EACCES"),
        (vec!["/"], "EACCES"),
        (vec!["true", &long], "E2BIG"),
        (vec!["/etc/passwd/x"], "ENO"),
    ] {
        let ended = agent.run(&argv(&words));
        let Some(Outcome::SetupFailed { step, reason }) = &ended.execution.outcome else {
            panic!("{words:?}: {ended:?}");
        };
        assert!(step == "exec" && reason.starts_with(error), "{words:?}: {step}: {reason}");
    }
    let env = UniqueMap([("PATH".to_owned(), "/workspace:relative:".to_owned())].into());
    let lost = agent.run(&SubmitRequest { env, ..argv(&["true"]) });
    assert!(matches!(lost.execution.outcome, Some(Outcome::SetupFailed { .. })), "{lost:?}");
}

#[test]
fn a_submission_that_waits_comes_back_with_the_end() {
    let world = World::open();
    let reply = world.agent(AGENT).submit_bytes(br#"{"argv":["sh","-c","exit 4"],"wait":true}"#);
    let execution: Value = reply.json();
    assert_eq!(
        (&execution["state"], &execution["outcome"]["code"]),
        (&json!("finished"), &json!(4))
    );
}
