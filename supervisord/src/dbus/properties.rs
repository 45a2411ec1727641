//! org.freedesktop.DBus.Properties. What can be read depends on who reads; nothing can be set.

use std::time::Duration;

use zbus::message::Message;

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::{
    EXECUTION, INTROSPECTABLE, MANAGER, OBJECT_MANAGER, OPERATIONS, Object, PEER, PROPERTIES,
    SESSION,
};
use crate::dbus::polkit::Action;
use crate::dbus::values::{self, Properties};
use crate::dbus::{manager, sessions};

/// Reads properties.
///
/// # Errors
///
/// When there are none of this name or the object is not the caller's.
pub async fn act(
    front: &Front,
    call: &Call,
    object: Object,
    member: &str,
) -> Result<Message, Failure> {
    match member {
        "Get" => {
            let (interface, name): (String, String) = call.arguments()?;
            let mut properties = of(front, call, object, &interface).await?;
            let value = properties.remove(name.as_str()).ok_or_else(Failure::unknown_property)?;
            call.answer(&(value,))
        }
        "GetAll" => {
            let (interface,): (String,) = call.arguments()?;
            call.answer(&(of(front, call, object, &interface).await?,))
        }
        "Set" => Err(Failure::read_only()),
        _ => Err(Failure::unknown_method()),
    }
}

async fn of(
    front: &Front,
    call: &Call,
    object: Object,
    interface: &str,
) -> Result<Properties, Failure> {
    match (object, interface) {
        (Object::Manager, MANAGER) => manager::properties(front),
        (Object::Execution(id), EXECUTION) => {
            let caller = front.caller_for(call, id, Action::SeeAll).await;
            let execution = front.supervisor.status(&caller, id, Duration::ZERO).await;
            Ok(values::properties(&execution.map_err(|_| Failure::unknown_object())?))
        }
        (Object::Session(id), SESSION) => {
            sessions::of(front, call, id).await.map_err(|_| Failure::unknown_object())
        }
        // The specification's own interfaces are there and have no properties.
        (Object::Manager, OPERATIONS) => Ok(Properties::new()),
        (_, PEER | PROPERTIES | INTROSPECTABLE | OBJECT_MANAGER | "") => Ok(Properties::new()),
        _ => Err(Failure::unknown_interface()),
    }
}
