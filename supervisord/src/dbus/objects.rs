//! Which objects there are for whom, and what they look like.

use std::collections::{BTreeMap, HashMap};

use supervisor_api::{Execution, Session};
use zbus::ObjectPath;
use zbus::message::Message;

use crate::dbus::bounds::{MAX_OBJECT_BYTES, MAX_OBJECTS};
use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::{EXECUTION, Object, SESSION, element_of, path_of, session_path_of};
use crate::dbus::values::{self, Properties};
use crate::dbus::{sessions, table};

/// Our own interfaces, as they are installed.
const MANAGER: &str = include_str!("../../../systemd/dbus/org.supervisord.Supervisor1.Manager.xml");
const EXECUTIONS: &str =
    include_str!("../../../systemd/dbus/org.supervisord.Supervisor1.Execution.xml");
const SESSIONS: &str =
    include_str!("../../../systemd/dbus/org.supervisord.Supervisor1.Session.xml");

/// The document type of descriptions (D-Bus specification, "Introspection Data Format").
const DOCUMENT: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
"#;

/// What every object has.
const STANDARD: &str = r#" <interface name="org.freedesktop.DBus.Peer">
  <method name="Ping"/>
 </interface>
 <interface name="org.freedesktop.DBus.Introspectable">
  <method name="Introspect">
   <arg name="xml" type="s" direction="out"/>
  </method>
 </interface>
 <interface name="org.freedesktop.DBus.Properties">
  <method name="Get">
   <arg name="interface" type="s" direction="in"/>
   <arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="out"/>
  </method>
  <method name="GetAll">
   <arg name="interface" type="s" direction="in"/>
   <arg name="properties" type="a{sv}" direction="out"/>
  </method>
  <method name="Set">
   <arg name="interface" type="s" direction="in"/>
   <arg name="property" type="s" direction="in"/>
   <arg name="value" type="v" direction="in"/>
  </method>
  <signal name="PropertiesChanged">
   <arg name="interface" type="s"/>
   <arg name="changed" type="a{sv}"/>
   <arg name="invalidated" type="as"/>
  </signal>
 </interface>
"#;

/// What the manager's object has besides.
const OBJECT_MANAGER: &str = r#" <interface name="org.freedesktop.DBus.ObjectManager">
  <method name="GetManagedObjects">
   <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
  </method>
  <signal name="InterfacesAdded">
   <arg name="object" type="o"/>
   <arg name="interfaces" type="a{sa{sv}}"/>
  </signal>
  <signal name="InterfacesRemoved">
   <arg name="object" type="o"/>
   <arg name="interfaces" type="as"/>
  </signal>
 </interface>
"#;

/// Interfaces with their properties.
type Interfaces = BTreeMap<&'static str, Properties>;

/// Describes an object.
///
/// # Errors
///
/// When the member is another one.
pub async fn introspect(
    front: &Front,
    call: &Call,
    object: Object,
    member: &str,
) -> Result<Message, Failure> {
    if member != "Introspect" {
        return Err(Failure::unknown_method());
    }
    call.arguments::<()>()?;
    let mut text = format!("{DOCUMENT}<node>\n{STANDARD}");
    match object {
        Object::Above(child) => text.push_str(&node(child)),
        Object::Manager => {
            text.push_str(OBJECT_MANAGER);
            text.push_str(interface(MANAGER));
            text.push_str(interface(&table::DESCRIPTION));
            text.push_str(&node("execution"));
            text.push_str(&node("session"));
        }
        Object::Executions => {
            for execution in own(front, call) {
                text.push_str(&node(&element_of(execution.id)));
            }
        }
        Object::Sessions => {
            for session in own_sessions(front, call).await? {
                text.push_str(&node(&element_of(session.id)));
            }
        }
        // Whether there is this one is not told here: all of them look the same.
        Object::Execution(_) => text.push_str(interface(EXECUTIONS)),
        Object::Session(_) => text.push_str(interface(SESSIONS)),
    }
    text.push_str("</node>\n");
    call.answer(&(text,))
}

/// The caller's executions that have not finished, and its sessions.
///
/// # Errors
///
/// When the member is another one.
pub async fn managed(front: &Front, call: &Call, member: &str) -> Result<Message, Failure> {
    if member != "GetManagedObjects" {
        return Err(Failure::unknown_method());
    }
    call.arguments::<()>()?;
    let mut objects: HashMap<ObjectPath<'static>, Interfaces> = HashMap::new();
    let mut left = MAX_OBJECT_BYTES;
    for execution in own(front, call) {
        let Some(rest) = left.checked_sub(weight(&execution)) else { break };
        left = rest;
        objects.insert(path_of(execution.id), interfaces(&execution));
    }
    for session in own_sessions(front, call).await? {
        objects.insert(session_path_of(session.id), session_interfaces(&session));
    }
    call.answer(&(objects,))
}

/// The interfaces of an execution's object, with their properties.
pub fn interfaces(execution: &Execution) -> Interfaces {
    Interfaces::from([(EXECUTION, values::properties(execution))])
}

/// The interfaces of a session's object, with their properties.
pub fn session_interfaces(session: &Session) -> Interfaces {
    Interfaces::from([(SESSION, sessions::properties(session))])
}

/// The caller's own, of which there are never many.
async fn own_sessions(front: &Front, call: &Call) -> Result<Vec<Session>, Failure> {
    Ok(front.supervisor.sessions(&call.own(), false).await?.sessions)
}

/// The newest of the caller's own.
fn own(front: &Front, call: &Call) -> Vec<Execution> {
    let mut own: Vec<_> = front.supervisor.unfinished_of(call.own().uid);
    own.sort_by(|one, other| other.created_at.cmp(&one.created_at));
    own.truncate(MAX_OBJECTS);
    own
}

/// About how many bytes of the caller's own text there are in an execution.
fn weight(execution: &Execution) -> usize {
    let labels = execution.labels.0.iter().map(|(name, value)| name.len() + value.len());
    execution.argv.iter().map(String::len).chain(labels).sum()
}

/// The interface in a file that describes one.
fn interface(file: &str) -> &str {
    let start = file.find(" <interface").unwrap_or_default();
    file.get(start..).and_then(|rest| rest.strip_suffix("</node>\n")).unwrap_or_default()
}

fn node(name: &str) -> String {
    format!(" <node name=\"{name}\"/>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_descriptions_are_found_in_their_files() {
        for (file, name) in [
            (MANAGER, "Manager"),
            (table::DESCRIPTION.as_str(), "Operations"),
            (EXECUTIONS, "Execution"),
            (SESSIONS, "Session"),
        ] {
            let text = interface(file);
            assert!(
                text.starts_with(&format!(
                    " <interface name=\"org.supervisord.Supervisor1.{name}\">"
                ))
            );
            assert!(text.ends_with("</interface>\n"));
        }
    }
}
