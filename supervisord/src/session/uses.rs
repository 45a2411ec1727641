//! What a session is used for, and what that keeps others from.

use supervisor_api::{ApiError, ErrorCode, ExecutionId};

/// How a session is used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Uses {
    pub executions: u64,
    pub calls: u64,
    /// Among the executions, those that nobody finds among all that live yet.
    pub starting: u64,
    /// Among the calls, those that change files.
    pub changes: u64,
    /// Copies of its workspace that are being made, or the one into it.
    pub copies: u64,
    /// Among the copies, the one into it, or none where its workspace begins empty: it is not there yet.
    pub making: u64,
    /// The execution whose changes are in it by half, from when applying them is noted until it is done.
    pub applying: Option<ExecutionId>,
    pub closing: bool,
}

/// What a session is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Its files stay as they are, and nobody looks at them.
    Keep,
    Look,
    Change,
    Run,
    /// It ran before there was this daemon.
    RunOn,
    /// Makes its workspace, which nobody else uses before it is whole.
    Make,
    Copy,
    /// Puts an execution's changes into it.
    Apply(ExecutionId),
}

impl Purpose {
    /// Whether an execution uses it so.
    pub const fn runs(self) -> bool {
        matches!(self, Self::Run | Self::RunOn)
    }
}

impl Uses {
    /// Why it can't be used so just now.
    pub fn refusal(&self, purpose: Purpose) -> Option<ApiError> {
        if self.closing {
            return Some(being_closed());
        }
        let conflict = |problem| {
            ApiError::new(ErrorCode::Conflict, problem).with_hint("try again when it is done")
        };
        match (purpose, self.applying) {
            (Purpose::RunOn | Purpose::Make, _) => None,
            // Nor is anything recorded of it: where making it fails, nothing of it stays.
            _ if self.making > 0 => Some(conflict("the session is being made")),
            (Purpose::Keep, _) => None,
            (Purpose::Apply(asked), Some(half)) if asked != half => Some(half_applied(half)),
            (Purpose::Look | Purpose::Change | Purpose::Run | Purpose::Copy, Some(half)) => {
                Some(half_applied(half))
            }
            (Purpose::Change | Purpose::Run, _) if self.copies > 0 => {
                Some(conflict("the session's workspace is being copied"))
            }
            (Purpose::Copy | Purpose::Apply(_), _) if self.changes > 0 => {
                Some(conflict("files of the session are being changed"))
            }
            (Purpose::Copy | Purpose::Apply(_), _) if self.starting > 0 => {
                Some(conflict("something is about to run in the session"))
            }
            _ => None,
        }
    }

    /// One more that is about to run, unless its workspace is being copied or changes are in it by half.
    pub fn go_on(&mut self) -> Result<(), ApiError> {
        if let Some(half) = self.applying {
            return Err(half_applied(half));
        }
        if self.copies > 0 {
            let problem = "the session's workspace is being copied";
            return Err(
                ApiError::new(ErrorCode::Conflict, problem).with_hint("try again when it is done")
            );
        }
        self.starting += 1;
        Ok(())
    }

    /// One use more, or less.
    pub fn count(&mut self, purpose: Purpose, by: i64) {
        let add = |count: &mut u64| *count = count.saturating_add_signed(by);
        match purpose {
            Purpose::Run | Purpose::RunOn => {
                add(&mut self.executions);
                self.starting += u64::from(by > 0); // until it is found
            }
            Purpose::Keep | Purpose::Look => add(&mut self.calls),
            Purpose::Change => {
                add(&mut self.calls);
                add(&mut self.changes);
            }
            Purpose::Make => {
                add(&mut self.calls);
                add(&mut self.copies);
                add(&mut self.making);
            }
            Purpose::Copy | Purpose::Apply(_) => {
                add(&mut self.calls);
                add(&mut self.copies);
            }
        }
    }
}

/// The refusal of what a session that is being closed takes no more.
pub fn being_closed() -> ApiError {
    ApiError::new(ErrorCode::Conflict, "the session is being closed")
        .with_hint("create another one")
}

/// The refusal of what a session takes as little as it can be seen, while an execution's changes are in it by half.
fn half_applied(changes: ExecutionId) -> ApiError {
    let problem = format!("the changes of execution {changes} are in the session by half");
    ApiError::new(ErrorCode::Conflict, problem)
        .with_hint("apply them again, which goes on with it, or close the session")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_to_go_on_keeps_a_copy_from_beginning_and_a_copy_keeps_it_from_going_on() {
        let mut uses = Uses::default();
        assert!(uses.go_on().is_ok());
        assert!(uses.refusal(Purpose::Copy).is_some());
        uses.starting -= 1;
        assert!(uses.refusal(Purpose::Copy).is_none());
        uses.count(Purpose::Copy, 1);
        assert!(uses.go_on().is_err());
        assert_eq!(uses.starting, 0);
    }

    #[test]
    fn what_is_being_made_is_used_by_nobody_else_before_it_is_whole() {
        let mut uses = Uses::default();
        uses.count(Purpose::Make, 1);
        for purpose in [Purpose::Keep, Purpose::Look, Purpose::Change, Purpose::Run, Purpose::Copy]
        {
            let refusal = uses.refusal(purpose).unwrap();
            assert_eq!(refusal.code, ErrorCode::Conflict, "{purpose:?}");
            assert!(refusal.hint.is_some());
        }
        uses.count(Purpose::Make, -1);
        assert!(uses.refusal(Purpose::Look).is_none());
        assert_eq!((uses.calls, uses.copies), (0, 0));
    }

    #[test]
    fn what_has_changes_in_it_by_half_takes_nothing_but_the_rest_of_them() {
        let (half, other) = (ExecutionId::from_bits(1), ExecutionId::from_bits(2));
        let mut uses = Uses { applying: Some(half), ..Uses::default() };
        for purpose in
            [Purpose::Look, Purpose::Change, Purpose::Run, Purpose::Copy, Purpose::Apply(other)]
        {
            let refusal = uses.refusal(purpose).unwrap();
            assert_eq!(refusal.code, ErrorCode::Conflict, "{purpose:?}");
            assert!(refusal.detail.contains(&half.to_string()), "{}", refusal.detail);
            assert!(refusal.hint.is_some());
        }
        assert!(uses.go_on().is_err());
        // Its end can be moved, what ran before is still there, and there is a way ahead.
        for purpose in [Purpose::Keep, Purpose::RunOn, Purpose::Apply(half)] {
            assert!(uses.refusal(purpose).is_none(), "{purpose:?}");
        }
    }
}
