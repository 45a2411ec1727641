//! From a message to the function that does it, by object, interface and member. The descriptions that
//! are served say the same; a test calls everything that they name.

use zbus::message::Message;

use crate::dbus::bounds::{MAX_CALL, MAX_TYPED_CALL};
use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::{
    EXECUTION, INTROSPECTABLE, MANAGER, OBJECT_MANAGER, OPERATIONS, Object, PEER, PROPERTIES,
    SESSION,
};
use crate::dbus::{execution, manager, objects, operations, properties, sessions, table};
use crate::metrics::OTHER;
use supervisor_api::{ApiError, ErrorCode, Method};

/// Whether a message may be as large as it is; asked before anything of it is read.
///
/// # Errors
///
/// [`ErrorCode::TooLarge`].
pub fn check_size(message: &Message) -> Result<(), Failure> {
    let header = message.header();
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    let of_table = header.interface().is_some_and(|interface| interface.as_str() == OPERATIONS);
    let is_json = if of_table { table::is_long(member) } else { member == "SubmitJson" };
    let most = if is_json { MAX_CALL } else { MAX_TYPED_CALL };
    if message.data().len() <= most {
        return Ok(());
    }
    let error = ApiError::new(ErrorCode::TooLarge, "the call is too large");
    let hint = format!("{most} bytes are the most; the socket takes larger submissions");
    Err(error.with_hint(hint).into())
}

/// Does what a call asks for.
///
/// # Errors
///
/// What becomes of it otherwise; the caller is told.
pub async fn act(front: &Front, call: &Call) -> Result<Message, Failure> {
    let header = call.message().header();
    let path = header.path().map(|path| path.as_str()).unwrap_or_default();
    let object = Object::at(path).ok_or_else(Failure::unknown_object)?;
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    // A call may leave its interface out (D-Bus specification); members here are unambiguous.
    let interface = header.interface().map(|interface| interface.as_str());
    let interface = interface.or_else(|| interface_of(object, member));
    match (object, interface.ok_or_else(Failure::unknown_method)?) {
        (_, PEER) => peer(call, member),
        (_, INTROSPECTABLE) => objects::introspect(front, call, object, member).await,
        (_, PROPERTIES) => properties::act(front, call, object, member).await,
        (Object::Manager, OBJECT_MANAGER) => objects::managed(front, call, member).await,
        (Object::Manager, OPERATIONS) => operations::act(front, call, member).await,
        (Object::Manager, MANAGER) => manager::act(front, call, member).await,
        (Object::Execution(id), EXECUTION) => execution::act(front, call, id, member).await,
        (Object::Session(id), SESSION) => sessions::act(front, call, id, member).await,
        _ => Err(Failure::unknown_interface()),
    }
}

/// The operation behind a call, by the name that the socket has for it.
pub fn operation(message: &Message) -> &'static str {
    let header = message.header();
    let member = header.member().map(|member| member.as_str()).unwrap_or_default();
    if header.interface().is_some_and(|interface| interface.as_str() == OPERATIONS) {
        return table::operation_of(member).map_or(OTHER, |operation| operation.id);
    }
    match member {
        "Submit" | "SubmitJson" => "submit",
        "Status" | "StatusJson" | "Get" | "GetAll" => "status",
        "List" | "ListJson" | "GetManagedObjects" => "list",
        "Cancel" => "cancel",
        "Pause" => "pause",
        "Resume" => "resume",
        "Output" => "output",
        "Artifacts" => "artifacts",
        "Artifact" => "artifact",
        "Doctor" => "doctor",
        "Policies" | "Policy" => "policies",
        "CreateSession" => "create_session",
        "Sessions" => "list_sessions",
        "Session" | "Usage" => "session",
        "ExtendSession" | "Extend" => "extend_session",
        "CloseSession" | "Close" => "close_session",
        "Credentials" => "credentials",
        "RotateCredential" => "rotate_credential",
        "RevokeCredential" => "revoke_credential",
        "Budgets" => "budgets",
        "ResetBudget" => "reset_budget",
        "Approvals" => "approvals",
        "Approval" => "approval",
        "Approve" | "Deny" => "answer",
        "Reload" => "reload",
        "Subscribe" | "Unsubscribe" => "subscribe",
        "Introspect" => "introspect",
        _ => OTHER,
    }
}

/// Whether a call changes something. Those of the interface of operations are the socket's, which sees to them.
pub fn changes(message: &Message) -> bool {
    let header = message.header();
    let is_the_socket_s = header.interface().is_some_and(|it| it.as_str() == OPERATIONS);
    let done = table::operation(operation(message));
    !is_the_socket_s && done.is_some_and(|done| done.method != Method::Get)
}

fn interface_of(object: Object, member: &str) -> Option<&'static str> {
    match (member, object) {
        ("Ping" | "GetMachineId", _) => Some(PEER),
        ("Introspect", _) => Some(INTROSPECTABLE),
        ("Get" | "GetAll" | "Set", _) => Some(PROPERTIES),
        ("GetManagedObjects", Object::Manager) => Some(OBJECT_MANAGER),
        (_, Object::Manager) => Some(MANAGER),
        (_, Object::Execution(_)) => Some(EXECUTION),
        (_, Object::Session(_)) => Some(SESSION),
        _ => None,
    }
}

/// Signs of life. The machine's id is for systemd to tell, and no business of ours.
fn peer(call: &Call, member: &str) -> Result<Message, Failure> {
    match member {
        "Ping" => call.answer(&()),
        _ => Err(Failure::unknown_method()),
    }
}
