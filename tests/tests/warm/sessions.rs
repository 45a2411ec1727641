//! Executions in a session find a sandbox parked that has its workspace already, and nothing of what lies there
//! acts before they are claimed.

use supervisor_api::{Session, SessionId, StartKind, SubmitRequest};
use supervisor_tests::{AGENT, Client, python, until_true};

use super::{compare, file, parked, programs, start_of, warm_up, world};

fn open(agent: &Client) -> SessionId {
    let reply = agent.call("POST", "/v1/sessions", Some(b"{}")).expect("an answer");
    assert_eq!(reply.status, 201, "{:?}", reply.problem());
    serde_json::from_slice::<Session>(&reply.body).expect("a session").id
}

fn close(agent: &Client, session: SessionId) {
    let reply = agent.call("DELETE", &format!("/v1/sessions/{session}"), None);
    let reply = reply.expect("an answer");
    assert!(reply.status < 300, "{:?}", reply.problem());
}

fn within(session: SessionId, source: &str) -> SubmitRequest {
    SubmitRequest { session: Some(session), ..python(source) }
}

#[test]
fn a_program_in_a_session_behaves_as_it_does_in_a_sandbox_that_is_made_for_it() {
    let world = world("parked = 8\nparked_per_uid = 8");
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let files = vec![file("beside.py", "value = 7\n"), file("data/in.txt", "in")];
    let first = "import beside"; // what that leaves is there before
    warm_up(&agent, &SubmitRequest { files, ..within(session, first) });
    // What a workspace that was there before, and a home that was told late, could make other.
    let chosen = ["names", "descriptors", "environment", "traceback", "homes", "beside", "modules"];
    let mut programs = programs();
    programs.retain(|(name, _)| chosen.contains(name));
    assert_eq!(programs.len(), chosen.len());
    let place = SubmitRequest { session: Some(session), ..SubmitRequest::default() };
    compare(&agent, &place, &programs);
}

#[test]
fn what_one_execution_leaves_the_next_one_finds_and_nothing_else() {
    let world = world("");
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let source = "import os\nprint(len(open('lines', 'a+').write('.') * [1]), os.path.getsize('lines'))\n\
                  print(sorted(os.listdir()), os.listdir('/tmp'))\nopen('/tmp/mark', 'w')";
    let request = within(session, source);
    warm_up(&agent, &request);
    for size in 3..6 {
        until_true("something is parked", || parked(&agent).0 > 0);
        let ended = agent.run(&request);
        ended.expect_exit(0);
        assert_eq!(start_of(&ended), StartKind::Warm);
        assert_eq!(ended.stdout, format!("1 {size}\n['lines', 'main.py'] []\n"));
    }
    assert_eq!(start_of(&agent.run(&python(source))), StartKind::Cold, "of no session");
    let other = open(&agent);
    assert_eq!(start_of(&agent.run(&within(other, source))), StartKind::Cold, "of another");
}

/// What an execution leaves for the interpreters that come runs in an execution, or not at all.
#[test]
fn what_lies_in_a_session_does_not_act_on_an_interpreter_before_it_is_claimed() {
    let world = world("parked = 1\nparked_per_uid = 1");
    let agent = world.agent(AGENT);
    let session = open(&agent);
    let act = "open('/workspace/acted', 'a').write('.')\n";
    let source = "import json, os, site\n\
                  acted = os.path.getsize('acted') if os.path.exists('acted') else 0\n\
                  print(json.__file__, acted, site.USER_SITE)";
    let version = agent.run(&python("import sys; print('%d.%d' % sys.version_info[:2])")).stdout;
    let own = format!(".local/lib/python{}/site-packages", version.trim());
    let look = within(session, source);
    warm_up(&agent, &look);
    let files = [
        file("json.py", ""),
        file("sitecustomize.py", act),
        file("usercustomize.py", act),
        file(&format!("{own}/usercustomize.py"), act),
        file(&format!("{own}/its.pth"), &format!("import os; {act}")),
    ];
    // Each execution from this one on finds two of them at its start, and nothing that is parked does.
    agent.run(&SubmitRequest { files: files.to_vec(), ..look.clone() }).expect_exit(0);
    for count in [2, 4] {
        until_true("one more is parked", || parked(&agent).0 > 0);
        let held = format!("/v1/sessions/{session}/files/acted");
        let reply = agent.call("GET", &held, None).expect("an answer");
        assert_eq!((reply.status, reply.body.len()), (200, count));
        let warm = agent.run(&look);
        warm.expect_exit(0);
        assert_eq!(start_of(&warm), StartKind::Warm);
        let words = format!("/workspace/json.py {} /workspace/{own}\n", count + 2);
        assert_eq!(warm.stdout, words);
    }
}

#[test]
fn a_session_is_closed_though_something_is_parked_in_it() {
    let mut world = world("");
    let agent = world.agent(AGENT);
    let (session, other) = (open(&agent), open(&agent));
    warm_up(&agent, &within(session, "print(1)"));
    close(&agent, session);
    assert_eq!(parked(&agent), (0, 0));
    warm_up(&agent, &within(other, "print(1)"));
    world.daemon().kill();
    world.start_daemon();
    close(&agent, other);
    let reply = agent.call("GET", &format!("/v1/sessions/{other}"), None).expect("an answer");
    assert_eq!(reply.status, 404);
}

#[test]
fn a_copy_is_made_of_a_session_in_which_something_is_parked() {
    let world = world("");
    let agent = world.agent(AGENT);
    let session = open(&agent);
    warm_up(&agent, &within(session, "open('kept', 'w').write('words')"));
    let body = format!("{{\"from\":\"{session}\"}}");
    let reply = agent.call("POST", "/v1/sessions", Some(body.as_bytes())).expect("an answer");
    assert_eq!(reply.status, 201, "{:?}", reply.problem());
    let copy: Session = serde_json::from_slice(&reply.body).expect("a session");
    let ended = agent.run(&within(copy.id, "print(open('kept').read())"));
    assert_eq!(ended.stdout, "words\n");
}
