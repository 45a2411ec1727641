//! Sandboxes that are parked with a way out: whoever finds one has it to himself, and nobody could tell it from one
//! that was made for him.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;

use supervisor_api::{
    AuditPage, ExecutionId, Session, SessionId, StartKind, Subject, SubmitRequest,
};
use supervisor_tests::{
    AGENT, Client, DAEMON, Ended, Settings, Upstream, World, copy_python, program, python,
    until_true,
};

use super::{cold, compare, file, parked, programs, start_of, until_parked, warm_up};

const SECRET: &str = "sk-77c0-never-in-the-sandbox-1e3b";

const POLICY: &str = include_str!("../egress/policy.toml");

/// Says whom it believes, what it has instead of the key, and its authority.
const WHOM: &str = "\
import os, socket, ssl

def believes(file):
    context = ssl.create_default_context(cafile=file)
    try:
        with socket.create_connection(('api.example.com', 443)) as plain:
            context.wrap_socket(plain, server_hostname='api.example.com').close()
        return True
    except ssl.SSLCertVerificationError:
        return False

print('its own', believes('/run/authority.pem'))
print('another', os.path.exists('other.pem') and believes('other.pem'))
print(os.environ['API_KEY'])
print(open('/run/authority.pem').read(), end='')
";

/// An API in a network of the test's own.
fn api() -> Upstream {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com other.example.com"]);
    let secret = upstream.place("secret");
    fs::write(&secret, SECRET).unwrap();
    chown(&secret, Some(DAEMON), Some(DAEMON)).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o400)).unwrap();
    let source = include_str!("../egress/upstream.py");
    upstream.serve("/usr/bin/python3", source, &["leaf.pem", "leaf.key", SECRET]);
    upstream
}

fn world(upstream: &Upstream) -> World {
    let policy = POLICY.replace("requests = 4", "requests = 1000");
    let source = upstream.place("secret");
    World::with(Settings {
        tables: format!(
            "[[credential]]\nname = \"api-key\"\nkind = \"static\"\nhosts = [\"api.example.com\"]\n\
             source = {{ file = {source:?} }}\n[warm]\n"
        ),
        ..upstream.settings(&[("api", &policy)])
    })
}

fn under_api(source: &str) -> SubmitRequest {
    SubmitRequest { policy: Some("api".to_owned()), ..python(source) }
}

fn open(agent: &Client) -> SessionId {
    let reply = agent.call("POST", "/v1/sessions", Some(b"{\"policy\":\"api\"}"));
    let reply = reply.expect("an answer");
    assert_eq!(reply.status, 201, "{:?}", reply.problem());
    serde_json::from_slice::<Session>(&reply.body).expect("a session").id
}

/// Runs it in a sandbox that was parked.
#[track_caller]
fn run_warm(agent: &Client, request: &SubmitRequest) -> Ended {
    until_true("something is parked", || parked(agent).0 > 0);
    let ended = agent.run(request);
    ended.expect_exit(0);
    assert_eq!(start_of(&ended), StartKind::Warm, "{}{}", ended.stdout, ended.stderr);
    ended
}

/// What was decided about an execution's traffic, but for what no two executions have in common.
fn decisions(agent: &Client, id: ExecutionId) -> Vec<String> {
    let target = format!("/v1/executions/{id}/decisions");
    let reply = agent.call("GET", &target, None).expect("an answer");
    let page: AuditPage = serde_json::from_slice(&reply.body).expect("decisions");
    let told = page.records.into_iter().map(|record| {
        let mut told = serde_json::to_value(record).expect("JSON");
        let fields = told.as_object_mut().expect("an object");
        for own in ["seq", "time", "prev", "hash", "execution", "session", "bytes_in", "bytes_out"]
        {
            fields.remove(own);
        }
        told
    });
    // How a connection has ended may be told when the execution has, whose end says how it was started.
    let told = told.filter(|told| told["reason"] != "ended" && told["kind"] != "outcome");
    let mut told: Vec<String> = told.map(|told| told.to_string()).collect();
    told.sort();
    told
}

#[test]
fn what_may_leave_and_what_may_not_are_those_of_a_sandbox_that_is_made_for_it() {
    let upstream = api();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    let request = under_api(include_str!("way_out.py"));
    warm_up(&agent, &under_api("print(1)"));
    let (warm, cold) = (run_warm(&agent, &request), agent.run(&cold(&request)));
    assert_eq!(start_of(&cold), StartKind::Cold);
    assert_eq!((&warm.stdout, &warm.stderr), (&cold.stdout, &cold.stderr));
    for (what, count) in [("GET /v1/a key=True", 2), ("(403, ", 4), ("rule", 1), ("\n37 True\n", 1)]
    {
        assert!(warm.stdout.matches(what).count() >= count, "{what}: {}", warm.stdout);
    }
    let of_warm = decisions(&agent, warm.execution.id);
    assert!(of_warm.len() >= 8, "{of_warm:#?}");
    assert_eq!(of_warm, decisions(&agent, cold.execution.id));
    // Each is in a session of its own, and no traffic is on record that is not one's of them.
    assert_ne!(warm.execution.session, cold.execution.session);
    let whose = [&warm, &cold].map(|ended| {
        let (session, execution) = (Some(ended.execution.session), Some(ended.execution.id));
        Subject { session, execution, uid: Some(AGENT) }
    });
    let records = world.root().audit("kind=egress").expect("root may").records;
    assert!(records.len() >= 16, "{records:?}");
    for record in records {
        assert!(whose.contains(&record.event.subject), "{record:?}");
    }
}

/// With more that was imported ahead, and more variables.
#[test]
fn a_program_that_may_send_something_behaves_as_it_does_in_a_sandbox_that_is_made_for_it() {
    let upstream = api();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    warm_up(&agent, &under_api("print(1)"));
    let mut programs = programs();
    programs.retain(|(name, _)| *name != "environment"); // placeholders are of one execution
    compare(&agent, &under_api(""), &programs);
}

#[test]
fn each_has_an_authority_that_no_other_believes_and_none_is_kept_of_what_is_parked() {
    let upstream = api();
    for in_session in [false, true] {
        let world = world(&upstream);
        let agent = world.agent(AGENT);
        let request = match in_session {
            true => SubmitRequest { session: Some(open(&agent)), ..python(WHOM) },
            false => under_api(WHOM),
        };
        warm_up(&agent, &request);
        let mut seen: Vec<(String, String)> = Vec::new();
        for _ in 0..2 {
            let other = seen.last().map(|(_, authority)| file("other.pem", authority));
            let files = other.into_iter().collect();
            let ended = run_warm(&agent, &SubmitRequest { files, ..request.clone() });
            let words = ended.stdout.strip_prefix("its own True\nanother False\n");
            let (placeholder, authority) =
                words.and_then(|words| words.split_once('\n')).expect(&ended.stdout);
            assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"), "{authority}");
            seen.push((placeholder.to_owned(), authority.to_owned()));
        }
        let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
        assert_ne!(first.1, last.1);
        // A session's programs have the same placeholders for as long as it lasts.
        assert_eq!(first.0 == last.0, in_session, "{seen:?}");
        until_true("something is parked", || parked(&agent).0 > 0);
        until_true("no way out is kept, for nothing runs", || {
            let places = fs::read_dir(world.state().join("executions")).expect("places");
            !places.flatten().any(|place| place.path().join("way").exists())
        });
    }
}

#[test]
fn what_is_parked_after_a_reload_lets_out_what_the_policy_does_by_then() {
    let upstream = api();
    let world = world(&upstream);
    let agent = world.agent(AGENT);
    let source = "import urllib.request, urllib.error\n\
                  for path in '/v1/a', '/private':\n    \
                      try: print(urllib.request.urlopen('https://api.example.com' + path).status)\n    \
                      except urllib.error.HTTPError as error: print(error.code)";
    let request = under_api(source);
    warm_up(&agent, &request);
    assert_eq!(run_warm(&agent, &request).stdout, "200\n403\n");
    until_true("another is parked", || parked(&agent).0 > 0);
    let text = POLICY.replace("\"/v1/**\"", "\"/private\"");
    fs::write(world.path().join("policies/api.toml"), text).unwrap();
    let reloaded = world.root().call("POST", "/v1/reload", None).expect("an answer");
    assert_eq!(reloaded.status, 200, "{:?}", reloaded.problem());
    until_true("all that was parked is given up", || parked(&agent).0 == 0);
    let first = agent.run(&request);
    assert_eq!((start_of(&first), first.stdout.as_str()), (StartKind::Cold, "403\n200\n"));
    until_parked(&agent, &request, 1);
    let warm = run_warm(&agent, &request);
    assert_eq!(warm.stdout, "403\n200\n");
    assert_eq!(warm.execution.policy, first.execution.policy);
}

/// Asks, says so, waits for a file if it is told to, and asks again.
const TWICE: &str = "\
import os, sys, time, urllib.request

def ask():
    key = {'Authorization': 'Bearer ' + os.environ['API_KEY']}
    url = 'https://api.example.com/v1/a'
    return urllib.request.urlopen(urllib.request.Request(url, headers=key)).read().decode()

print('first', ask())
while sys.argv[1:] and not os.path.exists('go'):
    time.sleep(0.01)
print('second', ask())
";

const BOTH: &str = "first GET /v1/a key=True\n\nsecond GET /v1/a key=True\n\n";

/// FT-01.
#[test]
fn a_killed_daemon_s_successor_serves_the_way_out_of_what_was_parked() {
    let upstream = api();
    let mut world = world(&upstream);
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let once = SubmitRequest { session: Some(session), ..python(TWICE) };
    let waiting = SubmitRequest { args: vec!["wait".to_owned()], ..once.clone() };
    warm_up(&agent, &once);
    until_true("something is parked", || parked(&agent).0 > 0);
    let id = agent.start(&waiting);
    agent.wait_for_words(id, "first");
    world.daemon().kill();
    world.start_daemon();
    go_on(&agent, session);
    let ended = agent.ended(id);
    assert_eq!((ended.stdout.as_str(), start_of(&ended)), (BOTH, StartKind::Warm));
    let said = world.root().audit("kind=recovery").expect("root may");
    let said = serde_json::to_string(&said).unwrap();
    assert!(said.contains("\"adopted\"") && !said.contains("without a way out"), "{said}");
    let way = world.state().join(format!("executions/{id}/way"));
    until_true("its way out is forgotten", || !way.exists());
}

/// FT-01. Between its claim and the first of its records, and then its start: it is told of and runs, or it is as
/// if nobody had submitted it.
#[test]
fn a_death_over_what_was_just_claimed_leaves_an_execution_with_its_way_out_or_nothing() {
    let upstream = api();
    let mut world = world(&upstream);
    let agent = world.agent(AGENT);
    for point in ["SubmissionAccepted", "SubmissionRecorded", "FilesWritten", "PayloadStarted"] {
        world.daemon().end();
        assert!(world.start_doomed_daemon(&format!("{point}:3")));
        let session = open(&agent);
        let once = SubmitRequest { session: Some(session), ..python(TWICE) };
        warm_up(&agent, &once);
        until_true("something is parked", || parked(&agent).0 > 0);
        let body = serde_json::to_vec(&once).expect("JSON");
        let told =
            agent.call("POST", "/v1/executions", Some(&body)).is_ok_and(|it| it.status < 300);
        world.daemon().wait_for_kill(point);
        world.start_daemon();
        let all = agent.list("").expect("a list").executions;
        let of_session: Vec<_> = all.into_iter().filter(|it| it.session == session).collect();
        assert!(
            of_session.len() == 3 || (of_session.len() == 2 && !told),
            "{point}: {of_session:?}"
        );
        for execution in of_session {
            let ended = agent.ended(execution.id);
            ended.expect_exit(0);
            assert_eq!(ended.stdout, BOTH, "{point}: {ended:?}");
        }
    }
}

/// Asks for what no rule allows, as soon as it is imported.
const AT_ONCE: &str = "\
import socket
asked = socket.create_connection(('127.0.0.1', 3128))
asked.sendall(b'CONNECT ahead.example.com:443 HTTP/1.1\\r\\nHost: ahead.example.com:443\\r\\n\\r\\n')
";

/// The same when it is parked, most of the time.
const LATER: &str = "\
import threading
timer = threading.Timer(0.3, __import__, ['at_once'])
timer.daemon = True
timer.start()
";

/// NT-31. Modules that are imported ahead are the policy's, and the image's, and may say what they like.
#[test]
fn what_is_said_before_a_claim_is_heard_by_nobody_and_in_nobody_s_name() {
    let upstream = api();
    let policy = |name: &str, module: &str| {
        format!(
            "name = {name:?}\nextends = \"default\"\n[filesystem]\nimage = \"talks:1\"\n\
             [warm]\nmodules = [{module:?}]\n[[egress]]\nname = \"read\"\n\
             hosts = [\"api.example.com\"]\naddresses = [\"127.0.0.2/32\"]\n"
        )
    };
    let policies =
        [("at-once", &*policy("at-once", "at_once")), ("later", &policy("later", "later"))];
    let tables = "[warm]\n".to_owned();
    let world = World::with(Settings { tables, ..upstream.settings(&policies) });
    let modules = copy_python(&upstream.place("python"));
    fs::write(modules.join("at_once.py"), AT_ONCE).unwrap();
    fs::write(modules.join("later.py"), LATER).unwrap();
    let mut import = Command::new(program("supervisorctl"));
    import.args(["image", "import", "--name", "talks:1", "--images"]).arg(world.images());
    let imported = import.arg(upstream.place("python")).output().expect("it runs");
    assert!(imported.status.success(), "{imported:?}");

    let agent = world.agent(AGENT);
    let log = world.path().join("daemon.log");
    let said = || fs::read_to_string(&log).unwrap().matches("has tried to send something").count();
    for (before, name) in ["at-once", "later"].into_iter().enumerate() {
        let request = SubmitRequest { policy: Some(name.to_owned()), ..python("print(1)") };
        agent.run(&request).expect_exit(0);
        agent.run(&request).expect_exit(0);
        until_true("it was seen, or is parked though it has spoken", || {
            said() > before || (name == "at-once" && parked(&agent).0 > 0)
        });
        let ended = agent.run(&request);
        ended.expect_exit(0);
        let start = start_of(&ended);
        let mut told = decisions(&agent, ended.execution.id);
        told.retain(|told| !told.contains("\"kind\":\"submission\""));
        assert!(start == StartKind::Cold && told.is_empty(), "{start:?} {told:?}");
    }
}

#[test]
fn without_a_layer_what_was_said_before_a_claim_is_heard() {
    supervisor_tests::check_mutations(&["warm/"]);
}

fn go_on(agent: &Client, session: SessionId) {
    let put = agent.call("PUT", &format!("/v1/sessions/{session}/files/go"), Some(b"go"));
    assert_eq!(put.expect("an answer").status, 200);
}
