//! What a file says, in its own shape and not checked yet. Unknown keys end the reading here; spans
//! are kept where a later check may have to point.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::diagnostic::Diagnostic;
use crate::document::Document;
use crate::egress::raw::{RawAddresses, RawBinding, RawBudgets, RawRule};
use crate::limit::{PerLimit, limit_table};
use crate::suggest;

/// A policy file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a policy")]
#[schemars(rename = "Policy")]
pub(crate) struct RawPolicy {
    /// The name, which is the file's without its ending.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What it is for, in a sentence.
    #[schemars(with = "Option<String>")]
    pub description: Option<Spanned<String>>,
    /// The policy whose values and rules hold where this one says nothing.
    #[schemars(with = "Option<String>")]
    pub extends: Option<Spanned<String>>,
    /// What an execution gets unasked, and the most that it may ask for.
    pub limits: Option<RawLimits>,
    /// The image, and whether written files can be executed.
    pub filesystem: Option<RawFilesystem>,
    /// The payload's variables.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub environment: BTreeMap<Spanned<String>, Spanned<String>>,
    /// The allow-list of system calls.
    pub syscalls: Option<RawSyscalls>,
    /// Sandboxes that are parked ahead.
    pub warm: Option<RawWarm>,
    /// The controls that a strict daemon must have.
    pub requires: Option<RawRequires>,
    /// Rules about what may leave the sandbox; nothing may where there are none.
    #[serde(default)]
    #[schemars(with = "Vec<RawRule>")]
    pub egress: Vec<Spanned<RawRule>>,
    /// Which requests credentials go into, and where.
    #[serde(default)]
    #[schemars(with = "Vec<RawBinding>")]
    pub credential: Vec<Spanned<RawBinding>>,
    /// What one session may use.
    pub budgets: Option<RawBudgets>,
    /// Examples, which are run at load.
    #[serde(default)]
    #[schemars(with = "Vec<RawExpect>")]
    pub expect: Vec<Spanned<RawExpect>>,
}

/// The floor's file: bounds only, no defaults.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a floor")]
#[schemars(rename = "Floor")]
pub(crate) struct RawFloor {
    /// The name, which is the file's without its ending.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What it is for, in a sentence.
    #[schemars(with = "Option<String>")]
    pub description: Option<Spanned<String>>,
    /// What an execution gets unasked, and the most that it may ask for.
    pub limits: Option<RawFloorLimits>,
    /// The image, and whether written files can be executed.
    pub filesystem: Option<RawFloorFilesystem>,
    /// The allow-list of system calls.
    pub syscalls: Option<RawFloorSyscalls>,
    /// The controls that a strict daemon must have.
    pub requires: Option<RawRequires>,
    /// Rules about what may leave the sandbox; nothing may where there are none.
    #[serde(default)]
    #[schemars(with = "Vec<RawRule>")]
    pub egress: Vec<Spanned<RawRule>>,
    /// Addresses that policies may open.
    pub addresses: Option<RawAddresses>,
    /// What one session may use.
    pub budgets: Option<RawBudgets>,
    /// Examples, which are run at load.
    #[serde(default)]
    #[schemars(with = "Vec<RawExpect>")]
    pub expect: Vec<Spanned<RawExpect>>,
}

/// Limits by name, each where it stands.
pub(crate) type RawAmounts = PerLimit<Option<Spanned<Amount>>>;

macro_rules! raw_limits {
    ($($(#[$doc:meta])* $field:ident: $variant:ident = $name:literal, $unit:ident, $ceiling:ident;)*) => {
        /// `[limits]`, which holds `[limits.max]` as well.
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, expecting = "a table of limits")]
        #[schemars(rename = "Limits")]
        pub(crate) struct RawLimits {
            $($(#[$doc])* #[schemars(with = "Option<Amount>")] $field: Option<Spanned<Amount>>,)*
            #[schemars(with = "Option<PerLimit<Option<Amount>>>")]
            max: Option<RawAmounts>,
        }

        impl RawLimits {
            /// What stands in `[limits]` and in `[limits.max]`.
            pub fn split(self) -> (RawAmounts, RawAmounts) {
                (PerLimit { $($field: self.$field,)* }, self.max.unwrap_or_default())
            }
        }
    };
}

limit_table!(raw_limits);

/// `[limits]` of the floor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table with `max`")]
#[schemars(rename = "FloorLimits")]
pub(crate) struct RawFloorLimits {
    #[schemars(with = "Option<PerLimit<Option<Amount>>>")]
    pub max: Option<RawAmounts>,
}

/// A limit's value as written: a bare number, or a text with a unit.
#[derive(Debug)]
pub(crate) enum Amount {
    Whole(i128),
    Text(String),
}

/// `[filesystem]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Filesystem")]
pub(crate) struct RawFilesystem {
    /// What the root is: `default`, an imported image's NAME or NAME:TAG, or its digest.
    #[schemars(with = "Option<String>")]
    pub image: Option<Spanned<String>>,
    /// Whether files of the workspace and /tmp can be executed.
    #[schemars(with = "Option<bool>")]
    pub exec: Option<Spanned<bool>>,
    /// Where a workspace that goes with its execution is: `memory` or `disk`.
    #[schemars(with = "Option<String>")]
    pub workspace: Option<Spanned<String>>,
    /// Images that a submission may ask for in place of `image`.
    #[schemars(with = "Option<Vec<String>>")]
    pub images: Option<Spanned<Vec<Spanned<String>>>>,
    /// Whether the image's files can be changed, for the session alone: `read-only` or `writable`.
    #[schemars(with = "Option<String>")]
    pub root: Option<Spanned<String>>,
    /// Whether a payload can make pseudo-terminals, whose work the kernel does for it where no limit counts it.
    #[schemars(with = "Option<bool>")]
    pub pseudo_terminals: Option<Spanned<bool>>,
}

/// `[filesystem]` of the floor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "FloorFilesystem")]
pub(crate) struct RawFloorFilesystem {
    /// Whether files of the workspace and /tmp can be executed.
    #[schemars(with = "Option<bool>")]
    pub exec: Option<Spanned<bool>>,
    /// Where workspaces that go with their executions may be: `memory`, `disk`.
    #[schemars(with = "Option<Vec<String>>")]
    pub allowed_workspaces: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[syscalls]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Syscalls")]
pub(crate) struct RawSyscalls {
    /// `no-network`, `default` or `unix-sockets`.
    #[schemars(with = "Option<String>")]
    pub profile: Option<Spanned<String>>,
}

/// `[syscalls]` of the floor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "FloorSyscalls")]
pub(crate) struct RawFloorSyscalls {
    /// The profiles that policies may name.
    #[schemars(with = "Option<Vec<String>>")]
    pub allowed_profiles: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[warm]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Warm")]
pub(crate) struct RawWarm {
    /// Whether executions may begin in sandboxes that were parked ahead.
    #[schemars(with = "Option<bool>")]
    pub starts: Option<Spanned<bool>>,
    /// Modules that a parked Python has imported, in place of the usual ones.
    #[schemars(with = "Option<Vec<String>>")]
    pub modules: Option<Spanned<Vec<Spanned<String>>>>,
}

/// `[requires]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "Requires")]
pub(crate) struct RawRequires {
    /// Their names.
    #[schemars(with = "Option<Vec<String>>")]
    pub controls: Option<Spanned<Vec<Spanned<String>>>>,
}

/// One `[[expect]]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an example")]
#[schemars(rename = "Expect")]
pub(crate) struct RawExpect {
    /// Limits that a submission asks for.
    #[schemars(with = "Option<PerLimit<Option<Amount>>>")]
    pub submit: Option<RawAmounts>,
    /// A request, such as "GET https://api.example.com/v1/items", "tcp host:22" or "dns host".
    #[schemars(with = "Option<String>")]
    pub request: Option<Spanned<String>>,
    /// For a submission `accepted` or `refused`; for a request `allow`, `ask` or `deny`.
    #[schemars(with = "String")]
    pub verdict: Spanned<String>,
    /// The limit that the submission is refused for.
    #[schemars(with = "Option<String>")]
    pub limit: Option<Spanned<String>>,
    /// The egress rule that decides.
    #[schemars(with = "Option<String>")]
    pub rule: Option<Spanned<String>>,
    /// The code of the reason, such as "method_not_allowed".
    #[schemars(with = "Option<String>")]
    pub reason: Option<Spanned<String>>,
    /// The credential that goes into the request.
    #[schemars(with = "Option<String>")]
    pub credential: Option<Spanned<String>>,
    /// Bytes of the request's body, such as "2 MiB".
    #[schemars(with = "Option<Amount>")]
    pub body: Option<Spanned<Amount>>,
    /// Whether the request wants to become a WebSocket.
    #[schemars(with = "Option<bool>")]
    pub websocket: Option<Spanned<bool>>,
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AmountVisitor)
    }
}

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number, or a text with a unit such as \"512 MiB\" or \"60 s\"",
            "type": ["integer", "string"],
        })
    }
}

struct AmountVisitor;

impl Visitor<'_> for AmountVisitor {
    type Value = Amount;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, or a text with a unit such as \"512 MiB\" or \"60 s\"")
    }

    fn visit_i64<E>(self, number: i64) -> Result<Amount, E> {
        Ok(Amount::Whole(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Amount, E> {
        Ok(Amount::Whole(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Amount, E> {
        Ok(Amount::Whole(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Amount, E> {
        Ok(Amount::Text(text.to_owned()))
    }
}

/// Reads a document into its raw shape. The first thing that doesn't fit ends the reading.
pub(crate) fn read<T: DeserializeOwned>(document: &Document) -> Result<T, Vec<Diagnostic>> {
    toml::from_str(&document.text).map_err(|error| vec![translate(document, &error)])
}

/// The library's error in the words of this crate.
fn translate(document: &Document, error: &toml::de::Error) -> Diagnostic {
    let message = error.message();
    let say = |text: String| document.diagnostic(error.span().unwrap_or(0..0), text);
    if let Some((key, known)) = unknown_key(message) {
        return say(format!("unknown key `{key}`")).with_hint(suggest::hint(key, &known));
    }
    if let Some(key) = message.strip_prefix("missing field ") {
        return say(format!("the key {key} is missing"));
    }
    match message {
        "invalid type: map, expected a sequence" => {
            say("this is a table, expected a list of them".to_owned())
                .with_hint("write the name in double brackets: `[[…]]`")
        }
        other => say(other.to_owned()),
    }
}

/// The key and the known keys of serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    // Known keys hold neither a backtick nor a comma; the unknown one may hold anything.
    let (key, known) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some((key, known.split('`').skip(1).step_by(2).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Diagnostic {
        let document = Document::new(String::new(), "x.toml".to_owned(), text.to_owned());
        read::<RawPolicy>(&document).unwrap_err().remove(0)
    }

    #[test]
    fn an_unknown_key_is_pointed_at_with_what_was_meant() {
        for (text, line, column, hint) in [
            ("nam = \"x\"", 1, 1, "did you mean `name`?"),
            ("name = \"x\"\n[limits]\nmemroy_max = 1", 3, 1, "did you mean `memory_max`?"),
            ("name = \"x\"\n[limits.max]\n  pid_max = 1", 3, 3, "did you mean `pids_max`?"),
            ("name = \"x\"\nlimits = { mx = {} }", 2, 12, "did you mean `max`?"),
            ("name = \"x\"\n[syscalls]\nprofle = \"default\"", 3, 1, "did you mean `profile`?"),
            ("name = \"x\"\n[[expect]]\nverdct = 1", 3, 1, "did you mean `verdict`?"),
            ("name = \"x\"\n[filesystem]\nhide = 1", 3, 1, "known here: `image`, `exec`"),
            ("\"`, expected `\" = 1", 1, 1, "known here: `name`"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.message().starts_with("unknown key `"), "{refusal}");
            assert_eq!((refusal.line(), refusal.column()), (Some(line), Some(column)), "{refusal}");
            assert!(refusal.hint().is_some_and(|said| said.starts_with(hint)), "{refusal}");
        }
    }

    #[test]
    fn a_section_that_does_not_exist_yet_is_an_unknown_key() {
        for section in ["egres", "credentials", "budget", "warm_starts"] {
            let refusal = refusal(&format!("name = \"x\"\n[{section}]\n"));
            assert_eq!(refusal.message(), format!("unknown key `{section}`"));
        }
    }

    #[test]
    fn broken_toml_is_pointed_at() {
        for (text, line) in [
            ("name = \"x", 1),
            ("name = \"x\"\nname = \"y\"", 2),
            ("name = \"x\"\n[limits]\npids_max = [1]", 3),
            ("name = \"x\"\n[limits]\npids_max = 1.5", 3),
            ("name = \"x\"\n[limits]\npids_max = 99999999999999999999999999999999999999999999", 3),
            ("name = \"x\"\nlimits = 3", 2),
            ("name = \"x\"\nexpect = 3", 2),
            ("name = \"x\"\n[expect]\nverdict = \"accepted\"", 2),
            ("name = 3", 1),
            ("", 1),
        ] {
            let refusal = refusal(text);
            assert_eq!(refusal.line(), Some(line), "{refusal}");
        }
    }
}
