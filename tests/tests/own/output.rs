//! Output whose daemon dies.

use std::io::ErrorKind;

use supervisor_tests::{AGENT, Selection, World, attack};

/// The daemon's death is no end of the output: whoever follows can tell the difference.
#[test]
fn an_answer_that_is_cut_off_does_not_look_like_the_end_of_the_output() {
    let mut world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&attack("print('up', flush=True)\nsignal.pause()"));
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("it can be followed");
    follow.until_it_says("up\n");
    world.daemon().kill();
    let error = follow.to_the_end().expect_err("an end that isn't one");
    let kinds = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&error.kind()), "{error}");
    world.start_daemon();
}
