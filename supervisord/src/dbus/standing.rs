//! As whom an operation is done: as the caller itself with what is its own, and as an administrator with
//! what is others' where polkit allows the action that this takes.

use supervisor_api::{ErrorCode, Method, OPERATIONS};

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::id_in;
use crate::dbus::polkit::Action;
use crate::supervisor::Caller;

/// Whose an operation's object may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// The caller's, or nobody's in particular.
    Own,
    /// The owner of the execution that the path names, or whom polkit allows this.
    Execution(Action),
    /// The same for a session.
    Session(Action),
    /// Everybody's with the option `all`, which polkit has to allow; else the caller's.
    All(Action),
    /// Everybody's if polkit allows it; else the caller's.
    Visible(Action),
    /// The question that the path names: for its owner and operators, and whom polkit allows to see.
    Question,
    /// An answer to one: an operator's, or whom polkit allows to give it, and never who has asked.
    Answer,
    /// For whom polkit allows it.
    Administrator(Action),
}

/// What is asked, as far as it says whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Object<'a> {
    /// The operation.
    pub operation: &'static str,
    /// The first parameter of the path, which is the id where there is one.
    pub id: &'a str,
    /// Whether everybody's is asked for.
    pub all: bool,
}

/// As whom the caller does an operation.
///
/// # Errors
///
/// When polkit does not let it, and when nobody has said who may.
pub async fn caller(front: &Front, call: &Call, object: Object<'_>) -> Result<Caller, Failure> {
    let standing = standing_of(object.operation).ok_or_else(Failure::unknown_method)?;
    Ok(match standing {
        Standing::Own => call.own(),
        Standing::Execution(action) => front.caller_for(call, id_in(object.id), action).await,
        Standing::Session(action) => front.caller_for_session(call, id_in(object.id), action).await,
        Standing::All(action) if object.all => front.administrator(call, action).await?,
        Standing::All(_) => call.own(),
        Standing::Visible(action) => front.raised(call, action).await,
        Standing::Question => {
            let shown = front.supervisor.inner().approvals.show(&call.own(), id_in(object.id));
            match shown {
                Err(error) if error.code == ErrorCode::NotFound => {
                    front.raised(call, Action::SeeAll).await
                }
                _ => call.own(),
            }
        }
        Standing::Answer => front.answerer(call, id_in(object.id)).await?,
        Standing::Administrator(action) => front.administrator(call, action).await?,
    })
}

/// The action that somebody else's takes.
pub fn action_of(operation: &str) -> Option<Action> {
    match standing_of(operation)? {
        Standing::Own => None,
        Standing::Execution(action)
        | Standing::Session(action)
        | Standing::All(action)
        | Standing::Visible(action)
        | Standing::Administrator(action) => Some(action),
        Standing::Question => Some(Action::SeeAll),
        Standing::Answer => Some(Action::Approve),
    }
}

/// Whose it is. What nobody has thought about here takes the most that its object can take, and without an
/// object nobody may do it.
fn standing_of(operation: &str) -> Option<Standing> {
    use Action::{
        CancelOthers, Credentials, ManageSessions, Reload, ResetBudgets, SeeAll, UseOthers,
    };
    Some(match operation {
        "submit" | "create_session" | "audit_key" | "doctor" | "policies" | "openapi" => {
            Standing::Own
        }
        "audit" | "approvals" | "approvals_follow" | "events" | "top" => Standing::Visible(SeeAll),
        "cancel" | "pause" | "resume" => Standing::Execution(CancelOthers),
        "session" | "list_interpreters" | "interpreter" | "list_cells" | "cell"
        | "list_snapshots" => Standing::Session(SeeAll),
        "pause_session" | "resume_session" | "close_interpreter" => Standing::Session(CancelOthers),
        "extend_session" | "close_session" => Standing::Session(ManageSessions),
        "approval" => Standing::Question,
        "answer" => Standing::Answer,
        "metrics" => Standing::Administrator(SeeAll),
        "reset_budget" => Standing::Administrator(ResetBudgets),
        "reload" => Standing::Administrator(Reload),
        "credentials" | "rotate_credential" | "revoke_credential" => {
            Standing::Administrator(Credentials)
        }
        other => {
            let operation = OPERATIONS.iter().find(|operation| operation.id == other)?;
            let reads = operation.method == Method::Get;
            match operation.path {
                path if path.starts_with("/v1/executions/{id}") && reads => {
                    Standing::Execution(SeeAll)
                }
                path if path.starts_with("/v1/executions/{id}") => Standing::Execution(UseOthers),
                path if path.starts_with("/v1/sessions/{id}") => Standing::Session(UseOthers),
                _ if operation.parameters.iter().any(|it| it.name == "all") => {
                    Standing::All(SeeAll)
                }
                _ => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use supervisor_api::Place;

    use super::*;

    #[test]
    fn of_every_operation_it_is_said_who_may_and_its_object_is_first_in_the_path() {
        for operation in OPERATIONS {
            let standing = standing_of(operation.id);
            let standing = standing.unwrap_or_else(|| panic!("nobody may {}", operation.id));
            let first = operation.parameters.iter().find(|it| it.place == Place::Path);
            let id = first.is_some_and(|parameter| parameter.name == "id");
            let of_one = matches!(
                standing,
                Standing::Execution(_)
                    | Standing::Session(_)
                    | Standing::Question
                    | Standing::Answer
            );
            assert_eq!(id, of_one, "{}", operation.id);
            let all = operation.parameters.iter().any(|parameter| parameter.name == "all");
            assert_eq!(all, matches!(standing, Standing::All(_)), "{}", operation.id);
            let is_session = operation.path.starts_with("/v1/sessions/{id}");
            assert_eq!(is_session, matches!(standing, Standing::Session(_)), "{}", operation.id);
        }
        for (operation, action) in [
            ("status", Action::SeeAll),
            ("output", Action::SeeAll),
            ("send_input", Action::UseOthers),
            ("apply_changes", Action::UseOthers),
            ("read_file", Action::UseOthers),
            ("run_cell", Action::UseOthers),
            ("list", Action::SeeAll),
            ("cancel", Action::CancelOthers),
            ("close_session", Action::ManageSessions),
            ("answer", Action::Approve),
        ] {
            assert_eq!(action_of(operation), Some(action), "{operation}");
        }
    }
}
