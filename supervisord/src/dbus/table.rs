//! The methods that the table of operations makes: what they are called, what they take and give, and how they are
//! described. A method has the operation's name in the manner of the bus; its arguments are what stands
//! in the path, in its order, then the query as a dictionary, then the body.

use std::fmt::Write as _;
use std::sync::LazyLock;

use supervisor_api::{OPERATIONS, Operation, Parameter, Place, RAW_BODY};

use crate::dbus::failure::camel;

/// The method that any operation can be called by which answers with a descriptor.
pub const BY_DESCRIPTOR: &str = "ByDescriptor";

/// What an argument stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A parameter of the path.
    Path(&'static str),
    /// All of the query.
    Options,
    /// A body of JSON.
    Json,
    /// A body of bytes.
    Bytes,
}

/// What [`BY_DESCRIPTOR`] takes: the operation, the parameters of its path, the query, the body.
pub const ANY_SIGNATURE: &str = "sasa{sv}v";

/// The operation that a method does.
pub fn operation_of(member: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| camel(operation.id) == member)
}

/// The operation of an id.
pub fn operation(id: &str) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.id == id)
}

/// The arguments of a method, with their types.
pub fn arguments(operation: &Operation) -> Vec<(Part, &'static str)> {
    let mut arguments: Vec<_> = in_path(operation)
        .map(|parameter| (Part::Path(parameter.name), type_of(parameter)))
        .collect();
    if has_query(operation) {
        arguments.push((Part::Options, "a{sv}"));
    }
    match operation.request {
        Some(RAW_BODY) => arguments.push((Part::Bytes, "v")),
        Some(_) => arguments.push((Part::Json, "s")),
        None => {}
    }
    arguments
}

/// The parameters of an operation's path, in its order.
pub fn in_path(operation: &Operation) -> impl Iterator<Item = &'static Parameter> {
    operation.parameters.iter().filter(|parameter| parameter.place == Place::Path)
}

/// Whether an operation has a query.
pub fn has_query(operation: &Operation) -> bool {
    operation.parameters.iter().any(|parameter| parameter.place == Place::Query)
}

/// Whether an answer is one JSON value, and not bytes that come one after the other.
pub fn answers_json(operation: &Operation) -> bool {
    operation.media_type == "application/json"
}

/// Whether a call may be large: one long text takes its own size in memory, which no other type does.
pub fn is_long(member: &str) -> bool {
    operation_of(member).is_some_and(|operation| {
        operation.request.is_some_and(|body| body != RAW_BODY) && !has_query(operation)
    })
}

/// The interface in the form that is installed and served.
pub static DESCRIPTION: LazyLock<String> = LazyLock::new(|| {
    let mut text = String::from(HEAD);
    for operation in OPERATIONS {
        describe(&mut text, operation);
    }
    text.push_str(TAIL);
    text
});

const HEAD: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
 <!--
   Every operation of the socket, on the manager's object; made of the table of operations. Arguments are
   the parameters of the path, not percent-encoded, then the query as a dictionary (s, b, or a whole
   number), then the body: JSON as s, and bytes as a variant of s, ay, or h: a file in memory
   (memfd_create(2)), read from its start to its end. The answer is JSON, or a pipe where the socket's is no
   JSON. /v1/openapi.json, or Openapi here, says what the JSON is. Whoever may not see an object is told
   that there is none; what is others' is polkit's to allow, by the action in brackets.
 -->
 <interface name="org.supervisord.Supervisor1.Operations">
"#;

const TAIL: &str = r#"  <!--
    Any operation, by its name on the socket (list_sessions), with an answer of any size as a pipe. The body
    is the empty string where the operation has none.
  -->
  <method name="ByDescriptor">
   <arg name="operation" type="s" direction="in"/>
   <arg name="path" type="as" direction="in"/>
   <arg name="options" type="a{sv}" direction="in"/>
   <arg name="body" type="v" direction="in"/>
   <arg name="answer" type="h" direction="out"/>
  </method>
 </interface>
</node>
"#;

fn describe(text: &mut String, operation: &Operation) {
    let mut words = operation.summary.to_owned();
    let query = operation.parameters.iter().filter(|parameter| parameter.place == Place::Query);
    let options: Vec<_> = query.map(|parameter| parameter.name).collect();
    if !options.is_empty() {
        words = format!("{words} Options: {}.", options.join(", "));
    }
    if let Some(action) = super::standing::action_of(operation.id) {
        words = format!("{words} [{}]", action.id());
    }
    line(text, &format!("  <!-- {} -->", words.replace("--", "- -")));
    line(text, &format!("  <method name=\"{}\">", camel(operation.id)));
    for (part, signature) in arguments(operation) {
        let name = match part {
            Part::Path(name) => name,
            Part::Options => "options",
            Part::Json | Part::Bytes => "body",
        };
        line(text, &format!("   <arg name=\"{name}\" type=\"{signature}\" direction=\"in\"/>"));
    }
    let answer = if answers_json(operation) { "s" } else { "h" };
    line(text, &format!("   <arg name=\"answer\" type=\"{answer}\" direction=\"out\"/>"));
    line(text, "  </method>");
}

fn line(text: &mut String, words: &str) {
    // Writing to a string does not fail.
    writeln!(text, "{words}").ok();
}

/// Numbers are numbers, all else is text.
fn type_of(parameter: &Parameter) -> &'static str {
    let schema: serde_json::Value = serde_json::from_str(parameter.schema).unwrap_or_default();
    match schema.get("type").and_then(serde_json::Value::as_str) {
        Some("integer") => "t",
        _ => "s",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_once() {
        let methods = DESCRIPTION.matches("<method name=").count();
        assert_eq!(methods, OPERATIONS.len() + 1);
        for operation in OPERATIONS {
            let method = format!("<method name=\"{}\">", camel(operation.id));
            assert_eq!(DESCRIPTION.matches(&method).count(), 1, "{method}");
        }
    }

    #[test]
    fn a_method_is_found_by_its_name_and_takes_what_its_path_query_and_body_have() {
        let signature = |member: &str| {
            let operation = operation_of(member).expect("there is one");
            arguments(operation).into_iter().map(|(_, signature)| signature).collect::<String>()
        };
        assert_eq!(signature("WriteFile"), "ssa{sv}v");
        assert_eq!(signature("RunCell"), "sss");
        assert_eq!(signature("Cell"), "ssta{sv}");
        assert_eq!(signature("Doctor"), "");
        assert!(operation_of("ByDescriptor").is_none() && operation_of("doctor").is_none());
        assert!(is_long("Submit") && !is_long("WriteFile") && !is_long("Status"));
    }
}
