//! A daemon that was taken over, which asks for anything at any time.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use supervisor_launch::{Kept, MAX_MESSAGE, Reply, Request, Step, VERSION, Workspace};

use crate::launcher::{Launcher, OWNER, prepare};

/// As many things are said. The same ones each time.
const SAID: u32 = 200;

/// What the launcher has, as far as its answers tell.
#[derive(Default)]
struct Known {
    live: BTreeSet<u128>,
    kept: BTreeSet<u128>,
    /// In which workspace a sandbox is.
    within: Vec<(u128, u128)>,
}

/// Marsaglia's xorshift64: good enough to choose what is said.
struct Choices(u64);

impl Choices {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// One of few, so that most are there or were.
fn small(choices: &mut Choices) -> u128 {
    1 + u128::from(choices.below(3))
}

/// AP-31, twice: the second time it has all that it keeps for the next one, and may have no more in the end.
#[test]
fn whatever_a_daemon_says_in_whatever_order_is_answered_by_what_there_is() {
    let mut launcher = Launcher::start();
    let descriptors = [(); 2].map(|()| {
        talk(&mut launcher);
        assert_eq!(launcher.on_disk(), 0);
        launcher.expect_no_devices();
        launcher.descriptors()
    });
    assert_eq!(descriptors[0], descriptors[1], "it keeps descriptors of what is gone");
}

fn talk(launcher: &mut Launcher) {
    let (mut known, mut choices) = (Known::default(), Choices(0x5eed));
    for _ in 0..SAID {
        let (id, other) = (small(&mut choices), small(&mut choices));
        match choices.below(12) {
            0..=2 => say_prepare(launcher, &mut known, id, other, choices.below(3)),
            3 | 4 => say_destroy(launcher, &mut known, id),
            5 => say_of_living(launcher, &known, id),
            6 => say_make(launcher, &mut known, id),
            7 => say_remove(launcher, &mut known, id),
            8 => {
                let granted = launcher.ask(Request::Grant { id });
                assert_eq!(granted.is_ok(), known.kept.contains(&id), "{granted:?}");
            }
            9 => {
                let key = [choices.below(256) as u8; 32];
                let found = launcher.ask(Request::FindImage { key }).err();
                assert_eq!(found, Some((Step::FindImage, 0)), "there are no images here");
            }
            10 => say_nonsense(launcher, &mut choices),
            _ => launcher.reconnect(),
        }
        expect_lists(launcher, &known);
    }
    for id in known.live.clone() {
        say_destroy(launcher, &mut known, id);
    }
    for id in known.kept.clone() {
        say_remove(launcher, &mut known, id);
    }
    expect_lists(launcher, &known);
}

fn say_prepare(launcher: &Launcher, known: &mut Known, id: u128, other: u128, where_to: u64) {
    let workspace = match where_to {
        0 => Workspace::Memory,
        1 => Workspace::Disk,
        _ => Workspace::Kept(other),
    };
    let request = prepare(workspace, 1 << 20, 33);
    let request = supervisor_launch::Prepare { execution: id, ..request };
    let answer = launcher.ask(Request::Prepare(request));
    let is_kept = matches!(workspace, Workspace::Kept(_));
    let expected = match () {
        () if known.live.contains(&id) => Some((Step::Admit, 0)),
        () if is_kept && !known.kept.contains(&other) => Some((Step::FindWorkspace, 0)),
        () => None,
    };
    assert_eq!(answer.err(), expected, "{workspace:?} for {id}");
    if expected.is_none() {
        known.live.insert(id);
        known.within.extend(is_kept.then_some((id, other)));
    }
}

fn say_destroy(launcher: &Launcher, known: &mut Known, id: u128) {
    let answer = launcher.ask(Request::Destroy { execution: id });
    let expected = (!known.live.remove(&id)).then_some((Step::Find, 0));
    assert_eq!(answer.err(), expected, "{id}");
    known.within.retain(|(execution, _)| *execution != id);
}

fn say_of_living(launcher: &Launcher, known: &Known, id: u128) {
    let expected = (!known.live.contains(&id)).then_some((Step::Find, 0));
    assert_eq!(launcher.ask(Request::Adopt { execution: id }).err(), expected, "{id}");
    assert_eq!(launcher.ask(Request::CloseInput { execution: id }).err(), expected, "{id}");
}

fn say_make(launcher: &Launcher, known: &mut Known, id: u128) {
    let kept = Kept { id, owner: OWNER, bytes: 1 << 20, inodes: 33 };
    let answer = launcher.ask(Request::MakeWorkspace(kept));
    let expected = (!known.kept.insert(id)).then_some((Step::MakeDisk, 0));
    assert_eq!(answer.err(), expected, "{id}");
}

fn say_remove(launcher: &Launcher, known: &mut Known, id: u128) {
    let answer = launcher.ask(Request::RemoveWorkspace { id });
    let is_used = known.within.iter().any(|(_, workspace)| *workspace == id);
    let expected = match () {
        () if is_used => Some((Step::RemoveWorkspace, nix::libc::EBUSY)),
        () if !known.kept.remove(&id) => Some((Step::FindWorkspace, 0)),
        () => None,
    };
    assert_eq!(answer.err(), expected, "{id}");
}

/// What is no request, and a request that brings a descriptor, end the connection and nothing else.
fn say_nonsense(launcher: &mut Launcher, choices: &mut Choices) {
    let list = Request::List.encode(VERSION).unwrap();
    let long = vec![0; MAX_MESSAGE + 1];
    match choices.below(6) {
        0 => launcher.babble(&[], &[]),
        1 => launcher.babble(&[0xff; 7], &[]),
        2 => launcher.babble(&[list.as_slice(), &[0]].concat(), &[]),
        3 => launcher.babble(list.get(..2).unwrap(), &[]),
        4 => launcher.babble(&long, &[]),
        _ => {
            let root = std::fs::File::open("/").unwrap();
            launcher.babble(&list, &[root.as_fd(); 8]);
        }
    }
}

fn expect_lists(launcher: &Launcher, known: &Known) {
    let Ok((Reply::List { executions }, _)) = launcher.ask(Request::List) else {
        panic!("no list");
    };
    assert_eq!(executions.into_iter().collect::<BTreeSet<_>>(), known.live);
    assert_eq!(launcher.kept().into_iter().collect::<BTreeSet<_>>(), known.kept);
}
