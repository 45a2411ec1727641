//! Started twice by mistake: the second one says who has what it wants, and takes nothing away from the first.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use supervisor_api::{Outcome, State};
use supervisor_tests::{AGENT, Settings, World, argv, bash};

/// FT-31. The same configuration, also where the launcher would take one more daemon.
#[test]
fn a_second_daemon_is_refused_and_the_first_is_reached_as_before() {
    let world = World::with(Settings { metrics: true, ..Settings::default() });
    let agent = world.agent(AGENT);
    let running = agent.start(&bash("exec sleep 600"));
    let configuration = world.path().join("config.toml");
    let words = world.second_daemon(&configuration);
    assert!(words.contains("is in use by another daemon; stop that one first"), "{words}");
    assert_eq!(agent.status(running, 0).expect("it is reached").state, State::Running);
    UnixStream::connect(world.path().join("run/metrics.sock")).expect("it is reached");
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
}

/// A configuration with an empty state of its own, and all else as the first one's.
fn with_another_state(world: &World) -> PathBuf {
    let (state, other) = (world.state(), world.path().join("other"));
    fs::create_dir(&other).expect("made");
    let owner = fs::metadata(&state).expect("it is there");
    chown(&other, Some(owner.uid()), Some(owner.gid())).expect("root may");
    fs::set_permissions(&other, owner.permissions()).expect("root may");
    let text = fs::read_to_string(world.path().join("config.toml")).expect("it is there");
    let path = |path: &Path| format!("state = {:?}", path.display().to_string());
    let configuration = world.path().join("other.toml");
    fs::write(&configuration, text.replace(&path(&state), &path(&other))).expect("written");
    configuration
}

/// FT-31. With a state of its own, in which nothing of what runs is known: waiting for the first one's launcher it
/// would be the next when that is restarted, and end all that runs.
#[test]
fn a_daemon_of_another_state_is_refused_by_a_launcher_that_serves_one() {
    let mut world = World::with(Settings::default());
    let agent = world.agent(AGENT);
    let running = agent.start(&bash("echo begun; exec sleep 600"));
    agent.wait_for_words(running, "begun");
    let words = world.second_daemon(&with_another_state(&world));
    assert!(words.contains("it serves another daemon already"), "{words}");
    assert!(words.contains("stop that one first"), "{words}");
    // Nor does anything of it stay behind that would be heard next.
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
}

/// FT-32. With one state known and the other not: no session tells them apart.
#[test]
fn a_start_with_another_state_is_refused_while_programs_run_of_which_it_knows_nothing() {
    let mut world = World::with(Settings::default());
    let agent = world.agent(AGENT);
    let running = agent.start(&bash("echo begun; exec sleep 600"));
    agent.wait_for_words(running, "begun");
    let configuration = with_another_state(&world);
    world.daemon().kill();
    let words = world.second_daemon(&configuration);
    assert!(
        words.contains("of the programs that run at the launcher (1) none is known"),
        "{words}"
    );
    assert!(words.contains("stop the launcher"), "{words}");
    world.start_daemon();
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
}

/// FT-31. Over the same directory, behind the same name, or both.
#[test]
fn a_second_launcher_is_refused_and_what_runs_stays_with_the_first() {
    let mut world = World::with(Settings::default());
    let agent = world.agent(AGENT);
    let running = agent.start(&bash("exec sleep 600"));
    let (socket, workspaces) =
        (world.path().join("run/launcher.sock"), world.path().join("workspaces"));
    let (elsewhere, other) = (world.path().join("elsewhere.sock"), world.path().join("other"));
    fs::create_dir(&other).expect("made");
    for (socket, workspaces, object) in [
        (&socket, &workspaces, "for workspaces"),
        (&elsewhere, &workspaces, "for workspaces"),
        (&socket, &other, "can't listen on"),
    ] {
        let words = world.second_launcher(socket, workspaces);
        assert!(words.contains(object), "{words}");
        assert!(words.contains("another process has it; stop that one first"), "{words}");
    }
    assert!(!elsewhere.exists());
    // The next daemon finds the launcher that has what runs.
    world.daemon().kill();
    world.start_daemon();
    assert_eq!(agent.status(running, 0).expect("it is ours").state, State::Running);
    let cancelled = agent.cancel(running).expect("it is ours");
    assert_eq!(cancelled.outcome, Some(Outcome::Cancelled));
    assert_eq!(agent.run(&argv(&["true"])).execution.outcome, Some(Outcome::Exited { code: 0 }));
}
