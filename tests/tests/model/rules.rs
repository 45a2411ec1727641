//! What has to be so: always, and once nothing is left to do.

use super::{End, Record, Sandbox, Told, World};

impl World {
    /// What has to be so in every state.
    pub fn check_always(&self) -> Result<(), &'static str> {
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
            (Told::Refused, Record::Open | Record::Closed(_)) => {
                Err("its caller was told that it is refused, and there is a record")
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
    pub fn check_at_rest(&self) -> Result<(), &'static str> {
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
