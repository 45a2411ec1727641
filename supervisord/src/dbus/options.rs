//! Dictionaries of options as requests. Every key has one type; what isn't known is refused by name.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as ValueError;
use supervisor_api::{
    ApiError, Content, CreateSession, InputFile, Language, Limit, SessionId, State, SubmitRequest,
    UniqueMap,
};
use zbus::{OwnedVariant, Variant};

use crate::dbus::bounds::{MAX_PAGE, PAGE};
use crate::supervisor::ListQuery;

/// Options by name.
pub type Options = HashMap<String, OwnedVariant>;

/// What a submission says besides its arguments.
const SUBMISSION: &[&str] = &[
    "language",
    "source",
    "args",
    "env",
    "stdin",
    "files",
    "limits",
    "artifacts",
    "policy",
    "labels",
    "session",
    "image",
];

/// What a session is made with.
const SESSION: &[&str] =
    &["policy", "labels", "workspace_bytes", "workspace_inodes", "time_to_live"];

/// What a list is narrowed by.
const LIST: &[&str] = &["limit", "after", "state", "all"];

/// A submission.
///
/// # Errors
///
/// [`supervisor_api::ErrorCode::InvalidArgument`] with the option that it is about.
pub fn submission(argv: Vec<String>, options: Options) -> Result<SubmitRequest, ApiError> {
    let mut options = Taken::new(options, SUBMISSION)?;
    let mut request = SubmitRequest { argv, ..SubmitRequest::default() };
    if let Some(name) = options.take::<String>("language", "s")? {
        request.language = Some(language(&name)?);
    }
    request.source = options.text("source")?;
    request.args = options.take("args", "as")?.unwrap_or_default();
    request.env = options.map("env")?;
    request.stdin = options.bytes("stdin")?.map(Content);
    let files: Option<Vec<(String, Vec<u8>, bool)>> = options.take("files", "a(sayb)")?;
    let file =
        |(path, content, executable)| InputFile { path, content: Content(content), executable };
    request.files = files.unwrap_or_default().into_iter().map(file).collect();
    let limits: Option<HashMap<String, u64>> = options.take("limits", "a{st}")?;
    for (name, value) in limits.unwrap_or_default() {
        let limit = Limit::ALL.iter().find(|limit| limit.name() == name);
        let problem =
            || ApiError::invalid(format!("limits.{}", shown(&name)), "there is no such limit");
        request.limits.set(*limit.ok_or_else(problem)?, value);
    }
    request.artifacts.globs = options.take("artifacts", "as")?.unwrap_or_default();
    request.policy = options.take("policy", "s")?;
    request.image = options.take("image", "s")?;
    request.labels = options.map("labels")?;
    if let Some(text) = options.take::<String>("session", "s")? {
        // What can't be an id is looked up as the one that is never given out.
        request.session = Some(text.parse().unwrap_or(SessionId::from_bits(0)));
    }
    Ok(request)
}

/// A session.
///
/// # Errors
///
/// As [`submission`].
pub fn session(options: Options) -> Result<CreateSession, ApiError> {
    let mut options = Taken::new(options, SESSION)?;
    Ok(CreateSession {
        policy: options.take("policy", "s")?,
        labels: options.map("labels")?,
        workspace_bytes: options.take("workspace_bytes", "t")?,
        workspace_inodes: options.take("workspace_inodes", "t")?,
        time_to_live: options.take("time_to_live", "t")?,
        from: None,
    })
}

/// Which executions to list.
///
/// # Errors
///
/// As [`submission`].
pub fn list(options: Options) -> Result<ListQuery, ApiError> {
    let mut options = Taken::new(options, LIST)?;
    let limit = options.take("limit", "u")?.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let problem = format!("it is a number from 1 to {MAX_PAGE}");
        return Err(ApiError::invalid("limit", problem));
    }
    let after = match options.take::<String>("after", "s")? {
        Some(text) => Some(text.parse().map_err(|_| ApiError::invalid("after", "it is no id"))?),
        None => None,
    };
    let state = match options.take::<String>("state", "s")? {
        Some(text) => Some(state(&text)?),
        None => None,
    };
    Ok(ListQuery { limit, after, state, all: options.take("all", "b")?.unwrap_or_default() })
}

/// Options that are known, to be taken one by one.
struct Taken(Options);

impl Taken {
    fn new(options: Options, known: &[&str]) -> Result<Self, ApiError> {
        match options.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::invalid(shown(name), "there is no such option")
                .with_hint(format!("the options are {}", known.join(", ")))),
            None => Ok(Self(options)),
        }
    }

    fn take<T>(&mut self, name: &'static str, signature: &str) -> Result<Option<T>, ApiError>
    where
        T: TryFrom<Variant<'static>>,
    {
        let Some(value) = self.0.remove(name) else { return Ok(None) };
        let value: Variant<'static> = value.into();
        T::try_from(value).map(Some).map_err(|_| wrong(name, signature))
    }

    fn map(&mut self, name: &'static str) -> Result<UniqueMap, ApiError> {
        Ok(UniqueMap(self.take(name, "a{ss}")?.unwrap_or_default()))
    }

    fn bytes(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, ApiError> {
        match self.0.get(name).map(|value| &**value) {
            Some(Variant::Str(_)) => Ok(self.take::<String>(name, "s")?.map(String::into_bytes)),
            _ => self.take(name, "s or ay"),
        }
    }

    fn text(&mut self, name: &'static str) -> Result<Option<String>, ApiError> {
        let bytes = self.bytes(name)?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| ApiError::invalid(name, "it is not UTF-8"))
    }
}

fn language(name: &str) -> Result<Language, ApiError> {
    let read: Result<_, ValueError> = Language::deserialize(name.into_deserializer());
    read.map_err(|error| ApiError::invalid("language", shown(&error.to_string())))
}

fn state(name: &str) -> Result<State, ApiError> {
    let read: Result<_, ValueError> = State::deserialize(name.into_deserializer());
    read.map_err(|error| ApiError::invalid("state", shown(&error.to_string())))
}

fn wrong(name: &'static str, signature: &str) -> ApiError {
    ApiError::invalid(name, "the option is of another type")
        .with_hint(format!("its type is {signature}"))
}

/// A caller's own text in an error, which is short.
fn shown(text: &str) -> String {
    crate::http::shorten(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn options<const N: usize>(pairs: [(&str, Variant<'static>); N]) -> Options {
        let owned = pairs.map(|(name, value)| {
            (name.to_owned(), OwnedVariant::try_from(value).expect("no descriptor"))
        });
        HashMap::from(owned)
    }

    #[test]
    fn a_whole_submission_is_read() {
        let files = vec![("a".to_owned(), vec![0u8, 255], true)];
        let request = submission(
            Vec::new(),
            options([
                ("language", "python".into()),
                ("source", "print()".into()),
                ("args", vec!["x".to_owned()].into()),
                ("env", BTreeMap::from([("A".to_owned(), "b".to_owned())]).into()),
                ("stdin", vec![1u8, 2].into()),
                ("files", files.into()),
                ("limits", BTreeMap::from([("memory_max".to_owned(), 1u64 << 20)]).into()),
                ("artifacts", vec!["*".to_owned()].into()),
                ("policy", "default".into()),
                ("labels", BTreeMap::from([("k".to_owned(), "v".to_owned())]).into()),
            ]),
        );
        let request = request.expect("all of it is right");
        assert_eq!(request.language, Some(Language::Python));
        assert_eq!(request.source.as_deref(), Some("print()"));
        assert_eq!(request.files[0].content.0, [0, 255]);
        assert!(request.files[0].executable && !request.wait);
        assert_eq!(request.limits.memory_max, Some(1 << 20));
        assert_eq!(request.stdin.map(|bytes| bytes.0), Some(vec![1, 2]));
    }

    #[test]
    fn an_error_names_the_option_it_is_about() {
        for (name, value) in [
            ("uid", Variant::from(0u32)),
            ("language", Variant::from("ruby")),
            ("language", Variant::from(1u32)),
            ("source", Variant::from(vec![255u8])),
            ("limits", Variant::from(vec!["memory_max".to_owned()])),
            ("files", Variant::from("a")),
            ("session", Variant::from(1u32)),
        ] {
            let error = submission(Vec::new(), options([(name, value)])).expect_err(name);
            assert_eq!(error.field.as_deref(), Some(name));
        }
        let none = options([("limits", BTreeMap::from([("memory".to_owned(), 1u64)]).into())]);
        let error = submission(Vec::new(), none).expect_err("no such limit");
        assert_eq!(error.field.as_deref(), Some("limits.memory"));
        for (name, value) in
            [("time_to_live", Variant::from(1u32)), ("session", Variant::from("ses-x"))]
        {
            let error = session(options([(name, value)])).expect_err(name);
            assert_eq!(error.field.as_deref(), Some(name));
        }
        for (name, value) in [
            ("limit", Variant::from(0u32)),
            ("limit", Variant::from(201u32)),
            ("limit", Variant::from(1u64)),
            ("after", Variant::from("x")),
            ("state", Variant::from("gone")),
            ("all", Variant::from(1u32)),
        ] {
            assert_eq!(
                list(options([(name, value)])).expect_err(name).field.as_deref(),
                Some(name)
            );
        }
    }

    proptest! {
        #[test]
        fn no_options_make_the_reader_panic(
            names in proptest::collection::vec("[a-z]{0,9}|files|env|limits|stdin|after", 0..4),
            number in any::<u32>(),
            text in any::<String>(),
        ) {
            let mut given = Options::new();
            for (index, name) in names.into_iter().enumerate() {
                let value = if index % 2 == 0 { Variant::from(number) } else { Variant::from(text.clone()) };
                given.insert(name, OwnedVariant::try_from(value).expect("no descriptor"));
            }
            drop((session(given.clone()), submission(Vec::new(), given.clone()), list(given)));
        }
    }
}
