//! Started twice by mistake: the second one says who has what it wants, and takes nothing away from the first.

use std::fs;
use std::os::unix::net::UnixStream;

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
