//! What the next daemon does with what it finds.

use super::{Defence, End, Event, Record, Sandbox, Step, Told, World};

impl World {
    /// What a daemon does that starts anew.
    pub fn recover(self) -> Vec<(Event, Self)> {
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
}
