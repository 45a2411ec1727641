//! Daemons of the version before, and such as were taken over.

use supervisor_launch::{Applied, Reply, Request, Workspace};

use crate::launcher::{Launcher, prepare};

#[test]
fn a_daemon_of_version_2_gets_sandboxes_and_answers_in_its_own_version() {
    let launcher = Launcher::start();
    let request = prepare(Workspace::Memory, 1 << 20, 33);
    let execution = request.execution;
    let (bytes, fds) = launcher.exchange(&Request::Prepare(request).encode(2).unwrap());
    let (version, reply) = Reply::decode(&bytes).unwrap();
    let Reply::Prepared { applied: Applied { descriptors, .. }, .. } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!((version, descriptors.count_ones() as usize), (2, fds.len()));
    let list = launcher.exchange(&Request::List.encode(2).unwrap()).0;
    assert_eq!(Reply::decode(&list), Ok((2, Reply::List { executions: vec![execution] })));
    let (bytes, _) = launcher.exchange(&Request::Destroy { execution }.encode(2).unwrap());
    assert_eq!(Reply::decode(&bytes), Ok((2, Reply::Destroyed { execution })));
    assert!(launcher.kept().is_empty()); // the same connection may go on in another
}

#[test]
fn a_daemon_that_reads_no_answers_does_not_stop_the_launcher() {
    let mut launcher = Launcher::start();
    launcher.flood();
    let _first = launcher.connect(); // and it stays connected
    assert!(launcher.answers());
}

/// FT-31. Kept waiting it would be the next, and with a state of its own it would end what runs.
#[test]
fn a_second_daemon_is_refused_and_the_one_after_the_first_is_heard() {
    let mut launcher = Launcher::start();
    assert!(launcher.answers());
    let first = launcher.connect();
    assert!(launcher.is_refused());
    launcher.go_back(first);
    assert!(launcher.answers(), "the first one is served as before");
    launcher.reconnect();
    assert!(launcher.answers());
}
