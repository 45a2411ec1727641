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

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::process::Command;

use supervisor_tests::program;

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
    wanted: bool,
    had_power_loss: bool,
    lost_launcher: bool,
    faults: u8,
}

/// What happened between two states: a fault point of the daemon's, or an event outside it.
type Event = &'static str;

/// Points of an execution's life that the model has.
const MODELLED: [&str; 25] = [
    "SubmissionAccepted",
    "SubmissionAudited",
    "SubmissionRecorded",
    "UntoldRecorded",
    "TurnTaken",
    "SandboxMade",
    "FilesWritten",
    "BeginRecorded",
    "PayloadStarted",
    "ReasonKept",
    "SandboxKilled",
    "EndSeen",
    "OutputDrained",
    "ArtifactsKept",
    "EndKept",
    "SandboxRemoved",
    "EndWritten",
    "EndAudited",
    "EndRecorded",
    "EndForgotten",
    "EndTold",
    "ExecutionAdopted",
    "ExecutionWrittenOff",
    "ExecutionQueuedAgain",
    "EndResumed",
];

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
        let runs = !matches!(
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
        );
        if runs && self.untold && self.record == Record::None {
            let (record, told) = (Record::Open, Told::Accepted);
            let whole = self.step == Step::Recorded && self.keeps_whole();
            all.push(("UntoldRecorded", Self { record, told, whole, ..self }));
        }
        all
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

    /// What a daemon does that starts anew.
    fn recover(self) -> Vec<(Event, Self)> {
        match self.record {
            // Nobody was told: nothing is to be left of it.
            Record::None if !self.has(Defence::EndStrangers) => {
                vec![("nothing", Self { step: Step::Done, ..self })]
            }
            Record::None => {
                let world = Self { sandbox: Sandbox::None, artifacts: false, ..self };
                let step = Step::Done;
                vec![("StrangersDestroyed", Self { step, reason: false, kept: None, ..world })]
            }
            Record::Closed(end) => {
                let world = Self { sandbox: Sandbox::None, kept: None, reason: false, ..self };
                let told = Told::Ended(end);
                vec![("FilesSwept", Self { step: Step::Done, told, ..world })]
            }
            Record::Open => vec![self.take_over()],
        }
    }

    fn take_over(self) -> (Event, Self) {
        if let Some(end) = self.kept {
            return ("EndResumed", Self { step: Step::EndKept(end), ..self });
        }
        match self.sandbox {
            Sandbox::Running | Sandbox::Over(_) => {
                ("ExecutionAdopted", Self { step: Step::Started, ..self })
            }
            Sandbox::Parked | Sandbox::Fed | Sandbox::Frozen if self.whole => {
                let freezes = self.has(Defence::Freeze);
                let sandbox = if freezes { Sandbox::Frozen } else { self.sandbox };
                ("it has not begun", Self { step: Step::LiningUp, sandbox, ..self })
            }
            Sandbox::None if self.whole && !self.begun && !self.audited.contains(&true) => {
                ("it has not begun", Self { step: Step::LiningUp, ..self })
            }
            Sandbox::None | Sandbox::Parked | Sandbox::Fed | Sandbox::Frozen => {
                // What the log says already is what it was.
                let logged = [End::Exited, End::Cancelled, End::Killed, End::Lost];
                let logged = logged.into_iter().find(|end| self.audited[*end as usize]);
                let sandbox = Sandbox::None; // destroyed before it is said
                let logged = logged.filter(|_| self.has(Defence::LookIntoLog));
                let step = Step::Collected(logged.unwrap_or(End::Lost));
                ("ExecutionWrittenOff", Self { step, sandbox, artifacts: false, ..self })
            }
        }
    }

    /// What has to be so in every state.
    fn check_always(&self) -> Result<(), &'static str> {
        let ends = self.audited.iter().filter(|each| **each).count();
        if ends > 1 {
            return Err("the log has two ends");
        }
        if self.record != Record::None && !self.submitted {
            return Err("it is recorded and was not audited");
        }
        if self.sandbox == Sandbox::Running && !self.submitted {
            return Err("it runs and was not audited");
        }
        if self.starts > 1 {
            return Err("its payload ran twice");
        }
        match (self.told, self.record) {
            (Told::Accepted | Told::Ended(_), Record::None) => {
                Err("its caller knows of it and there is no record")
            }
            (Told::Ended(told), Record::Closed(end)) if told != end => {
                Err("its caller was told another end than is recorded")
            }
            (Told::Ended(_), Record::Open) => Err("its end was told before it was recorded"),
            _ => Ok(()),
        }
    }

    /// Whether its caller was told of it when it had no turn.
    fn told_while_waiting(&self) -> bool {
        self.waits && !self.untold
    }

    /// What has to be so when nothing is left to do.
    fn check_at_rest(&self) -> Result<(), &'static str> {
        if self.sandbox != Sandbox::None {
            return Err("its sandbox is left");
        }
        if self.kept.is_some() || self.reason {
            return Err("notes are left");
        }
        let end = match self.record {
            Record::None if self.artifacts => return Err("it has artifacts and no record"),
            Record::None => return Ok(()),
            Record::Open => return Err("it has no end"),
            Record::Closed(end) => end,
        };
        // The log and the store are on disk one after the other, and the power can fail between.
        if !self.audited[end as usize] && !self.had_power_loss {
            return Err("the log has not the end that is recorded");
        }
        if self.whole {
            return Err("its submission is kept for nothing");
        }
        let was_lost = self.had_power_loss || self.lost_launcher;
        match (end, self.truth) {
            (End::Lost, _) if self.told_while_waiting() && self.starts == 0 && !was_lost => {
                Err("it waited for its turn and is lost")
            }
            (End::Lost, Some(_)) if !was_lost => Err("an end that was there to be seen is lost"),
            (End::Exited, None | Some(End::Cancelled)) => {
                Err("it is said to have exited and did not")
            }
            (End::Killed, _) => Err("why it was ended is forgotten"),
            (End::Cancelled, _) if !self.wanted => Err("nobody wanted it ended"),
            _ => Ok(()),
        }
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

/// Points of other things: one execution's life does not depend on where among them it is.
const ELSEWHERE: [&str; 40] = [
    "ChangesCommitted",
    "ChangesStaged",
    "ChangesSettled",
    "ApplyingNoted",
    "ChangePlaced",
    "WorkspaceSeen",
    "ChangesKept",
    "PlaceMade",
    "InputOwed",
    "InputGiven",
    "StartRecorded",
    "OutputMade",
    "OutputKept",
    "OutputCut",
    "OrderWritten",
    "ArtifactsBegun",
    "ArtifactKept",
    "OutputSynced",
    "StoreApplied",
    "StoreCommitted",
    "StoreCounted",
    "AuditSealed",
    "AuditWritten",
    "AuditSynced",
    "CheckpointWritten",
    "HeadWritten",
    "WorkspaceMade",
    "SessionRecorded",
    "SessionExtended",
    "SessionUnused",
    "WorkspaceRemoved",
    "SessionForgotten",
    "UploadBegun",
    "UploadWritten",
    "UploadFinished",
    "EntryUnpacked",
    "ArchiveUnpacked",
    "SessionsRecovered",
    "StrangersDestroyed",
    "FilesSwept",
];

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
