//! A payload that is paused and goes on, that is held back for its share of the processor meanwhile, cancelled at any
//! moment, and whose daemon may be killed at any.

use super::search::{Event, Model, search};

/// Times that the daemon is killed or its store refuses something, at the most.
const FAULTS: u8 = 3;

/// What the daemon does against what may befall it; the model without one of them has to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Defence {
    /// Nothing is paused before its first record is there, which may be on its way and would undo the pause's.
    FirstRecord,
    /// That it is paused is recorded before it is told.
    PauseRecorded,
    /// That it goes on is recorded before it does.
    GoingRecorded,
    /// A start thaws what is not recorded as paused.
    Thawed,
    /// What can't be recorded as paused goes on.
    Undone,
    /// Who waits for a pause hears of the end.
    Answered,
    /// What is held back for its share goes on when the look at that is broken off.
    LetGo,
}

const DEFENCES: [Defence; 7] = [
    Defence::FirstRecord,
    Defence::PauseRecorded,
    Defence::GoingRecorded,
    Defence::Thawed,
    Defence::Undone,
    Defence::Answered,
    Defence::LetGo,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    None,
    Running,
    Paused,
    Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Going,
    /// Frozen by the look at its share, which thaws it.
    HeldBack,
    Freezing,
    Frozen,
    PauseRecorded,
    Paused,
    GoingRecorded,
    Killed,
    Ended,
    /// The daemon is not there.
    Down,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wish {
    None,
    Pause,
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    without: Option<Defence>,
    step: Step,
    record: Record,
    /// Its first record is on its way.
    is_unrecorded: bool,
    frozen: bool,
    /// What callers were told last.
    told: Record,
    wish: Wish,
    wanted: bool,
    faults: u8,
}

impl World {
    const fn new(without: Option<Defence>) -> Self {
        Self {
            without,
            step: Step::Going,
            record: Record::None,
            is_unrecorded: true,
            frozen: false,
            told: Record::None,
            wish: Wish::None,
            wanted: false,
            faults: FAULTS,
        }
    }

    fn has(self, defence: Defence) -> bool {
        self.without != Some(defence)
    }

    fn asked(self) -> Vec<(Event, Self)> {
        let mut all = Vec::new();
        let runs = !matches!(self.step, Step::Killed | Step::Ended | Step::Down);
        if runs && !self.wanted {
            all.push(("a cancellation or a limit", Self { wanted: true, ..self }));
        }
        if runs && self.wish == Wish::None {
            all.push(("a pause is asked for", Self { wish: Wish::Pause, ..self }));
            all.push(("going on is asked for", Self { wish: Wish::Resume, ..self }));
        }
        if runs && self.is_unrecorded {
            let record = Record::Running;
            all.push((
                "its first record",
                Self { record, is_unrecorded: false, told: self.told_first(), ..self },
            ));
        }
        if runs && self.wanted {
            // Whatever the driver waits for is broken off; what is frozen can be killed.
            all.push(("it is killed", Self { step: Step::Killed, frozen: false, ..self }));
        }
        all
    }

    fn told_first(self) -> Record {
        if self.told == Record::None { Record::Running } else { self.told }
    }

    fn work(self) -> Vec<(Event, Self)> {
        let done = Self { wish: Wish::None, ..self };
        match self.step {
            Step::Going => {
                let held_back = Self { step: Step::HeldBack, frozen: true, ..self };
                let mut all = self.take_wish();
                all.push(("it is ahead of its share", held_back));
                all
            }
            Step::HeldBack => {
                let mut all = self.take_wish();
                all.push((
                    "it has its share again",
                    Self { step: Step::Going, frozen: false, ..self },
                ));
                all
            }
            Step::Freezing => vec![
                ("it is frozen", Self { step: Step::Frozen, frozen: true, ..self }),
                ("it can't be frozen", Self { step: Step::Going, frozen: false, ..done }),
            ],
            Step::Frozen => {
                let told =
                    if self.has(Defence::PauseRecorded) { self.told } else { Record::Paused };
                if told != self.told {
                    return vec![("it is told first", Self { told, ..self })];
                }
                let step = Step::PauseRecorded;
                vec![("its pause is recorded", Self { step, record: Record::Paused, ..self })]
            }
            Step::PauseRecorded => {
                vec![(
                    "its pause is told",
                    Self { step: Step::Paused, told: Record::Paused, ..done },
                )]
            }
            Step::Paused => self.take_wish_to_go_on(),
            Step::GoingRecorded => {
                let (frozen, told) = (false, Record::Running);
                vec![("it goes on", Self { step: Step::Going, frozen, told, ..done })]
            }
            Step::Killed => {
                let wish = if self.has(Defence::Answered) { Wish::None } else { self.wish };
                let (step, record, told) = (Step::Ended, Record::Ended, Record::Ended);
                vec![(
                    "its end is told",
                    Self { step, record, told, wish, is_unrecorded: false, ..self },
                )]
            }
            Step::Ended => Vec::new(),
            Step::Down => vec![("a start", self.recover())],
        }
    }

    /// The look at its share is broken off.
    fn take_wish(self) -> Vec<(Event, Self)> {
        let frozen = self.frozen && !self.has(Defence::LetGo);
        let going = Self { step: Step::Going, frozen, wish: Wish::None, ..self };
        match self.wish {
            Wish::Pause if self.is_unrecorded && self.has(Defence::FirstRecord) => {
                vec![("it has only just begun", going)]
            }
            Wish::Pause => vec![
                ("it is being frozen", Self { step: Step::Freezing, frozen, ..self }),
                ("nothing can give its memory back", going),
            ],
            Wish::Resume => vec![("it runs already", going)],
            Wish::None => Vec::new(),
        }
    }

    fn take_wish_to_go_on(self) -> Vec<(Event, Self)> {
        match self.wish {
            Wish::Pause => vec![("it is paused already", Self { wish: Wish::None, ..self })],
            Wish::Resume if self.has(Defence::GoingRecorded) => {
                let step = Step::GoingRecorded;
                vec![(
                    "that it goes on is recorded",
                    Self { step, record: Record::Running, ..self },
                )]
            }
            Wish::Resume => {
                let after = Self { step: Step::GoingRecorded, told: Record::Running, ..self };
                vec![("it goes on unrecorded", Self { wish: Wish::None, frozen: false, ..after })]
            }
            Wish::None => Vec::new(),
        }
    }

    fn recover(self) -> Self {
        // Who asked has lost the connection, and hears of what came of it in the record.
        let wish = Wish::None;
        let told = match (self.wish, self.record) {
            (Wish::Pause, Record::Paused) | (Wish::Resume, Record::Running) => self.record,
            _ => self.told,
        };
        let after = Self { wish, told, is_unrecorded: false, ..self };
        match self.record {
            Record::None => Self { step: Step::Ended, frozen: false, ..after }, // a stranger
            Record::Running => {
                let frozen = self.frozen && !self.has(Defence::Thawed);
                Self { step: Step::Going, frozen, ..after }
            }
            Record::Paused => Self { step: Step::Paused, frozen: true, ..after },
            Record::Ended => Self { step: Step::Ended, frozen: false, ..after },
        }
    }

    fn befall(self) -> Vec<(Event, Self)> {
        let faults = self.faults - 1;
        let mut all = vec![("kill -9", Self { step: Step::Down, faults, ..self })];
        if self.step == Step::Frozen {
            let frozen = !self.has(Defence::Undone);
            let after = Self { step: Step::Going, wish: Wish::None, faults, ..self };
            all.push(("the store refuses", Self { frozen, ..after }));
        }
        all
    }
}

impl Model for World {
    fn next(self) -> Vec<(Event, Self)> {
        let mut all = self.work();
        all.extend(self.asked());
        if self.faults > 0 && self.step != Step::Ended {
            all.extend(self.befall());
        }
        all
    }

    fn check(&self) -> Result<(), &'static str> {
        match self.step {
            Step::Going if self.frozen => Err("it is said to run, and is frozen"),
            Step::Going if self.told == Record::Paused => Err("it is said to be paused, and runs"),
            Step::Paused if !self.frozen => Err("it is paused, and runs"),
            Step::Paused if self.record != Record::Paused => Err("its pause is not recorded"),
            Step::Paused if self.told == Record::Running && self.wish == Wish::None => {
                Err("it is said to go on, and is paused")
            }
            Step::Ended if self.frozen => Err("what has ended is frozen"),
            Step::Ended if self.wish != Wish::None => Err("who asked waits for ever"),
            _ => Ok(()),
        }
    }
}

#[test]
fn what_is_said_to_be_paused_stands_still_and_everything_else_goes_on_whatever_befalls() {
    let states = search(World::new(None)).unwrap_or_else(|problem| panic!("{problem}"));
    assert!(states > 100, "{states} states are not the model that was meant");
}

#[test]
fn each_defence_of_a_pause_is_needed() {
    for defence in DEFENCES {
        let found = search(World::new(Some(defence)));
        let problem = found.expect_err("the model does not see what this defence is for");
        eprintln!("without {defence:?}, {problem}\n");
    }
}
