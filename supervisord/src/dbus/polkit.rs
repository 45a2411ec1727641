//! What polkit says (polkit(8), org.freedesktop.PolicyKit1.Authority). It is asked about the
//! connection and not about a process, whose number may be another's by then. No answer is no.

use std::collections::HashMap;

use tokio::time::timeout;
use zbus::{Connection, Variant};

use crate::dbus::bounds::{PERSON_PATIENCE, POLKIT_PATIENCE};

const AUTHORITY: &str = "org.freedesktop.PolicyKit1";
const AUTHORITY_PATH: &str = "/org/freedesktop/PolicyKit1/Authority";
const AUTHORITY_INTERFACE: &str = "org.freedesktop.PolicyKit1.Authority";

/// CheckAuthorizationFlags: AllowUserInteraction.
const ALLOW_USER_INTERACTION: u32 = 1;

/// What administrators may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// See others' executions, their output and their artifacts.
    SeeAll,
    /// End others' executions.
    CancelOthers,
    /// Extend and close others' sessions.
    ManageSessions,
    /// Use others' sessions and executions: their files, their input, their cells.
    UseOthers,
    /// Read configuration and policies anew.
    Reload,
    /// Look at credentials, rotate and revoke them.
    Credentials,
    /// Let budgets begin anew.
    ResetBudgets,
    /// Decide on what a policy leaves to a person.
    Approve,
}

impl Action {
    /// Its name, as it stands in the file of actions.
    pub const fn id(self) -> &'static str {
        match self {
            Self::SeeAll => "org.supervisord.Supervisor1.see-all",
            Self::CancelOthers => "org.supervisord.Supervisor1.cancel-others",
            Self::ManageSessions => "org.supervisord.Supervisor1.manage-sessions",
            Self::UseOthers => "org.supervisord.Supervisor1.use-others",
            Self::Credentials => "org.supervisord.Supervisor1.credentials",
            Self::ResetBudgets => "org.supervisord.Supervisor1.reset-budgets",
            Self::Approve => "org.supervisord.Supervisor1.approve",
            Self::Reload => "org.supervisord.Supervisor1.reload",
        }
    }
}

/// What it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Allowed.
    Yes,
    /// Not allowed, or nobody answers.
    No,
    /// Allowed to who authenticates, and the call does not let anybody be asked.
    Challenge,
}

/// Whether whoever has this connection may do this; `ask` allows asking for a password, which may take
/// as long as a person takes.
pub async fn decide(bus: &Connection, sender: &str, action: Action, ask: bool) -> Decision {
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(sender))]));
    let details: HashMap<&str, &str> = HashMap::new();
    let flags = if ask { ALLOW_USER_INTERACTION } else { 0 };
    let body = (subject, action.id(), details, flags, "");
    let method = "CheckAuthorization";
    let asked =
        bus.call_method(Some(AUTHORITY), AUTHORITY_PATH, Some(AUTHORITY_INTERFACE), method, &body);
    let patience = if ask { PERSON_PATIENCE } else { POLKIT_PATIENCE };
    let answer = match timeout(patience, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            tracing::info!(%error, action = action.id(), "polkit does not answer: denied");
            return Decision::No;
        }
        Err(_elapsed) => {
            tracing::warn!(action = action.id(), "polkit does not answer in time: denied");
            return Decision::No;
        }
    };
    let said = answer.body().deserialize::<(bool, bool, HashMap<String, String>)>();
    match said {
        Ok((true, _, _)) => Decision::Yes,
        Ok((false, true, _)) => Decision::Challenge,
        Ok((false, false, _)) => Decision::No,
        Err(error) => {
            tracing::warn!(%error, "polkit answers what is no answer: denied");
            Decision::No
        }
    }
}
