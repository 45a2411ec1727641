//! The Python client: built as a wheel, installed into an environment of its own, and used.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use supervisor_tests::{Settings, World, python_packages};
use tempfile::TempDir;

/// The files of the client.
const FILES: [(&str, &str); 15] = [
    ("pyproject.toml", include_str!("../../supervisorctl/python/pyproject.toml")),
    ("build_wheel.py", include_str!("../../supervisorctl/python/build_wheel.py")),
    ("make_blocking.py", include_str!("../../supervisorctl/python/make_blocking.py")),
    ("supervisord/__init__.py", include_str!("../../supervisorctl/python/supervisord/__init__.py")),
    (
        "supervisord/_blocking.py",
        include_str!("../../supervisorctl/python/supervisord/_blocking.py"),
    ),
    ("supervisord/_waiting.py", include_str!("../../supervisorctl/python/supervisord/_waiting.py")),
    ("supervisord/aio.py", include_str!("../../supervisorctl/python/supervisord/aio.py")),
    ("supervisord/client.py", include_str!("../../supervisorctl/python/supervisord/client.py")),
    ("supervisord/errors.py", include_str!("../../supervisorctl/python/supervisord/errors.py")),
    ("supervisord/types.py", include_str!("../../supervisorctl/python/supervisord/types.py")),
    ("supervisord/py.typed", include_str!("../../supervisorctl/python/supervisord/py.typed")),
    ("examples/reflect.py", include_str!("../../supervisorctl/python/examples/reflect.py")),
    ("examples/notebook.py", include_str!("../../supervisorctl/python/examples/notebook.py")),
    (
        "examples/smolagents_executor.py",
        include_str!("../../supervisorctl/python/examples/smolagents_executor.py"),
    ),
    (
        "examples/deepagents_backend.py",
        include_str!("../../supervisorctl/python/examples/deepagents_backend.py"),
    ),
];

/// What the types are checked with.
const CHECKER: &str = "ast_serialize==0.13.1\nlibrt==0.16.0\nmypy==2.4.1\nmypy_extensions==1.2.0\n\
                       pathspec==1.1.1\ntyping_extensions==4.16.0\n";

/// Under which a program may ask for what it is refused.
const ASKS: &str = r#"
name = "asks"
extends = "default"

[[egress]]
name = "one-host"
hosts = ["allowed.example.com"]
protocols = ["http"]
ports = [80]
"#;

/// The client's files, and an environment that has its wheel.
struct Laid {
    directory: TempDir,
}

impl Laid {
    #[track_caller]
    fn out() -> Self {
        let laid = Self { directory: tempfile::tempdir().expect("a directory") };
        for (name, text) in FILES {
            let path = laid.path().join(name);
            fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
            fs::write(path, text).expect("a file");
        }
        laid
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn python(&self) -> Command {
        let mut python = Command::new("/usr/bin/python3");
        python.current_dir(self.path()).env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    /// The Python of an environment into which the wheel is installed.
    #[track_caller]
    fn installed(&self) -> PathBuf {
        let mut build = self.python();
        let wheel = says(build.args(["build_wheel.py", "."]));
        says(self.python().args(["-m", "venv", "--without-pip", "environment"]));
        let python = self.path().join("environment/bin/python");
        let mut pip = self.python();
        pip.args(["-m", "pip", "--python"]).arg(&python);
        says(pip.args([
            "install",
            "--quiet",
            "--no-index",
            "--disable-pip-version-check",
            wheel.trim(),
        ]));
        python
    }
}

#[track_caller]
fn says(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let words = String::from_utf8_lossy(&output.stderr);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{words}", output.status);
    said
}

fn world() -> World {
    let policies = [
        ("default", include_str!("../../policies/default.toml")),
        ("floor", include_str!("../../policies/floor.toml")),
        ("asks", ASKS),
    ];
    let policies = policies.map(|(name, text)| (format!("{name}.toml"), text.to_owned()));
    World::with(Settings { policies: policies.to_vec(), ..Settings::default() })
}

#[test]
fn the_wheel_does_what_it_says_blocking_and_by_asyncio() {
    let laid = Laid::out();
    let python = laid.installed();
    for story in
        [include_str!("python_client/blocking.py"), include_str!("python_client/waiting.py")]
    {
        let world = world();
        let mut run = Command::new(&python);
        // Only what is installed is to be found.
        says(run.args(["-I", "-c", story]).env("SUPERVISORD_SOCKET", world.socket()));
    }
}

#[test]
fn the_examples_run() {
    let laid = Laid::out();
    let python = laid.installed();
    let world = world();
    let run = |name: &str| {
        let mut example = Command::new(&python);
        says(example.arg(laid.path().join(name)).env("SUPERVISORD_SOCKET", world.socket()))
    };
    let said = run("examples/reflect.py");
    assert!(said.contains("attempt 3: exited 0\nanswer: 3.0\n"), "{said}");
    assert_eq!(run("examples/notebook.py"), "8 40\n");
}

#[test]
fn agents_of_two_frameworks_work_in_a_sandbox() {
    let laid = Laid::out();
    let python = laid.installed();
    let world = world();
    let run = |name: &str, pins: &str| {
        let mut example = Command::new(&python);
        example.arg(laid.path().join(name)).env("SUPERVISORD_SOCKET", world.socket());
        says(example.env("PYTHONPATH", python_packages(env!("CARGO_TARGET_TMPDIR"), pins)))
    };
    let said = run("examples/smolagents_executor.py", include_str!("python_client/smolagents.txt"));
    assert_eq!(said, "steps that failed: 1 answer: 18.0\n");
    let said = run("examples/deepagents_backend.py", include_str!("python_client/deepagents.txt"));
    for expected in [
        "write_file: Updated file /workspace/mean.py",
        "edit_file: Successfully replaced 2 instance(s)",
        "grep: /workspace/mean.py",
        "'/workspace/data.txt'",
        "execute: 3.0\ncurl: (6)",
        "Command failed with exit code 6",
    ] {
        assert!(said.contains(expected), "{expected}\n{said}");
    }
}

#[test]
fn both_clients_are_of_one_source_and_the_same_files_make_the_same_wheel() {
    let laid = Laid::out();
    says(laid.python().args(["make_blocking.py", "--check"]));
    let wheel =
        || fs::read(laid.path().join(says(laid.python().args(["build_wheel.py", "."])).trim()));
    assert_eq!(wheel().expect("a wheel"), wheel().expect("a wheel"));
}

#[test]
fn the_types_are_whole() {
    let laid = Laid::out();
    let packages = python_packages(env!("CARGO_TARGET_TMPDIR"), CHECKER);
    let mut check = laid.python();
    check.args(["-m", "mypy", "--strict", "--cache-dir=/dev/null", "supervisord", "examples"]);
    says(check.env("PYTHONPATH", packages));
}
