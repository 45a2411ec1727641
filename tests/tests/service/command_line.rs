//! The command line against a real daemon, as an ordinary user of the host.

use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_tests::{AGENT, Account, OTHER_AGENT, Told, World, until_true};

/// A user's words to the daemon of this world.
fn command(user: &Account, world: &World, words: &[&str]) -> Command {
    let mut command = user.supervisorctl(words);
    command.env("SUPERVISORD_SOCKET", world.socket());
    command
}

fn told(user: &Account, world: &World, words: &[&str]) -> Told {
    Told::of(command(user, world, words))
}

#[test]
fn run_passes_output_and_status_through() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let shell = "echo out; echo err >&2; exit 42";
    let run = told(&user, &world, &["run", "--", "sh", "-c", shell]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(42), "out\n"));
    let summary = &run.stderr;
    assert!(summary.starts_with("err\n") && summary.contains("exited with status 42"), "{summary}");
    assert!(!summary.contains('\u{1b}'), "colours where there is no terminal: {summary}");
    for (words, status) in [
        ("run -q -- true", 0),
        ("run -q --time 300ms -- sleep 300", 124),
        ("run -q -- /etc/passwd", 126),
        ("run -q -- no-such-program", 127),
        ("run -q -- python3 -c __import__('os').abort()", 134),
        ("run -q --memory 1P -- true", 125),
        ("run -q --socket /nowhere -- true", 125),
    ] {
        let run = told(&user, &world, &words.split(' ').collect::<Vec<_>>());
        assert_eq!((run.code, run.stdout.as_str()), (Some(status), ""), "{words}: {run:?}");
    }
    for (words, status) in [
        ("--json status bad", 64),
        ("run --json", 125),
        ("--json shell --bad", 125),
        ("attach --json ex", 125),
        ("frobnicate --json", 64),
    ] {
        let refused = told(&user, &world, &words.split(' ').collect::<Vec<_>>());
        let error: serde_json::Value = serde_json::from_str(&refused.stdout).expect(words);
        assert_eq!(
            (refused.code, &error["error"]["code"]),
            (Some(status), &"usage".into()),
            "{words}: {refused:?}"
        );
    }
    let hog = "held = []\nwhile True: held.append(b'x' * (1 << 20))";
    let words = ["run", "-q", "--memory", "64M", "--", "python3", "-c", hog];
    let run = told(&user, &world, &words);
    // Where memory is watched by looking, a fast program may meet its own limit first.
    assert!([Some(137), Some(1)].contains(&run.code), "{run:?}");
}

#[test]
fn files_go_in_and_artifacts_come_out() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let program = "import sys\nrows = open(sys.argv[1]).read().split()\n\
                   open('sum.txt', 'w').write(str(sum(map(int, rows))))\nprint('done')\n";
    user.write("sum.py", program);
    user.write("data.txt", "1 2 3 4");
    let words = "run --json --language python --file data.txt --artifact *.txt \
                 --artifacts-to results sum.py data.txt";
    let run = told(&user, &world, &words.split_whitespace().collect::<Vec<_>>());
    assert_eq!(run.code, Some(0), "{run:?}");
    let result = run.json();
    assert_eq!(result["stdout"], "done\n");
    assert_eq!(result["execution"]["owner_uid"], user.uid());
    assert_eq!(user.read("results/sum.txt"), "10");
    let id = result["execution"]["id"].as_str().expect("an id");
    let list = told(&user, &world, &["artifacts", "list", "--json", id]).json();
    assert_eq!(list["artifacts"].as_array().map(Vec::len), Some(2), "{list}");
    let got = told(&user, &world, &["artifacts", "get", "--to", "again", id, "sum.txt"]);
    assert_eq!(got.code, Some(0), "{got:?}");
    assert_eq!(user.read("again/sum.txt"), "10");
}

#[test]
fn what_was_submitted_can_be_looked_at_followed_and_cancelled() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let shell = "echo begun; exec sleep 300";
    let submitted = told(&user, &world, &["submit", "-q", "--", "sh", "-c", shell]);
    let id = submitted.stdout.trim();
    let mut follower = Told::begun(command(&user, &world, &["output", "-f", id])).expect("live");
    assert_eq!(told(&user, &world, &["status", "--json", id]).json()["state"], "running");
    assert!(told(&user, &world, &["list", "--state", "running"]).stdout.contains(id));
    let other = Account::of(&world, OTHER_AGENT);
    let status = told(&other, &world, &["status", id]);
    assert!(status.code != Some(0) && !status.stdout.contains("running"), "{status:?}");
    assert_eq!(told(&other, &world, &["list", "-q"]).stdout, "");
    let cancelled = told(&user, &world, &["cancel", "--json", id]).json();
    assert_eq!(cancelled["outcome"]["type"], "cancelled");
    assert!(follower.wait().expect("it ends").success());
    assert_eq!(told(&user, &world, &["output", id]).stdout, "begun\n");
}

/// Ctrl-C ends the execution, and says so.
#[test]
fn an_interrupt_ends_the_execution_and_nothing_of_it_is_left() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let shell = "echo begun; sleep 300 & sleep 300";
    let words = ["run", "--", "sh", "-c", shell];
    let running = Told::begun(command(&user, &world, &words)).expect("live");
    let pid = Pid::from_raw(i32::try_from(running.id()).expect("a pid"));
    kill(pid, Signal::SIGINT).expect("signalled");
    let run = Told::from(running.wait_with_output().expect("it ends"));
    assert_eq!(run.code, Some(130), "{run:?}");
    let page = world.agent(AGENT).list("").expect("it may");
    let id = page.executions.first().expect("one").id;
    until_true("nothing runs any more", || world.processes_of(id).is_empty());
}

#[test]
fn doctor_names_every_control_and_how_to_get_what_is_missing() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let shown = told(&user, &world, &["doctor"]);
    let doctor = told(&user, &world, &["doctor", "--json"]).json();
    assert_eq!(shown.code, Some(if doctor["healthy"] == true { 0 } else { 1 }));
    for line in doctor["controls"].as_array().expect("controls") {
        for word in [&line["control"], &line["remedy"]] {
            let word = word.as_str().unwrap_or_default();
            assert!(shown.stdout.contains(word), "{word} in {}", shown.stdout);
        }
    }
}

#[test]
fn what_the_daemon_refuses_is_told_with_field_and_status() {
    let world = World::open();
    let user = Account::of(&world, AGENT);
    let refused = told(&user, &world, &["run", "--memory", "1024G", "--", "true"]);
    assert!(refused.stderr.contains("limits.memory_max"), "{refused:?}");
    let everybodys = told(&user, &world, &["list", "--all"]);
    assert_eq!(everybodys.code, Some(77), "{everybodys:?}");
    let unreachable = told(&user, &world, &["list", "--socket", "/nowhere"]);
    assert_eq!(unreachable.code, Some(69), "{unreachable:?}");
}
