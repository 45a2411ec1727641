//! Following questions as they come and are answered.

use supervisor_api::Approval;
use tokio::sync::broadcast;

use super::Approvals;
use crate::supervisor::Caller;

/// Every change to questions that a caller may see, from those there are.
pub struct Changes {
    approvals: Approvals,
    caller: Caller,
    ahead: Vec<Approval>,
    changes: broadcast::Receiver<Approval>,
}

impl Changes {
    /// What a caller sees: these first, the last of them at the front, then what comes.
    pub(super) const fn new(
        approvals: Approvals,
        caller: Caller,
        ahead: Vec<Approval>,
        changes: broadcast::Receiver<Approval>,
    ) -> Self {
        Self { approvals, caller, ahead, changes }
    }

    /// The next change; first the questions there are. `None` when the daemon ends.
    pub async fn next(&mut self) -> Option<Approval> {
        loop {
            if let Some(approval) = self.ahead.pop() {
                return Some(approval);
            }
            match self.changes.recv().await {
                Ok(approval) if self.approvals.may_see(&self.caller, &approval) => {
                    return Some(approval);
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.ahead = self.approvals.list(&self.caller).approvals;
                    self.ahead.reverse();
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
