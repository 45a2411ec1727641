//! How a cell's end is told: its error and its value have bounds, and what of them is the cell's own may throw,
//! loop, or give what is no text. The interpreter has its variables afterwards.

use serde_json::{Value, json};
use supervisor_api::{Cell, CellOutcome};
use supervisor_tests::World;

use super::{Notebook, create, text};

/// Bytes of an error, as its interpreter tells it.
const ERROR: usize = 512 << 10;

/// Characters of its name.
const NAME: usize = 1024;

impl Notebook {
    fn node(world: &World) -> Self {
        let limits = json!({"memory_max": 1u64 << 30});
        Self::open(world, json!({"language": "node", "limits": limits}))
    }

    /// Runs cells that end as they should, and none of them with the interpreter.
    #[track_caller]
    fn ends(&self, outcome: CellOutcome, sources: &[&str], more: &Value) -> Vec<Cell> {
        let ended = sources.iter().map(|source| {
            let mut request = json!({"source": source, "wait": true});
            request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let cell = self.try_run(request).expect("it is taken");
            assert_eq!(cell.outcome, Some(outcome), "{source}: {:?}", cell.error);
            assert_eq!(self.value("kept + 1"), "42", "{source}");
            cell
        });
        ended.collect()
    }

    /// Runs cells that end by an error of so many bytes at the most.
    #[track_caller]
    fn fails(&self, sources: &[&str]) -> Vec<Cell> {
        let cells = self.ends(CellOutcome::Error, sources, &json!({}));
        for cell in &cells {
            let error = cell.error.as_ref().expect("an error");
            let bytes = serde_json::to_vec(error).expect("JSON").len();
            assert!(bytes < ERROR + 1024, "{bytes} of {}", cell.source);
            assert!(error.name.chars().count() <= NAME, "{}", cell.source);
        }
        cells
    }
}

#[test]
fn an_error_however_long_is_cut_to_its_bounds_and_the_variables_stay() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value("kept = 41");
    let cells = book.fails(&[
        "display('a' * 1_900_000)\nraise ValueError('\\n'.join(['\\x01' * 4096] * 200))",
        "raise ValueError('\\n'.join(['\\U0001F600' * 4096] * 200))",
        "raise ValueError('\\n'.join(['\\ud800' * 4096] * 200))",
        "raise type('n' * 4_000_000, (Exception,), {})('x')",
        "raise ValueError('\\n'.join(str(line) for line in range(1000)))",
    ]);
    assert_eq!(cells[0].results.len(), 1);
    let lines = &cells[4].error.as_ref().expect("an error").traceback;
    assert_eq!((lines.len(), lines[200].as_str()), (201, "999"));
    assert_eq!(lines[100], "(803 lines left out)");
    book.close();
    let node = Notebook::node(&world);
    node.run("const kept = 41");
    let cells = node.fails(&[
        "display('a'.repeat(900_000)); throw new Error(('\\x01'.repeat(4096) + '\\n').repeat(200))",
        "throw new Error('a' + '\\u{1F600}'.repeat(20_000))", // cut within a pair of surrogates
        "throw new Error('\\ud800'.repeat(20_000))",
        "throw Object.assign(new Error('x'), { name: 'n'.repeat(4_000_000) })",
        "throw new Error('line\\n'.repeat(1000))",
    ]);
    assert_eq!(cells[0].results.len(), 1);
    let lines = &cells[4].error.as_ref().expect("an error").traceback;
    assert!(lines.len() == 201 && lines[200].ends_with("lines left out)"), "{lines:?}");
    node.close();
}

#[test]
fn what_throws_while_it_is_shown_ends_its_cell_with_an_error_and_nothing_more() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value("kept = 41");
    let cells = book.fails(&[
        "class E(Exception):\n    def __str__(self): raise OSError\nraise E()",
        "class E(Exception):\n    def __str__(self): return 5\nraise E()",
        "class S(str):\n    def __getitem__(self, at): raise OSError\n\
         class E(Exception):\n    def __str__(self): return S('y' * 5_000_000)\nraise E()",
        "class M(type): __name__ = property(lambda c: 1 / 0)\n\
         class E(Exception, metaclass=M): pass\nraise E()",
        "class E(Exception): __traceback__ = __class__ = property(lambda e: 1 / 0)\nraise E()",
        "class R:\n    def __repr__(self): return 5\nR()",
        "class R:\n    def _repr_html_(self): raise SystemExit(3)\nR()",
    ]);
    let names: Vec<_> =
        cells.iter().map(|cell| cell.error.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(names, ["E", "E", "E", "E", "E", "TypeError", "SystemExit"]);
    assert_eq!(cells[0].error.as_ref().unwrap().value, "(its text can't be told)");
    let sources = ["import sys; del sys.stdout", "sys.stderr = object()"];
    book.ends(CellOutcome::Ok, &sources, &json!({}));
    book.close();
    let node = Notebook::node(&world);
    node.run("const kept = 41; const custom = require('util').inspect.custom");
    let cells = node.fails(&[
        "({ [custom]() { throw new TypeError('no') } })",
        "throw { [custom]() { throw new TypeError('no') } }",
        "throw Object.defineProperty(new Error('x'), 'message', { get() { throw 1 } })",
        "throw Object.assign(new Error('x'), { name: { toString() { throw 1 } } })",
        "throw new Proxy({}, { get() { throw 1 }, has() { throw 2 }, getPrototypeOf() { throw 3 } })",
        "const revoked = Proxy.revocable({}, {}); revoked.revoke(); throw revoked.proxy",
        "await Promise.reject(new Proxy({}, { get() { throw 1 }, getPrototypeOf() { throw 3 } }))",
        "throw 0",
        "Object.prototype.toJSON = () => { throw 1 }; throw new Error('x')",
    ]);
    let values: Vec<_> = cells.iter().map(|cell| &cell.error.as_ref().unwrap().value).collect();
    assert_eq!((values[0].as_str(), values[8].as_str()), ("no", "x"));
    let cell = node.run("// no\nnull.f");
    let lines = cell.error.expect("an error").traceback;
    assert_eq!(lines[1..3], ["null.f", "     ^"], "{lines:?}");
    node.close();
}

#[test]
fn files_of_the_workspace_with_the_names_of_python_s_own_modules_are_not_what_runs_cells() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value(
        "for name in 'ast', 'asyncio', 'linecache', 'tokenize', 'traceback':\n    \
         open(name + '.py', 'w').write('raise SystemExit')",
    );
    let id = create(&book.client, book.session, json!({"language": "python"}));
    let book = Notebook { id: id.expect("an interpreter").id, ..book };
    book.value("kept = 41\nclass Ready:\n    def __await__(self): yield from ()");
    let cells = book.fails(&["await Ready()\n1 / 0"]);
    let lines = &cells[0].error.as_ref().expect("an error").traceback;
    assert!(lines.iter().any(|line| line.contains("1 / 0")), "{lines:?}");
    book.close();
}

#[test]
fn what_never_ends_while_it_is_shown_is_interrupted_as_any_cell() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value("kept = 41");
    let soon = json!({"wall_time": 300});
    book.ends(
        CellOutcome::TimedOut,
        &[
            "class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E()",
            "class R:\n    def __repr__(self):\n        while True: pass\nR()",
        ],
        &soon,
    );
    book.close();
    let node = Notebook::node(&world);
    node.run("const kept = 41; const custom = require('util').inspect.custom");
    node.ends(
        CellOutcome::TimedOut,
        &[
            "({ [custom]() { for (;;); } })",
            "({ toJSON() { for (;;); } })",
            "throw { get message() { for (;;); } }",
            "throw Object.defineProperty(new Error('x'), 'stack', { get() { for (;;); } })",
        ],
        &soon,
    );
    node.close();
}

#[test]
fn no_name_that_a_bash_cell_takes_stands_in_the_way_of_its_end() {
    let world = World::open();
    let bash = Notebook::open(&world, json!({"language": "bash"}));
    let cell = bash.run("kept=41; readonly status=hello word=fine; printf() { :; }; (exit 3)");
    assert_eq!((cell.outcome, cell.exit_status), (Some(CellOutcome::Ok), Some(3)));
    assert_eq!(text(&bash.run("echo $((kept + 1))").stdout), "42\n");
    bash.close();
}

#[test]
fn what_a_cell_puts_in_the_place_of_a_function_of_the_language_is_not_what_tells_its_end() {
    let world = World::open();
    let book = Notebook::python(&world);
    book.value("import json, os\nkept = 41\njson.dumps = json.loads = os.write = None");
    assert_eq!(book.value("kept"), "41");
    book.close();
    let node = Notebook::node(&world);
    node.value("const kept = 41; JSON.stringify = null; 0");
    assert_eq!(node.value("kept"), "41");
    // What it can't do without ends it at once, and keeps nobody waiting for the cell's time.
    drop(node.try_run(json!({"source": "Object.values = null; 1", "wait": true})));
    assert_ne!(node.until_it_ends().end, None);
    node.close();
}

/// Bash forgets an interrupt that comes while it starts a command, which a loop of short ones does most of the time.
#[test]
fn an_interrupt_ends_a_bash_cell_that_starts_one_program_after_the_other() {
    let world = World::open();
    // Few descriptors are enough for the two shells.
    let limits = json!({"open_files": 16});
    let bash = Notebook::open(&world, json!({"language": "bash", "limits": limits}));
    bash.run("x=5");
    for _ in 0..5 {
        let number =
            bash.begin("echo begun; while :; do /bin/true; echo a | cat > /dev/null; done");
        bash.client.wait_for_words(bash.id, "begun");
        bash.interrupt();
        assert_eq!(bash.ended(number).outcome, Some(CellOutcome::Interrupted));
        let cell = bash.run("echo $x");
        assert_eq!((text(&cell.stdout), cell.exit_status), ("5\n".to_owned(), Some(0)));
    }
    bash.close();
}

#[test]
fn an_interrupt_that_comes_before_bash_has_begun_ends_the_cell_alone() {
    let world = World::open();
    for wall_time in [1, 2, 3, 5, 8, 13] {
        let bash = Notebook::open(&world, json!({"language": "bash"}));
        let slow = json!({"source": "x=lost; sleep 60", "wait": true, "wall_time": wall_time});
        let cell = bash.try_run(slow).expect("it is taken");
        assert_eq!(cell.outcome, Some(CellOutcome::TimedOut), "{wall_time} ms");
        let cell = bash.run("echo kept");
        assert_eq!((text(&cell.stdout), text(&cell.stderr)), ("kept\n".into(), String::new()));
        bash.close();
    }
}

/// `set -k` takes arguments like a=b away from every command, those of the runner as well.
#[test]
fn a_bash_cell_may_have_arguments_taken_for_variables() {
    let world = World::open();
    let bash = Notebook::open(&world, json!({"language": "bash"}));
    bash.run("set -k");
    let cell = bash.run("printf '[%s]' one a=two; printenv a; echo $- | tr -cd k");
    assert_eq!((text(&cell.stdout), cell.exit_status), ("[one]k".to_owned(), Some(0)));
    bash.close();
}

/// What the runner does around a cell is nobody's to read.
#[test]
fn a_bash_cell_that_has_its_commands_said_hears_of_none_but_its_own() {
    let world = World::open();
    let bash = Notebook::open(&world, json!({"language": "bash"}));
    let said = |source: &str| {
        let cell = bash.run(source);
        (text(&cell.stdout), text(&cell.stderr), cell.exit_status)
    };
    let told = |stdout: &str, stderr: &str, status| (stdout.to_owned(), stderr.to_owned(), status);
    assert_eq!(said("set -x; echo one"), told("one\n", "++ echo one\n", Some(0)));
    assert_eq!(said("(exit 3)"), told("", "++ exit 3\n", Some(3)));
    assert_eq!(said("PS4='$(echo P >&2)- '"), told("", "++ PS4='$(echo P >&2)- '\n", Some(0)));
    assert_eq!(said("echo $-"), told("hixBs\n", "P\n-- echo hixBs\n", Some(0)));
    let wrong = said("if").1;
    assert!(wrong.ends_with("syntax error: unexpected end of file\n"), "{wrong}");
    assert_eq!(wrong.lines().count(), 1, "{wrong}");
    // Bash goes on with what it has of a word that is not closed.
    for source in ["echo 'a", "echo `a", "[[ a", "((1+"] {
        assert_eq!(bash.run(source).exit_status, Some(2), "{source}");
    }
    assert_eq!(said("set +x; set -v"), told("", "P\n-- set +x\n", Some(0)));
    assert_eq!(said("echo a\n# b"), told("a\n", "echo a\n# b\n", Some(0)));
    // Nothing is forked while the interrupt may come: bash forgets `x` while a command in its PS4 is interrupted, and
    // goes on in a loop whose command was not yet begun.
    let number = bash.begin("PS4='- '; mkfifo never; exec 9<>never; set -x; echo begun; read -u 9");
    bash.client.wait_for_words(bash.id, "begun");
    bash.interrupt();
    assert_eq!(bash.ended(number).outcome, Some(CellOutcome::Interrupted));
    assert_eq!(said("set +xv; :").1, "set +xv; :\n-- set +xv\n");
    assert_eq!(said("trap 'echo said' DEBUG"), told("", "", Some(0)));
    assert_eq!(
        said("echo it; trap - DEBUG").0,
        "said\nsaid\nit\nsaid\n",
        "the cell and its commands"
    );
    assert_eq!(said("echo quiet"), told("quiet\n", "", Some(0)));
    bash.close();
}
