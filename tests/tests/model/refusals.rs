//! A submission that the log or the store refuses, whatever has come of it by then.

use super::{Event, Record, Sandbox, Step, Told, World};

impl World {
    /// What may be refused now.
    pub fn refuse(self, runs: bool) -> Vec<(Event, Self)> {
        let faults = self.faults - 1;
        let refused = Self { faults, ..self.end_refused() };
        match self.step {
            // Its sandbox may have been made meanwhile, and goes.
            Step::Submitted => vec![("the log refuses it", refused)],
            Step::Audited if !self.untold => vec![("the store refuses it", refused)],
            // It runs, perhaps: it is ended first.
            _ if runs && self.untold && self.record == Record::None && !self.refused => {
                let ending = Self { refused: true, wanted: true, faults, ..self };
                vec![("the store refuses it", ending)]
            }
            _ => Vec::new(),
        }
    }

    /// Nothing is left of it, and its caller hears why.
    pub fn end_refused(self) -> Self {
        let after = Self { step: Step::Done, told: Told::Refused, sandbox: Sandbox::None, ..self };
        Self { reason: false, kept: None, artifacts: false, ..after }
    }
}
