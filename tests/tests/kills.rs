//! FT-01, at every step: the daemon dies at each of the points that its own work names, and at moments that
//! chance picks, and whatever a caller was told before is so after.
//!
//! The points are in debug builds only (`supervisord --fault-points`). `SUPERVISOR_KILLS=N` makes N runs of
//! chance instead of a few, and has each point reached up to four times before the daemon dies;
//! `SUPERVISOR_SIEGE=SECONDS` has the daemon killed under load for so long.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by a panic, and so does what it stands on"
)]

#[path = "kills/siege.rs"]
mod siege;
#[path = "kills/story.rs"]
mod story;
#[path = "kills/truth.rs"]
mod truth;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use supervisor_api::SubmitRequest;
use supervisor_tests::{AGENT, Client, Settings, Told, World, bash, program};

use crate::siege::{Caller, Chance};
use crate::story::{Kind, SLOW, Story};
use crate::truth::names_in;

/// Worlds that go through the points at the same time: most of it is waiting for the disk.
const WORLDS: usize = 3;

/// Runs of chance where nobody says how many.
const FEW: u32 = 4;

/// Seconds of a siege where nobody says how many, and how many submit meanwhile.
const SHORT_SIEGE: u64 = 6;
const SIEGE_CALLERS: u32 = 6;

/// How long a daemon may take to be back, on the median of all restarts.
const BACK: Duration = Duration::from_secs(2);

/// Points of applying changes, of waiting for a turn, and of a start that has something to take over: they have
/// tests of their own.
const ELSEWHERE: [&str; 13] = [
    "ChangesStaged",
    "ApplyingNoted",
    "ChangePlaced",
    "ChangesCommitted",
    "ChangesSettled",
    "SessionsRecovered",
    "StrangersDestroyed",
    "ExecutionAdopted",
    "ExecutionWrittenOff",
    "BeginRecorded",
    "ExecutionQueuedAgain",
    "EndResumed",
    "FilesSwept",
];

fn points() -> Vec<String> {
    let mut command = Command::new(program("supervisord"));
    command.arg("--fault-points");
    let told = Told::of(command);
    assert_eq!(
        told.code,
        Some(0),
        "this supervisord knows no points to die at; it has to be a debug build: {}",
        told.stderr
    );
    told.stdout.lines().map(str::to_owned).collect()
}

/// How many runs somebody asked for.
fn asked() -> Option<u32> {
    let asked = std::env::var("SUPERVISOR_KILLS").ok()?;
    Some(asked.parse().expect("SUPERVISOR_KILLS is a number"))
}

/// A supervisor that dies and comes back, again and again.
struct Stage {
    world: World,
    /// What is in the directory of workspaces when there is no session.
    workspaces: BTreeSet<String>,
}

impl Stage {
    fn open() -> Self {
        // The daemon may die with sandboxes parked, and over one that is claimed.
        let tables = "[warm]\nparked = 2\n".to_owned();
        let world = World::with(Settings { tables, ..Settings::default() });
        let workspaces = names_in(&world.path().join("workspaces"));
        Self { world, workspaces }
    }

    /// Dies at a point while a story is told, and comes back.
    fn die_at(&mut self, point: &str, count: u32) -> Duration {
        self.world.daemon().end();
        let story = if self.world.start_doomed_daemon(&format!("{point}:{count}")) {
            // One is recorded while it is waited for only where that takes longer than the disk does, busy as it is.
            let slow = if point == "UntoldRecorded" { 5.0 } else { SLOW };
            Story::tell_until(&self.world.agent(AGENT), None, slow)
        } else {
            Story::default()
        };
        self.world.daemon().wait_for_kill(&format!("it dies at {point}:{count}"));
        let back = self.come_back(vec![(self.world.agent(AGENT), story)]);
        eprintln!("{point}:{count}: back after {back:?}");
        back
    }

    /// A new daemon takes over, and what was told is so. How long it took until it answered.
    fn come_back(&mut self, stories: Vec<(Client, Story)>) -> Duration {
        let begin = Instant::now();
        self.world.start_daemon();
        let back = begin.elapsed();
        truth::expect(&self.world, stories, &self.workspaces);
        back
    }
}

/// FT-01. At every point of its work.
#[test]
fn whatever_was_told_is_so_after_a_death_at_any_step() {
    let most = if asked().is_some() { 4 } else { 1 };
    let deaths: Vec<(String, u32)> = points()
        .into_iter()
        .filter(|point| !ELSEWHERE.contains(&point.as_str()))
        .flat_map(|point| {
            let first = 1 + at_the_start(&point);
            let last = first.max(reached(&point).min(most));
            (first..=last).map(move |count| (point.clone(), count))
        })
        .collect();
    let mut all: Vec<Duration> = thread::scope(|scope| {
        let shares = (0..WORLDS).map(|first| deaths.iter().skip(first).step_by(WORLDS));
        let worlds: Vec<_> = shares
            .map(|share| {
                scope.spawn(move || {
                    let mut stage = Stage::open();
                    share.map(|(point, count)| stage.die_at(point, *count)).collect::<Vec<_>>()
                })
            })
            .collect();
        worlds.into_iter().flat_map(|world| world.join().expect("it holds")).collect()
    });
    all.sort();
    let median = all[all.len() / 2];
    assert!(median < BACK, "a daemon was back after {median:?} on the median: {all:?}");
}

/// How often a daemon reaches a point while it starts, before there is anything to tell.
fn at_the_start(point: &str) -> u32 {
    match point {
        "AuditSealed" | "AuditWritten" | "AuditSynced" => 3,
        _ => 0,
    }
}

/// How often the story reaches a point for certain.
fn reached(point: &str) -> u32 {
    match point {
        "PlaceMade" | "InputOwed" | "InputGiven" | "ArtifactsBegun" | "ArtifactsKept"
        | "UntoldRecorded" | "SessionExtended" | "SessionUnused" | "WorkspaceRemoved"
        | "SessionForgotten" | "ArchiveUnpacked" | "WorkspaceSeen" | "ChangesKept" => 1,
        "WorkspaceMade" | "SessionRecorded" | "ReasonKept" | "SandboxKilled" | "EntryUnpacked"
        | "CheckpointWritten" | "HeadWritten" | "OutputSynced" => 2,
        "ArtifactKept" | "UploadBegun" | "UploadWritten" | "UploadFinished" => 3,
        "OutputCut" => 1,
        _ => 4,
    }
}

/// FT-01. And at every point of a start that takes over what the one before it left.
#[test]
fn whatever_was_told_is_so_after_a_second_death_while_it_is_taken_over() {
    let mut stage = Stage::open();
    let agent = stage.world.agent(AGENT);
    for point in ["SessionsRecovered", "ExecutionAdopted", "FilesSwept"] {
        let story = Story::tell_until(&agent, Some(Kind::Maker), SLOW);
        stage.world.daemon().kill();
        stage.world.start_doomed_daemon(&format!("{point}:1"));
        stage.world.daemon().wait_for_kill(point);
        stage.come_back(vec![(agent.clone(), story)]);
    }
    stage.world.daemon().end();
    assert!(stage.world.start_doomed_daemon("EndKept:1"));
    let story = Story::tell(&agent);
    stage.world.daemon().wait_for_kill("EndKept");
    stage.world.start_doomed_daemon("EndResumed:1");
    stage.world.daemon().wait_for_kill("EndResumed");
    stage.come_back(vec![(agent, story)]);
}

/// FT-01. A sandbox that no record knows is ended by the next daemon, also if that one dies over it.
#[test]
fn a_sandbox_that_nobody_was_told_of_is_destroyed() {
    let mut stage = Stage::open();
    for _ in 0..5 {
        stage.world.daemon().end();
        assert!(stage.world.start_doomed_daemon("SandboxMade:1"));
        let request = SubmitRequest { wait: true, ..bash("echo never") };
        let body = serde_json::to_vec(&request).expect("JSON");
        let answer = stage.world.agent(AGENT).call("POST", "/v1/executions", Some(&body));
        assert!(answer.is_err(), "{answer:?}");
        stage.world.daemon().wait_for_kill("SandboxMade");
        // Unless the launch took so long that the execution was recorded after all.
        if !stage.world.start_doomed_daemon("StrangersDestroyed:1") {
            stage.world.daemon().wait_for_kill("StrangersDestroyed");
            stage.come_back(Vec::new());
            return;
        }
        stage.world.daemon().end();
        stage.come_back(Vec::new());
    }
    panic!("every launch took longer than the daemon waits before it records");
}

/// FT-01. Under a load of which most waits for its turn, again and again, and one account of all of it at the
/// end: one outcome each, nothing added twice, files and records alike, nothing left, the log whole.
#[test]
fn all_that_was_told_adds_up_after_a_siege() {
    let asked = std::env::var("SUPERVISOR_SIEGE").ok();
    let seconds = asked.as_ref().map_or(SHORT_SIEGE, |asked| asked.parse().expect("seconds"));
    let seed = u64::from(SystemTime::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos());
    eprintln!("the seed is {seed}");
    let mut chance = Chance(seed | 1);
    let tables = "[warm]\nparked = 2\n".to_owned();
    let mut world = World::with(Settings { running: 4, tables, ..Settings::default() });
    let workspaces = names_in(&world.path().join("workspaces"));
    let mut callers: Vec<Caller> =
        (0..SIEGE_CALLERS).map(|each| Caller::new(world.agent(AGENT + each))).collect();
    let (is_over, numbers) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut back = Vec::new();
    thread::scope(|scope| {
        for caller in &mut callers {
            scope.spawn(|| caller.go_on(&is_over, &numbers));
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            thread::sleep(Duration::from_millis(100 + chance.below(2400))); // the moment is what is tried
            world.daemon().kill();
            let begin = Instant::now();
            world.start_daemon();
            back.push(begin.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut ends = BTreeMap::new();
    let lost: usize = callers.into_iter().map(|caller| caller.account(&mut ends)).sum();
    truth::expect_accounts(&world, &ends, &workspaces);
    back.sort();
    let (median, worst) = (back[back.len() / 2], back[back.len() - 1]);
    eprintln!(
        "{} executions over {} kills, {lost} lost while they were being started; back after {median:?} on the \
         median, {worst:?} at worst",
        ends.len(),
        back.len(),
    );
    // A short one has a few to go by, beside all the other tests.
    let is_slow = asked.is_some() && median >= BACK;
    assert!(!is_slow, "a daemon was back after {median:?} on the median: {back:?}");
}

/// FT-01. At moments that chance picks, three callers at a time.
#[test]
fn whatever_was_told_is_so_after_a_death_at_any_moment() {
    let seed = SystemTime::UNIX_EPOCH.elapsed().expect("a clock").subsec_nanos();
    eprintln!("the seed is {seed}");
    let mut chance = Chance(u64::from(seed) | 1);
    let mut stage = Stage::open();
    let agents = [AGENT, AGENT + 10, AGENT + 11].map(|uid| stage.world.agent(uid));
    for _ in 0..asked().unwrap_or(FEW) {
        let moment = Duration::from_millis(chance.below(2000));
        let pid = Pid::from_raw(i32::try_from(stage.world.daemon().pid()).expect("a pid"));
        let stories = thread::scope(|scope| {
            let tellers =
                agents.each_ref().map(|agent| scope.spawn(|| (agent.clone(), Story::tell(agent))));
            thread::sleep(moment); // the moment is what is tried
            kill(pid, Signal::SIGKILL).expect("root may");
            tellers.map(|teller| teller.join().expect("it holds"))
        });
        stage.world.daemon().wait_for_kill("it was killed");
        let back = stage.come_back(stories.into());
        eprintln!("killed after {moment:?}, back after {back:?}");
    }
}
