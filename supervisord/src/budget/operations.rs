//! What administrators do with budgets, for whichever front end was asked.

use supervisor_api::{Administration, ApiError, Budget, ErrorCode, Subject, What};

use super::account::Account;
use crate::supervisor::{Caller, Role, Supervisor};

impl Supervisor {
    /// Lets a budget begin anew: nothing of it is spent. What is under way is counted from here on.
    ///
    /// # Errors
    /// For callers who are no administrators, when nothing was charged to such an account yet, and when
    /// it can't be recorded.
    pub fn reset_budget(&self, caller: &Caller, account: &str) -> Result<Budget, ApiError> {
        if caller.role != Role::Admin {
            let problem = "only administrators reset budgets";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem));
        }
        let inner = self.inner();
        inner.audit.admit()?;
        let known: Account = account.parse().map_err(|()| not_found())?;
        let budget = inner.budgets.reset(&known).ok_or_else(not_found)?;
        let session = match &known {
            Account::Session(id) => Some(*id),
            Account::Credential(_) | Account::Uid(_) => None,
        };
        let whom = Subject { session, execution: None, uid: budget.owner_uid };
        let act = Administration {
            act: "reset_budget".to_owned(),
            by: Some(caller.uid),
            object: Some(known.to_string()),
        };
        inner.audit.note(What::Administration(act).about(whom));
        Ok(budget)
    }
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "nothing was charged to an account of this name")
        .with_hint("supervisorctl budgets --all shows them")
}
