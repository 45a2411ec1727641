//! Changes that were held back on their way into their session: what is staged, noted, put in place and settled, and
//! what may befall it. Two changes stand for all: with one alone nothing could be there by half.

use super::search::{Event, Model, search};

/// Things that befall it at the most: a fault, one while it is being recovered from, and one while that is.
const FAULTS: u8 = 3;

/// What the daemon does against what may befall it; the model without one of them has to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Defence {
    /// What is staged is on disk before anything is noted.
    StageSynced,
    /// That it begins is noted before anything is put in its place.
    Noted,
    /// What is in its place is on disk before what was staged of it goes.
    PlacesSynced,
    /// That all is in its place is noted before what was staged goes.
    PlacedNoted,
    /// It is settled before the note goes.
    SettledFirst,
    /// As long as it is noted nobody enters the session but who goes on with it.
    KeptOut,
    /// It can't be discarded any more once it is noted.
    WayAheadOnly,
    /// What was staged for nothing goes when a daemon starts.
    Swept,
}

const DEFENCES: [Defence; 8] = [
    Defence::StageSynced,
    Defence::Noted,
    Defence::PlacesSynced,
    Defence::PlacedNoted,
    Defence::SettledFirst,
    Defence::KeptOut,
    Defence::WayAheadOnly,
    Defence::Swept,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Note {
    None,
    Begun,
    Placed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Settled {
    Applied,
    Discarded,
}

/// Where the daemon is with it. In all but `Idle` the session is its alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Idle,
    Staging(usize),
    Staged,
    Placing(usize),
    Placed,
    PlacedNoted,
    Unstaged,
    Settling(Settled),
    Forgetting(Settled),
    /// What is to be put in its place is not there.
    Stuck,
    /// The daemon is not there.
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    without: Option<Defence>,
    step: Step,
    /// What is staged: there, and on disk.
    staged: bool,
    stage_synced: bool,
    /// Which changes are in the session, and on disk there.
    placed: [bool; 2],
    places_synced: [bool; 2],
    note: Note,
    settled: Option<Settled>,
    told: Option<Settled>,
    /// A payload began in a session that had the changes by half.
    seen_by_half: bool,
    faults: u8,
}

impl World {
    const fn new(without: Option<Defence>) -> Self {
        Self {
            without,
            step: Step::Idle,
            staged: false,
            stage_synced: false,
            placed: [false; 2],
            places_synced: [false; 2],
            note: Note::None,
            settled: None,
            told: None,
            seen_by_half: false,
            faults: FAULTS,
        }
    }

    fn has(self, defence: Defence) -> bool {
        self.without != Some(defence)
    }

    fn is_by_half(&self) -> bool {
        self.placed[0] != self.placed[1]
    }

    /// What callers and payloads do.
    fn asked(self) -> Vec<(Event, Self)> {
        let mut all = Vec::new();
        let is_noted = self.note != Note::None && self.settled.is_none();
        if self.step != Step::Idle {
            return all;
        }
        if self.settled.is_none() {
            all.push(("apply", self.go_on(Step::Staging(0))));
            if !is_noted || !self.has(Defence::WayAheadOnly) {
                all.push(("discard", Self { step: Step::Settling(Settled::Discarded), ..self }));
            }
        }
        if !is_noted || !self.has(Defence::KeptOut) {
            let seen_by_half = self.seen_by_half || self.is_by_half();
            all.push(("a payload begins in the session", Self { seen_by_half, ..self }));
        }
        all
    }

    /// Goes on with what is noted, or does this.
    fn go_on(self, otherwise: Step) -> Self {
        let step = match self.note {
            Note::None => otherwise,
            Note::Begun if self.staged => Step::Placing(0),
            Note::Begun => Step::Stuck,
            Note::Placed => Step::PlacedNoted,
        };
        Self { step, ..self }
    }

    fn work(self) -> Vec<(Event, Self)> {
        let next = match self.step {
            Step::Idle | Step::Stuck => return Vec::new(),
            Step::Staging(2) => {
                let stage_synced = self.has(Defence::StageSynced);
                ("ChangesStaged", Self { step: Step::Staged, stage_synced, ..self })
            }
            Step::Staging(number) => {
                ("it is staged", Self { step: Step::Staging(number + 1), staged: true, ..self })
            }
            Step::Staged => {
                let note = if self.has(Defence::Noted) { Note::Begun } else { Note::None };
                ("ApplyingNoted", Self { step: Step::Placing(0), note, ..self })
            }
            Step::Placing(2) => {
                let synced = self.has(Defence::PlacesSynced);
                let places_synced = if synced { self.placed } else { self.places_synced };
                ("all is on disk", Self { step: Step::Placed, places_synced, ..self })
            }
            Step::Placing(number) => {
                let mut placed = self.placed;
                placed[number] = true;
                ("ChangePlaced", Self { step: Step::Placing(number + 1), placed, ..self })
            }
            Step::Placed => {
                let notes = self.has(Defence::PlacedNoted);
                let note = if notes { Note::Placed } else { self.note };
                ("it is noted that all is placed", Self { step: Step::PlacedNoted, note, ..self })
            }
            Step::PlacedNoted => {
                ("ChangesCommitted", Self { step: Step::Unstaged, staged: false, ..self })
            }
            Step::Unstaged => ("-", Self { step: Step::Settling(Settled::Applied), ..self }),
            Step::Settling(how) => {
                let after = Self { step: Step::Forgetting(how), ..self };
                match self.has(Defence::SettledFirst) {
                    true => ("it is settled", Self { settled: Some(how), ..after }),
                    false => ("the note goes", Self { note: Note::None, ..after }),
                }
            }
            Step::Forgetting(how) => {
                let (settled, told) = (Some(how), Some(how));
                let step = Step::Idle;
                ("ChangesSettled", Self { step, settled, told, note: Note::None, ..self })
            }
            Step::Down => ("a start", self.recover()),
        };
        vec![next]
    }

    fn recover(self) -> Self {
        if self.settled.is_some() {
            return Self { step: Step::Idle, ..self };
        }
        let staged = self.staged && (self.note != Note::None || !self.has(Defence::Swept));
        Self { staged, ..self }.go_on(Step::Idle)
    }

    fn befall(self) -> Vec<(Event, Self)> {
        let faults = self.faults - 1;
        let down = Self { step: Step::Down, faults, ..self };
        let dark =
            Self { placed: self.places_synced, staged: self.staged && self.stage_synced, ..down };
        let mut all = vec![("kill -9", down), ("the power fails", dark)];
        if matches!(self.step, Step::Placing(_)) {
            all.push(("there is no room for it", Self { step: Step::Idle, faults, ..self }));
        }
        all
    }
}

impl Model for World {
    fn next(self) -> Vec<(Event, Self)> {
        let mut all = self.work();
        all.extend(self.asked());
        if self.faults > 0 {
            all.extend(self.befall());
        }
        all
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.seen_by_half {
            return Err("a payload began in a session that has the changes by half");
        }
        if self.step == Step::Stuck {
            return Err("the rest of the changes can't be applied");
        }
        let is_at_rest = self.step == Step::Idle && self.note == Note::None;
        if is_at_rest && self.is_by_half() {
            return Err("the session has the changes by half and nobody knows");
        }
        if is_at_rest && self.staged && self.settled.is_none() {
            return Err("what was staged is left");
        }
        match self.told {
            Some(Settled::Applied) if self.placed != [true; 2] => {
                Err("they are said to be applied and are not")
            }
            Some(Settled::Discarded) if self.placed != [false; 2] => {
                Err("they are said to be discarded and are not")
            }
            told if told.is_some() && told != self.settled => Err("what was told is forgotten"),
            _ => Ok(()),
        }
    }
}

#[test]
fn changes_that_were_held_back_are_in_their_session_as_a_whole_or_not_whatever_befalls() {
    let states = search(World::new(None)).unwrap_or_else(|problem| panic!("{problem}"));
    assert!(states > 100, "{states} states are not the model that was meant");
}

#[test]
fn each_defence_of_held_changes_is_needed() {
    for defence in DEFENCES {
        let found = search(World::new(Some(defence)));
        let problem = found.expect_err("the model does not see what this defence is for");
        eprintln!("without {defence:?}, {problem}\n");
    }
}
