//! The names on the bus, and which object a path means.

use std::fmt::Display;
use std::str::FromStr;

use supervisor_api::{ApprovalId, ExecutionId, SessionId};
use zbus::ObjectPath;

/// The well-known name.
pub const BUS_NAME: &str = "org.supervisord.Supervisor1";

/// The manager's object, which is the object manager too.
pub const MANAGER_PATH: &str = "/org/supervisord/Supervisor1";

/// What executions' objects hang under.
pub const EXECUTIONS_PATH: &str = "/org/supervisord/Supervisor1/execution";

/// What sessions' objects hang under.
pub const SESSIONS_PATH: &str = "/org/supervisord/Supervisor1/session";

/// The manager's interface.
pub const MANAGER: &str = "org.supervisord.Supervisor1.Manager";

/// An execution's interface.
pub const EXECUTION: &str = "org.supervisord.Supervisor1.Execution";

/// A session's interface.
pub const SESSION: &str = "org.supervisord.Supervisor1.Session";

/// The interface of operations, which the manager's object has.
pub const OPERATIONS: &str = "org.supervisord.Supervisor1.Operations";

/// The standard interfaces (D-Bus specification, "Standard Interfaces").
pub const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// Descriptions.
pub const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";
/// Lists of objects.
pub const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
/// Signs of life.
pub const PEER: &str = "org.freedesktop.DBus.Peer";

/// The bus itself.
pub const BUS: &str = "org.freedesktop.DBus";
/// Its object.
pub const BUS_PATH: &str = "/org/freedesktop/DBus";

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object {
    /// A node above the manager, with the one child on the way to it.
    Above(&'static str),
    /// The manager.
    Manager,
    /// The node that executions hang under.
    Executions,
    /// An execution, if there is one of this id.
    Execution(ExecutionId),
    /// The node that sessions hang under.
    Sessions,
    /// A session, if there is one of this id.
    Session(SessionId),
}

impl Object {
    /// The object at a path, if there can be one.
    pub fn at(path: &str) -> Option<Self> {
        match path {
            "/" => return Some(Self::Above("org")),
            "/org" => return Some(Self::Above("supervisord")),
            "/org/supervisord" => return Some(Self::Above("Supervisor1")),
            MANAGER_PATH => return Some(Self::Manager),
            EXECUTIONS_PATH => return Some(Self::Executions),
            SESSIONS_PATH => return Some(Self::Sessions),
            _ => {}
        }
        let execution = || id_at(path, EXECUTIONS_PATH).map(Self::Execution);
        execution().or_else(|| id_at(path, SESSIONS_PATH).map(Self::Session))
    }
}

/// The id that a path beneath a node has.
fn id_at<T: FromStr>(path: &str, node: &str) -> Option<T> {
    let element = path.strip_prefix(node)?.strip_prefix('/')?;
    // An id has one `-`, which can't stand in a path, and no `_`: one spelling each way.
    if element.contains('-') {
        return None;
    }
    element.replacen('_', "-", 1).parse().ok()
}

/// The last element of an object's path.
pub fn element_of(id: impl Display) -> String {
    id.to_string().replace('-', "_")
}

/// An execution's path.
pub fn path_of(id: ExecutionId) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{EXECUTIONS_PATH}/{}", element_of(id)))
}

/// A session's path.
pub fn session_path_of(id: SessionId) -> ObjectPath<'static> {
    ObjectPath::from_string_unchecked(format!("{SESSIONS_PATH}/{}", element_of(id)))
}

/// An id that is never given out.
pub trait Nobody {
    /// It.
    const NOBODY: Self;
}

impl Nobody for ExecutionId {
    const NOBODY: Self = Self::from_bits(0);
}

impl Nobody for SessionId {
    const NOBODY: Self = Self::from_bits(0);
}

impl Nobody for ApprovalId {
    const NOBODY: Self = Self::from_bits(0);
}

/// The id in a text. What can't be an id is looked up as the one that is never given out, so that it
/// gets the very answer that any unknown or foreign one gets.
pub fn id_in<T: FromStr + Nobody>(text: &str) -> T {
    text.parse().unwrap_or(T::NOBODY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_execution_has_one_path_and_the_path_one_execution() {
        for bits in [0, 1, u128::MAX] {
            let id = ExecutionId::from_bits(bits);
            let path = path_of(id);
            assert!(ObjectPath::try_from(path.as_str()).is_ok(), "{path}");
            assert_eq!(Object::at(path.as_str()), Some(Object::Execution(id)));
        }
        let session = SessionId::from_bits(7);
        let path = session_path_of(session);
        assert_eq!(Object::at(path.as_str()), Some(Object::Session(session)));
        for path in ["/org/supervisord/Supervisor1/execution/", "/org/supervisord/Supervisor1/x"] {
            assert_eq!(Object::at(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_means_an_execution_but_its_own(path in "/org/supervisord/Supervisor1/execution/[a-z_0-9-]{0,30}") {
            if let Some(Object::Execution(id)) = Object::at(&path) {
                let own = path_of(id);
                prop_assert_eq!(own.as_str(), path);
            }
        }
    }
}
