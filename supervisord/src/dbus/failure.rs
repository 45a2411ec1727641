//! Errors as the bus carries them: a name, a sentence, and a dictionary for programs.

use std::collections::BTreeMap;

use supervisor_api::{ApiError, ErrorCode};
use zbus::Variant;
use zbus::message::{Header, Message};

/// Where the names of our own errors start.
const PREFIX: &str = "org.supervisord.Supervisor1.Error.";

/// A call that was not done.
#[derive(Debug)]
pub enum Failure {
    /// The operation refused, by the code that the socket's callers get.
    Operation(ApiError),
    /// The call is none that this object has, by the name that every service gives it.
    Call(&'static str, String),
    /// It may be done by somebody who authenticates, and this call said that nobody is there.
    NobodyToAsk,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Operation(error)
    }
}

impl Failure {
    /// The arguments are not of the method's types.
    pub fn arguments(error: &zbus::Error) -> Self {
        Self::Call("org.freedesktop.DBus.Error.InvalidArgs", error.to_string())
    }

    /// No such object, or it is somebody else's.
    pub fn unknown_object() -> Self {
        let words = "there is no such object".to_owned();
        Self::Call("org.freedesktop.DBus.Error.UnknownObject", words)
    }

    /// No such interface here.
    pub fn unknown_interface() -> Self {
        let words = "the object has no such interface".to_owned();
        Self::Call("org.freedesktop.DBus.Error.UnknownInterface", words)
    }

    /// No such method.
    pub fn unknown_method() -> Self {
        let words = "the object has no such method".to_owned();
        Self::Call("org.freedesktop.DBus.Error.UnknownMethod", words)
    }

    /// No such property.
    pub fn unknown_property() -> Self {
        let words = "the interface has no such property".to_owned();
        Self::Call("org.freedesktop.DBus.Error.UnknownProperty", words)
    }

    /// Properties are for reading.
    pub fn read_only() -> Self {
        let words = "no property can be set".to_owned();
        Self::Call("org.freedesktop.DBus.Error.PropertyReadOnly", words)
    }

    /// Too many at once.
    pub fn busy(words: &str) -> Self {
        let error = ApiError::new(ErrorCode::Busy, words);
        Self::Operation(error.with_hint("wait for the answers to earlier calls"))
    }

    /// The arguments are not of these types.
    pub fn signature(expected: &str) -> Self {
        let words = format!("the signature of the arguments is not `{expected}`");
        Self::Call("org.freedesktop.DBus.Error.InvalidArgs", words)
    }

    /// The answer is longer than a message should be.
    pub fn too_large() -> Self {
        let error = ApiError::new(ErrorCode::TooLarge, "the answer is too large for a message");
        let hint = "org.supervisord.Supervisor1.Operations.ByDescriptor hands it out by descriptor";
        Self::Operation(error.with_hint(hint))
    }

    /// A fault of ours; the journal has the cause.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "a call over the bus failed");
        let words = "the daemon failed; its journal has the cause";
        Self::Operation(ApiError::new(ErrorCode::Internal, words))
    }

    /// The code that stands for it where errors are counted.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Operation(error) => error.code,
            Self::Call(..) => ErrorCode::InvalidArgument,
            Self::NobodyToAsk => ErrorCode::PermissionDenied,
        }
    }

    /// The answer to a call.
    ///
    /// # Errors
    ///
    /// When the message can't be built, which no text of ours brings about.
    pub fn answer(&self, call: &Header<'_>) -> zbus::Result<Message> {
        let none: BTreeMap<&str, Variant<'_>> = BTreeMap::new();
        match self {
            Self::Operation(error) => {
                let name = format!("{PREFIX}{}", camel(error.code.name()));
                Message::error(call, name).build(&(clean(&error.to_string()), details(error)))
            }
            Self::Call(name, words) => Message::error(call, *name).build(&(clean(words), none)),
            Self::NobodyToAsk => {
                let name = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
                let words = "this needs authentication; allow interactive authorization";
                Message::error(call, name).build(&(words, none))
            }
        }
    }
}

fn details(error: &ApiError) -> BTreeMap<&'static str, Variant<'static>> {
    let mut details = BTreeMap::from([("code", Variant::from(error.code.name()))]);
    for (key, text) in [("field", &error.field), ("hint", &error.hint)] {
        if let Some(text) = text {
            details.insert(key, Variant::from(clean(text)));
        }
    }
    details
}

/// A D-Bus string holds no NUL; a caller's own text that is repeated may.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// `not_found` as `NotFound`.
pub fn camel(name: &str) -> String {
    let words = name.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_names_in_the_manner_of_the_bus() {
        assert_eq!(camel("not_found"), "NotFound");
        assert_eq!(camel("busy"), "Busy");
    }
}
