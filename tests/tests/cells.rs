//! Interpreters: a notebook's worth of cells, what a cell can do to its interpreter, and what a daemon that was
//! killed finds of it.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use supervisor_api::{
    ApiError, Cell, CellList, CellOutcome, CellState, Content, ErrorCode, ExecutionId, Interpreter,
    InterpreterEnd, InterpreterList, InterpreterState, Outcome, Session, SessionId,
};
use supervisor_tests::{
    AGENT, Client, OTHER_AGENT, Selection, World, assert_described, until, until_true,
};

#[path = "cells/ends.rs"]
mod ends;

/// A session with an interpreter in it.
struct Notebook {
    client: Client,
    session: SessionId,
    id: ExecutionId,
}

fn ask<T: DeserializeOwned>(
    client: &Client,
    operation: &str,
    method: &str,
    target: &str,
    body: Option<Value>,
) -> Result<T, ApiError> {
    let body = body.map(|body| body.to_string());
    let reply = client.call(method, target, body.as_deref().map(str::as_bytes)).expect("an answer");
    if reply.status >= 400 {
        return Err(reply.problem());
    }
    assert_described(operation, reply.status, reply.field("content-type"), &reply.body);
    Ok(serde_json::from_slice(&reply.body).expect("as described"))
}

fn open_session(client: &Client) -> SessionId {
    let session: Session =
        ask(client, "create_session", "POST", "/v1/sessions", Some(json!({}))).expect("a session");
    session.id
}

fn create(client: &Client, session: SessionId, request: Value) -> Result<Interpreter, ApiError> {
    let target = format!("/v1/sessions/{session}/interpreters");
    ask(client, "create_interpreter", "POST", &target, Some(request))
}

impl Notebook {
    #[track_caller]
    fn open(world: &World, request: Value) -> Self {
        let client = world.agent(AGENT);
        let session = open_session(&client);
        let id = create(&client, session, request).expect("an interpreter").id;
        Self { client, session, id }
    }

    #[track_caller]
    fn python(world: &World) -> Self {
        Self::open(world, json!({"language": "python"}))
    }

    fn target(&self, rest: &str) -> String {
        format!("/v1/sessions/{}/interpreters/{}{rest}", self.session, self.id)
    }

    fn try_run(&self, request: Value) -> Result<Cell, ApiError> {
        ask(&self.client, "run_cell", "POST", &self.target("/cells"), Some(request))
    }

    #[track_caller]
    fn run(&self, source: &str) -> Cell {
        let cell = self.try_run(json!({"source": source, "wait": true})).expect("it is taken");
        assert_eq!(cell.state, CellState::Done);
        cell
    }

    /// Runs what ends well; its last value as text.
    #[track_caller]
    fn value(&self, source: &str) -> String {
        let cell = self.run(source);
        assert_eq!(cell.outcome, Some(CellOutcome::Ok), "{cell:?}");
        cell.results.last().map(|result| result.data["text/plain"].clone()).unwrap_or_default()
    }

    #[track_caller]
    fn begin(&self, source: &str) -> u64 {
        self.try_run(json!({"source": source})).expect("it is taken").number
    }

    #[track_caller]
    fn ended(&self, number: u64) -> Cell {
        let target = self.target(&format!("/cells/{number}?wait=60"));
        let cell: Cell = ask(&self.client, "cell", "GET", &target, None).expect("it is kept");
        assert_eq!(cell.state, CellState::Done, "{cell:?}");
        cell
    }

    #[track_caller]
    fn show(&self) -> Interpreter {
        ask(&self.client, "interpreter", "GET", &self.target(""), None).expect("it is there")
    }

    #[track_caller]
    fn interrupt(&self) {
        let target = self.target("/interrupt");
        let asked: Result<Interpreter, _> =
            ask(&self.client, "interrupt_interpreter", "POST", &target, None);
        asked.expect("a cell runs");
    }

    #[track_caller]
    fn until_it_ends(&self) -> Interpreter {
        until("the interpreter ends", || {
            Some(self.show()).filter(|shown| shown.state == InterpreterState::Ended)
        })
    }

    #[track_caller]
    fn close(self) {
        let closed: Interpreter =
            ask(&self.client, "close_interpreter", "DELETE", &self.target(""), None)
                .expect("closed");
        assert_eq!(closed.state, InterpreterState::Ended);
        let target = format!("/v1/sessions/{}", self.session);
        assert!(self.client.call("DELETE", &target, None).expect("an answer").status < 300);
    }
}

fn text(output: &supervisor_api::CellOutput) -> String {
    let Content(bytes) = output.text.clone().unwrap_or_default();
    String::from_utf8(bytes).expect("it is text")
}

#[test]
fn a_notebook_s_worth_of_cells_with_variables_errors_and_output() {
    let world = World::open();
    let book = Notebook::python(&world);
    assert_eq!(book.value("1+1"), "2");
    book.value("import json, os, subprocess, sys\nx = {'rows': [1, 2, 3]}");
    let cell = book.run("x");
    assert_eq!(cell.results[0].data["application/json"], r#"{"rows": [1, 2, 3]}"#);
    let cell = book.run(
        "print('out'); print('err', file=sys.stderr); subprocess.run(['echo', 'child']); None",
    );
    assert_eq!((text(&cell.stdout), text(&cell.stderr)), ("out\nchild\n".into(), "err\n".into()));
    let all = book.client.output(book.id, Selection::Stdout, cell.stdout.from).expect("output");
    assert_eq!(all, b"out\nchild\n");
    let cell = book.run("def f():\n    return 1 / 0\n\nf()");
    let error = cell.error.expect("an error");
    assert_eq!(
        (cell.outcome, error.name.as_str()),
        (Some(CellOutcome::Error), "ZeroDivisionError")
    );
    assert!(error.traceback.iter().any(|line| line.contains("return 1 / 0")), "{error:?}");
    assert!(!error.traceback.iter().any(|line| line.contains("<supervisord>")), "{error:?}");
    assert_eq!(book.value("import asyncio\nawait asyncio.sleep(0.01)\nsum(x['rows'])"), "6");
    let cell = book.run("input('name? ')");
    assert!(cell.error.expect("refused").value.contains("no standard input"));
    let cell =
        book.run("class Table:\n    def _repr_html_(self): return '<table></table>'\nTable()");
    assert_eq!(cell.results[0].data["text/html"], "<table></table>");
    book.value("open('kept.txt', 'w').write('file')");
    let target = format!("/v1/sessions/{}/files/kept.txt", book.session);
    assert_eq!(book.client.call("GET", &target, None).expect("an answer").body, b"file");
    assert_eq!(book.value("sorted(os.listdir('.'))"), "['kept.txt']", "nothing of ours lies there");
    let list: CellList =
        ask(&book.client, "list_cells", "GET", &book.target("/cells"), None).expect("a list");
    let numbers: Vec<_> = list.cells.iter().map(|cell| cell.number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    book.close();
}

#[test]
fn figures_and_tables_come_as_pictures_and_html() {
    let world = World::open();
    let limits = json!({"memory_max": 1u64 << 30});
    let book = Notebook::open(&world, json!({"language": "python", "limits": limits}));
    let cell =
        book.run("import matplotlib.pyplot as plt\nplt.plot([1, 2, 4])\nplt.title('growth')\nNone");
    assert_eq!(cell.outcome, Some(CellOutcome::Ok), "{:?}", cell.error);
    let figure = &cell.results[0].data;
    assert!(figure["image/png"].starts_with("iVBORw0KGgo"), "a PNG");
    assert!(figure["image/svg+xml"].contains("<svg"), "an SVG");
    assert!(book.run("None").results.is_empty(), "a figure is shown once");
    let cell = book.run("import pandas\npandas.DataFrame({'a': [1, 2]})");
    assert!(cell.results[0].data["text/html"].contains("<table"), "{:?}", cell.error);
    book.close();
}

#[test]
fn an_interrupt_ends_the_cell_and_leaves_the_variables() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value("import time, subprocess\nx = 42");
    for endless in ["time.sleep(1000)", "while True: pass", "subprocess.run(['sleep', '1000'])"] {
        let number = book.begin(&format!("print('begun', flush=True)\n{endless}"));
        until_true("the cell runs", || {
            let target = book.target(&format!("/cells/{number}"));
            let cell: Cell = ask(&book.client, "cell", "GET", &target, None).expect("kept");
            let out = book.client.output(book.id, Selection::Stdout, cell.stdout.from);
            cell.state == CellState::Running && out.expect("output").starts_with(b"begun")
        });
        book.interrupt();
        let cell = book.ended(number);
        assert_eq!(cell.outcome, Some(CellOutcome::Interrupted), "{endless}");
        assert_eq!(cell.error.expect("an error").name, "KeyboardInterrupt");
        assert_eq!(book.value("x"), "42");
    }
    let late = ask::<Interpreter>(
        &book.client,
        "interrupt_interpreter",
        "POST",
        &book.target("/interrupt"),
        None,
    );
    assert_eq!(late.expect_err("nothing runs").code, ErrorCode::Conflict);
    book.close();
}

#[test]
fn a_cell_has_its_time_and_its_output_and_what_does_not_stop_ends_the_interpreter() {
    let world = World::open();
    let book = Notebook::python(&world);
    let run = |source: &str, more: Value| {
        let mut request = json!({"source": source, "wait": true});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        book.try_run(request).expect("it is taken")
    };
    book.value("x = 1");
    let cell = run("import time\ntime.sleep(1000)", json!({"wall_time": 300}));
    assert_eq!(cell.outcome, Some(CellOutcome::TimedOut));
    let cell = run("while True: print('x' * 1000)", json!({"output_bytes": 100_000}));
    assert_eq!(cell.outcome, Some(CellOutcome::OutputExceeded));
    assert_eq!(book.value("x"), "1", "both were interrupted and left it");
    let stubborn = "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n\
                    while True: pass";
    book.try_run(json!({"source": stubborn, "wall_time": 300})).expect("it is taken");
    let cell = book.run("y = 2");
    assert_eq!(cell.outcome, Some(CellOutcome::Lost), "its interpreter was ended: {cell:?}");
    let ended = book.show();
    assert_eq!(ended.end, Some(InterpreterEnd::CellTimedOut));
    assert_eq!(ended.outcome, Some(Outcome::TimedOut));
    let refused = book.try_run(json!({"source": "x"})).expect_err("it has ended");
    assert_eq!(refused.code, ErrorCode::Conflict);
    assert!(refused.detail.contains("its variables with it"), "{refused}");
    let high = book.try_run(json!({"source": "x", "wall_time": u64::MAX})).expect_err("too long");
    assert_eq!(high.field.as_deref(), Some("wall_time"));
    book.close();
}

#[test]
fn whatever_a_cell_does_to_its_channel_ends_no_more_than_its_interpreter() {
    let world = World::open();
    let attacks = [
        ("import os\nos.close(3)\nimport time\ntime.sleep(1)", None),
        (
            "import os\nos.write(3, b'junk\\n')\nwhile True: pass",
            Some(InterpreterEnd::ChannelBroken),
        ),
        (
            "import os\nos.write(3, b'{\"is\":\"done\",\"number\":9,\"status\":\"ok\"}\\n')\nwhile True: pass",
            Some(InterpreterEnd::ChannelBroken),
        ),
        ("import os\nwhile True: os.write(3, b'x' * 65536)", Some(InterpreterEnd::ChannelBroken)),
        (
            // The end of a cell before it, again and again.
            "import os\nwhile True: os.write(3, b'{\"is\":\"done\",\"number\":1,\"status\":\"ok\"}\\n')",
            Some(InterpreterEnd::ChannelBroken),
        ),
        (
            "import os\nempty = b','.join([b'{\"kind\":\"value\",\"data\":{}}'] * 1001)\n\
             os.write(3, b'{\"is\":\"done\",\"number\":2,\"status\":\"ok\",\"results\":[' + empty + b']}\\n')\n\
             while True: pass",
            Some(InterpreterEnd::ChannelBroken),
        ),
        ("import os\nos.kill(os.getpid(), 9)", Some(InterpreterEnd::Process)),
        ("import os\nos._exit(3)", Some(InterpreterEnd::Process)),
    ];
    for (attack, end) in attacks {
        let book = Notebook::python(&world);
        book.value("x = 1");
        let cell = book.run(attack);
        assert_eq!(cell.outcome, Some(CellOutcome::Lost), "{attack}: {cell:?}");
        let ended = book.until_it_ends();
        assert!(end.is_none() || ended.end == end, "{attack}: {ended:?}");
        book.close();
    }
    // What is only large is left out, and a copy of the interpreter runs no cell of its own.
    let book =
        Notebook::open(&world, json!({"language": "python", "limits": {"memory_max": 4u64 << 30}}));
    let cell = book.run("'x' * 300_000_000");
    assert_eq!((cell.outcome, cell.results.len()), (Some(CellOutcome::Ok), 0));
    assert!(cell.results_dropped > 0);
    let cell = book.run("for each in range(1500): display(each)"); // as text and as JSON
    assert_eq!((cell.results.len(), cell.results_dropped), (500, 2000));
    book.value("import os\nif os.fork(): os.wait()");
    assert_eq!(book.value("2"), "2");
    book.close();
}

/// SY-35. Whoever lets go of a socket last waits for as long as its maker said. Kernels before 6.16 let one be passed.
#[test]
fn a_cell_passes_its_daemon_no_socket_and_makes_none_that_is_let_go_of_slowly() {
    let world = World::open();
    let book = Notebook::python(&world);
    let cell = book.run(
        "import array, errno, socket, struct
def attempt(name, action):
    try:
        action()
        print('ALLOWED', name)
    except OSError as problem:
        print('DENIED', name, errno.errorcode[problem.errno])
made = socket.socket()
slow = struct.pack('ii', 1, 100_000)
attempt('slow', lambda: made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, slow))
channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=3)
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [made.fileno()]))]
attempt('pass', lambda: channel.sendmsg([b' '], rights))
channel.detach()",
    );
    let passed = if is_kernel_from(6, 16) { "DENIED pass EPERM" } else { "ALLOWED pass" };
    assert_eq!(text(&cell.stdout), format!("DENIED slow EPERM\n{passed}\n"), "{cell:?}");
    book.close();
}

fn is_kernel_from(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(major), Some(minor))
}

#[test]
fn without_a_layer_a_socket_is_passed_or_meets_the_next_one() {
    // One of the two layers is the kernel's, and its lines are about kernels that have it.
    if !is_kernel_from(6, 16) {
        return;
    }
    supervisor_tests::check_mutations(&["cells.rs"]);
}

#[test]
fn a_daemon_that_is_killed_in_a_cell_comes_back_to_it_and_runs_nothing_twice() {
    let mut world = World::open();
    let book = Notebook::python(&world);
    book.value("import time\nruns = []");
    let first = book
        .begin("runs.append(1)\nprint('begun', flush=True)\ntime.sleep(2)\nprint('end')\n'first'");
    let second = book.begin("runs.append(2)\nlen(runs)");
    book.client.wait_for_words(book.id, "begun");
    world.daemon().kill();
    world.start_daemon();
    let cell = book.ended(first);
    assert_eq!((cell.outcome, text(&cell.stdout)), (Some(CellOutcome::Ok), "begun\nend\n".into()));
    assert_eq!(cell.results[0].data["text/plain"], "'first'");
    assert_eq!(book.ended(second).results[0].data["text/plain"], "2");
    assert_eq!(book.value("runs"), "[1, 2]");
    // One that ended while nobody was there.
    let third =
        book.begin("runs.append(3)\nprint('three', flush=True)\ntime.sleep(0.1)\nlen(runs)");
    book.client.wait_for_words(book.id, "three");
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(book.ended(third).results[0].data["text/plain"], "3");
    assert_eq!(book.value("runs"), "[1, 2, 3]");
    book.close();
}

#[test]
fn bash_and_node_keep_what_cells_leave_too() {
    let world = World::open();
    let bash = Notebook::open(&world, json!({"language": "bash"}));
    bash.run("x=5; mkdir d; cd d; f() { echo \"f $1\"; }");
    let cell = bash.run("f \"$x\"; pwd; (exit 3)");
    assert_eq!((text(&cell.stdout), cell.exit_status), ("f 5\n/workspace/d\n".into(), Some(3)));
    let number = bash.begin("echo begun; while :; do :; done");
    bash.client.wait_for_words(bash.id, "begun");
    bash.interrupt();
    assert_eq!(bash.ended(number).outcome, Some(CellOutcome::Interrupted));
    assert_eq!(text(&bash.run("echo $x").stdout), "5\n");
    let last = bash.run("echo bye; exit 7");
    assert_eq!((last.outcome, text(&last.stdout)), (Some(CellOutcome::Lost), "bye\n".into()));
    assert_eq!(bash.until_it_ends().outcome, Some(Outcome::Exited { code: 7 }));
    bash.close();
    let limits = json!({"memory_max": 1u64 << 30});
    let node = Notebook::open(&world, json!({"language": "node", "limits": limits}));
    node.run("const x = { a: 1 }");
    assert_eq!(node.value("x"), "{ a: 1 }");
    assert_eq!(node.value("const y = await Promise.resolve(7); y"), "7");
    let number = node.begin("console.log('begun'); while (true) {}");
    node.client.wait_for_words(node.id, "begun");
    node.interrupt();
    assert_eq!(node.ended(number).outcome, Some(CellOutcome::Interrupted));
    assert_eq!(node.value("y + 1"), "8");
    let cell = node.run("for (let i = 0; i < 1500; i++) display(i)");
    assert_eq!((cell.results.len(), cell.results_dropped), (500, 2000));
    let cell = node.run("null.f");
    assert_eq!(cell.error.expect("an error").name, "TypeError");
    node.close();
}

#[test]
fn an_interpreter_is_its_owner_s_has_bounds_and_ends_when_nobody_uses_it() {
    let world = World::open();
    let book = Notebook::open(&world, json!({"language": "bash", "idle_timeout": 1}));
    let stranger = world.agent(OTHER_AGENT);
    let foreign: Result<Interpreter, _> =
        ask(&stranger, "interpreter", "GET", &book.target(""), None);
    assert_eq!(foreign.expect_err("not theirs").code, ErrorCode::NotFound);
    let root: Result<Cell, _> = ask(
        &world.root(),
        "run_cell",
        "POST",
        &book.target("/cells"),
        Some(json!({"source": "id"})),
    );
    assert_eq!(root.expect_err("only its owner runs in it").code, ErrorCode::PermissionDenied);
    let ended = book.until_it_ends(); // within a minute, where the usual time is half an hour
    assert_eq!(ended.end, Some(InterpreterEnd::Idle));
    let (client, session) = (&book.client, book.session);
    for _ in 0..8 {
        create(client, session, json!({"language": "bash"})).expect("eight are the most");
    }
    let refused = create(client, session, json!({"language": "bash"})).expect_err("one too many");
    assert_eq!(refused.code, ErrorCode::Busy);
    let listed: InterpreterList = ask(
        client,
        "list_interpreters",
        "GET",
        &format!("/v1/sessions/{session}/interpreters"),
        None,
    )
    .expect("a list");
    assert_eq!(listed.interpreters.len(), 9);
    let wrong = create(client, session, json!({"language": "bash", "idle_timeout": 0}));
    assert_eq!(wrong.expect_err("no time at all").field.as_deref(), Some("idle_timeout"));
    book.close();
}
