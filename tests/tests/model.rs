//! The life of an execution as a model: everything that lasts (records, notes, the audit log, the sandbox),
//! the daemon's steps between, and what may befall them at any moment. Every state that can be reached is
//! looked at. The steps bear the names of the daemon's own fault points, so that a step that comes or goes
//! there has to come or go here; `kills.rs` ends the real daemon at each of them.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by a panic"
)]

#[path = "model/applying.rs"]
mod applying;
#[path = "model/pausing.rs"]
mod pausing;
#[path = "model/points.rs"]
mod points;
#[path = "model/recovery.rs"]
mod recovery;
#[path = "model/refusals.rs"]
mod refusals;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/search.rs"]
mod search;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::process::Command;

use supervisor_tests::program;

use self::points::{ELSEWHERE, MODELLED};

/// Things that befall one execution at the most. Three are a fault, one while it is being recovered from,
/// and one while that is.
const FAULTS: u8 = 3;

/// How an execution ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    /// By itself.
    Exited,
    /// By the daemon's word.
    Cancelled,
    /// By a signal, and nobody knows any more whose.
    Killed,
    /// Nobody can say.
    Lost,
}

/// What is left of the payload and its walls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sandbox {
    None,
    Parked,
    /// It has its start, and the payload may begin at any moment.
    Fed,
    /// It can't begin any more.
    Frozen,
    Running,
    /// Its init is dead; how it ended can be read as long as the sandbox is not removed.
    Over(End),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    None,
    Open,
    Closed(End),
}

/// What the caller has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Told {
    Nothing,
    Accepted,
    Refused,
    Ended(End),
}

/// Where the daemon's work on it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Submitted,
    Audited,
    Recorded,
    HasTurn,
    Made,
    Filled,
    Started,
    /// It is to be ended, and that is kept.
    ReasonKept,
    /// Its end is known.
    Seen(End),
    Drained(End),
    Collected(End),
    EndKept(End),
    /// What is concluded side by side: removed; on disk in the audit log; in the store.
    Concluding(End, [bool; 3]),
    EndForgotten(End),
    Done,
    /// The daemon is not there.
    Down,
    Recovering,
    /// It has not started, and is to be in line again.
    LiningUp,
}

/// What the daemon does against what may befall it; the model without one of them has to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Defence {
    /// The submission is in the log before anything of it runs.
    LogBeforeStart,
    /// Why an execution is to be ended is kept before it is.
    Reason,
    /// Its end is kept before the sandbox is removed.
    KeptEnd,
    /// The end is in the log before it is in the store.
    LogBeforeRecord,
    /// An end that the log has is the one that is recorded.
    LookIntoLog,
    /// It is recorded before it is told.
    RecordBeforeTold,
    /// A start ends what nobody knows of.
    EndStrangers,
    /// What waits is recorded with all that its start needs.
    Whole,
    /// That it is about to start is on disk before it can.
    BeginBeforeStart,
    /// What has its start is frozen before it is said not to have begun.
    Freeze,
}

const DEFENCES: [Defence; 10] = [
    Defence::LogBeforeStart,
    Defence::Reason,
    Defence::KeptEnd,
    Defence::LogBeforeRecord,
    Defence::LookIntoLog,
    Defence::RecordBeforeTold,
    Defence::EndStrangers,
    Defence::Whole,
    Defence::BeginBeforeStart,
    Defence::Freeze,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    /// The defence that is missing.
    without: Option<Defence>,
    /// The caller waits for the end, and is told of nothing before.
    untold: bool,
    /// It waits for its turn when it is recorded.
    waits: bool,
    step: Step,
    record: Record,
    /// Its submission is beside its record, and that it is about to start.
    whole: bool,
    begun: bool,
    /// How often its payload began.
    starts: u8,
    submitted: bool,
    /// Ends that the audit log has: in the order of [`End`].
    audited: [bool; 4],
    /// Those of them that are on disk.
    synced: [bool; 4],
    /// Notes beside the record, which a loss of power takes.
    reason: bool,
    kept: Option<End>,
    sandbox: Sandbox,
    /// How the payload ended, whoever knows it.
    truth: Option<End>,
    artifacts: bool,
    told: Told,
    /// It was refused when it had begun, and is ended for it.
    refused: bool,
    wanted: bool,
    had_power_loss: bool,
    lost_launcher: bool,
    faults: u8,
}

/// What happened between two states: a fault point of the daemon's, or an event outside it.
type Event = &'static str;

impl World {
    const fn new((untold, waits): (bool, bool), without: Option<Defence>) -> Self {
        Self {
            without,
            untold,
            waits,
            whole: false,
            begun: false,
            starts: 0,
            step: Step::Submitted,
            record: Record::None,
            submitted: false,
            audited: [false; 4],
            synced: [false; 4],
            reason: false,
            kept: None,
            sandbox: Sandbox::None,
            truth: None,
            artifacts: false,
            told: Told::Nothing,
            refused: false,
            wanted: false,
            had_power_loss: false,
            lost_launcher: false,
            faults: FAULTS,
        }
    }

    fn has(self, defence: Defence) -> bool {
        self.without != Some(defence)
    }

    /// Every state that may come next.
    fn next(self) -> Vec<(Event, Self)> {
        let mut all = self.work();
        if self.sandbox == Sandbox::Fed {
            let starts = self.starts + 1;
            all.push(("the payload begins", Self { sandbox: Sandbox::Running, starts, ..self }));
        }
        if self.sandbox == Sandbox::Running {
            let end = Sandbox::Over(End::Exited);
            all.push((
                "the payload exits",
                Self { sandbox: end, truth: Some(End::Exited), ..self },
            ));
        }
        if !self.wanted && self.submitted {
            all.push(("a cancellation or a limit", Self { wanted: true, ..self }));
        }
        if self.faults > 0 {
            all.extend(self.befall());
            all.extend(self.refuse(self.is_driven()));
        }
        all
    }

    fn befall(self) -> Vec<(Event, Self)> {
        let faults = self.faults - 1;
        let down = Self { step: Step::Down, faults, ..self };
        let gone = Self { sandbox: Sandbox::None, lost_launcher: true, ..down };
        // What had not been synced may have reached the disk all the same.
        let dusk = Self { had_power_loss: true, ..gone };
        let dark = Self { reason: false, kept: None, audited: self.synced, ..dusk };
        vec![
            ("kill -9", down),
            ("the launcher is killed", gone),
            ("the power fails", dark),
            ("the power fails when all is on disk", dusk),
        ]
    }

    /// What the daemon does next. An execution of which nobody was told is recorded while it runs, if it runs
    /// for long.
    fn work(self) -> Vec<(Event, Self)> {
        let mut all = self.go_on();
        let is_new = matches!(self.step, Step::Submitted | Step::Audited);
        if is_new && self.sandbox == Sandbox::None {
            // The launcher is asked while the log and the store are.
            all.push(("its sandbox is made meanwhile", Self { sandbox: Sandbox::Parked, ..self }));
        }
        if self.is_driven() && self.untold && self.record == Record::None && !self.refused {
            let (record, told) = (Record::Open, Told::Accepted);
            let whole = self.step == Step::Recorded && self.keeps_whole();
            all.push(("UntoldRecorded", Self { record, told, whole, ..self }));
        }
        all
    }

    /// Whether its driver is between its submission and its end.
    fn is_driven(self) -> bool {
        !matches!(
            self.step,
            Step::Submitted
                | Step::Audited
                | Step::EndKept(_)
                | Step::Concluding(..)
                | Step::EndForgotten(_)
                | Step::Done
                | Step::Down
                | Step::Recovering
                | Step::LiningUp
        )
    }

    fn go_on(self) -> Vec<(Event, Self)> {
        let on = |event, step| vec![(event, Self { step, ..self })];
        match self.step {
            Step::Submitted => {
                let submitted = self.has(Defence::LogBeforeStart);
                vec![("SubmissionAudited", Self { step: Step::Audited, submitted, ..self })]
            }
            Step::Audited if self.untold => on("SubmissionAccepted", Step::Recorded),
            Step::Audited => {
                let (record, told) = (Record::Open, Told::Accepted);
                let (step, whole) = (Step::Recorded, self.keeps_whole());
                vec![("SubmissionRecorded", Self { step, record, told, whole, ..self })]
            }
            Step::Recorded => on("TurnTaken", Step::HasTurn),
            Step::HasTurn if self.wanted => self.end_without_sandbox(End::Cancelled),
            Step::HasTurn => {
                vec![("SandboxMade", Self { step: Step::Made, sandbox: Sandbox::Parked, ..self })]
            }
            Step::Made => on("FilesWritten", Step::Filled),
            Step::Filled if self.whole && !self.begun && self.has(Defence::BeginBeforeStart) => {
                vec![("BeginRecorded", Self { begun: true, ..self })]
            }
            Step::Filled => {
                let sandbox = Sandbox::Fed;
                vec![("PayloadStarted", Self { step: Step::Started, sandbox, ..self })]
            }
            Step::Started => self.attend(),
            Step::ReasonKept => self.kill(),
            Step::Seen(end) => on("OutputDrained", Step::Drained(end)),
            Step::Drained(end) => {
                vec![(
                    "ArtifactsKept",
                    Self { step: Step::Collected(end), artifacts: true, ..self },
                )]
            }
            Step::Collected(end) => self.keep_end(end),
            Step::EndKept(end) => on("EndKept", Step::Concluding(end, [false; 3])),
            Step::Concluding(end, done) => self.conclude(end, done),
            Step::EndForgotten(end) => {
                vec![("EndTold", Self { step: Step::Done, told: Told::Ended(end), ..self })]
            }
            Step::Done => Vec::new(),
            Step::Down => on("a start", Step::Recovering),
            Step::Recovering => self.recover(),
            Step::LiningUp => {
                let (step, sandbox) = (Step::Recorded, Sandbox::None);
                vec![("ExecutionQueuedAgain", Self { step, sandbox, begun: false, ..self })]
            }
        }
    }

    fn keeps_whole(self) -> bool {
        self.waits && self.has(Defence::Whole)
    }

    fn attend(self) -> Vec<(Event, Self)> {
        match self.sandbox {
            Sandbox::Over(end) => {
                let end = if self.reason { End::Cancelled } else { end };
                vec![("EndSeen", Self { step: Step::Seen(end), ..self })]
            }
            // The caller's word, or a limit, of which nobody has to be told.
            _ if self.wanted || self.reason => {
                let reason = self.has(Defence::Reason);
                vec![("ReasonKept", Self { step: Step::ReasonKept, reason, ..self })]
            }
            _ => Vec::new(),
        }
    }

    fn kill(self) -> Vec<(Event, Self)> {
        let truth = self.truth.or(Some(End::Cancelled));
        let sandbox = match self.sandbox {
            Sandbox::Running | Sandbox::Fed => Sandbox::Over(End::Killed),
            other => other,
        };
        let step = Step::Seen(End::Cancelled); // the decision came first
        vec![("SandboxKilled", Self { step, sandbox, truth, ..self })]
    }

    fn end_without_sandbox(self, end: End) -> Vec<(Event, Self)> {
        self.keep_end(end)
    }

    /// Only what somebody knows of is kept: the rest is recorded for the first time with its end.
    fn keep_end(self, end: End) -> Vec<(Event, Self)> {
        if self.refused {
            return vec![("it is refused", self.end_refused())];
        }
        let is_kept = self.record != Record::None && self.has(Defence::KeptEnd);
        let kept = is_kept.then_some(end).or(self.kept);
        vec![("EndKept", Self { step: Step::EndKept(end), kept, ..self })]
    }

    fn conclude(self, end: End, done: [bool; 3]) -> Vec<(Event, Self)> {
        let [removed, synced, recorded] = done;
        let is_logged = self.audited[end as usize];
        let mut all = Vec::new();
        if !removed {
            let step = Step::Concluding(end, [true, synced, recorded]);
            all.push(("SandboxRemoved", Self { step, sandbox: Sandbox::None, ..self }));
        }
        if !is_logged {
            let mut audited = self.audited;
            audited[end as usize] = true;
            all.push(("EndWritten", Self { audited, ..self }));
        }
        if is_logged && !synced {
            let step = Step::Concluding(end, [removed, true, recorded]);
            all.push(("EndAudited", Self { step, synced: self.audited, ..self }));
        }
        if (is_logged || !self.has(Defence::LogBeforeRecord)) && !recorded {
            let record = match self.record {
                Record::Closed(before) => Record::Closed(before),
                _ => Record::Closed(end),
            };
            let step = Step::Concluding(end, [removed, synced, true]);
            let (whole, begun) = (false, false);
            all.push(("EndRecorded", Self { step, record, whole, begun, ..self }));
        }
        if done == [true, true, recorded] && !recorded && !self.has(Defence::RecordBeforeTold) {
            all.push(("EndTold", Self { told: Told::Ended(end), ..self }));
        }
        if done == [true; 3] {
            let step = Step::EndForgotten(end);
            all.push(("EndForgotten", Self { step, kept: None, reason: false, ..self }));
        }
        all
    }
}

/// The way to a state, for people to read.
fn way(mut world: World, from: &HashMap<World, (Event, World)>) -> String {
    let mut events = vec![format!("{world:?}")];
    while let Some((event, before)) = from.get(&world) {
        events.push((*event).to_owned());
        world = *before;
    }
    events.reverse();
    events.join("\n")
}

/// Looks at every state; gives how many there are and what happened in them, or how one is reached that
/// must not be.
fn explore(without: Option<Defence>) -> Result<(usize, BTreeSet<Event>), String> {
    let kinds = [(false, false), (true, false), (false, true), (true, true)];
    let first = kinds.map(|kind| World::new(kind, without));
    let (mut from, mut seen) = (HashMap::new(), BTreeSet::new());
    let (mut states, mut queue) = (HashSet::from(first), VecDeque::from(first));
    while let Some(world) = queue.pop_front() {
        let next = world.next();
        let checked = world.check_always().and_then(|()| match world.step {
            Step::Done => world.check_at_rest(),
            _ if next.is_empty() => Err("nothing goes on"),
            _ => Ok(()),
        });
        checked.map_err(|problem| format!("{problem}:\n{}", way(world, &from)))?;
        for (event, after) in next {
            seen.insert(event);
            if states.insert(after) {
                from.insert(after, (event, world));
                queue.push_back(after);
            }
        }
    }
    Ok((states.len(), seen))
}

#[test]
fn whatever_befalls_an_execution_it_has_one_right_end_and_leaves_nothing() {
    let (states, seen) = explore(None).unwrap_or_else(|problem| panic!("{problem}"));
    assert!(states > 5000, "the model has become a small one: {states} states");
    for point in MODELLED {
        assert!(seen.contains(point), "{point} is never reached");
    }
}

#[test]
fn without_any_one_of_its_defences_it_would_not() {
    for defence in DEFENCES {
        let found = explore(Some(defence));
        let problem = found.expect_err("the model does not see what this defence is for");
        eprintln!("without {defence:?}, {problem}\n");
    }
}

#[test]
fn every_point_of_the_daemon_is_in_the_model_or_known_not_to_be() {
    let listed = Command::new(program("supervisord")).arg("--fault-points").output();
    let listed = listed.expect("debug builds list them");
    let text = String::from_utf8(listed.stdout).expect("text");
    let points: BTreeSet<&str> = text.split_whitespace().collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.into_iter().collect();
    let modelled: BTreeSet<&str> = MODELLED.into_iter().collect();
    assert!(elsewhere.is_disjoint(&modelled));
    let known: BTreeSet<&str> = elsewhere.union(&modelled).copied().collect();
    assert_eq!(points, known);
}
