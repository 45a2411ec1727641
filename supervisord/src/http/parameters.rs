//! Query parameters, checked against the table of operations: what it doesn't name is refused, what
//! it names has the type, the range and the default that it gives.

use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;
use supervisor_api::{ApiError, ErrorCode, Operation, Place};

use super::json::shorten;

/// The query parameters of one operation.
#[derive(Debug, Clone)]
pub struct Rules(Arc<[Rule]>);

#[derive(Debug)]
struct Rule {
    name: &'static str,
    schema: Value,
}

/// The query of one request.
#[derive(Debug)]
pub struct Query {
    rules: Rules,
    given: Vec<(&'static str, String)>,
}

/// Text that may be percent-encoded (RFC 3986 §2.1).
#[derive(Debug, PartialEq, Eq)]
pub struct Encoded(pub String);

impl FromStr for Encoded {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            let decoded = match byte {
                b'%' => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    let pair = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                    pair.and_then(|value| u8::try_from(value).ok())
                }
                plain => Some(plain),
            };
            bytes.push(decoded.ok_or("percent signs come with two hexadecimal digits")?);
        }
        String::from_utf8(bytes).map(Self).map_err(|_| "what is percent-encoded is UTF-8")
    }
}

impl Rules {
    /// Those of this operation.
    pub fn of(operation: &Operation) -> Self {
        let in_query = operation.parameters.iter().filter(|rule| rule.place == Place::Query);
        let rule = |parameter: &supervisor_api::Parameter| Rule {
            name: parameter.name,
            // The table's own test reads every schema; one that couldn't be read allows nothing.
            schema: serde_json::from_str(parameter.schema).unwrap_or(Value::Null),
        };
        Self(in_query.map(rule).collect())
    }

    /// Splits a query. Values are taken as they stand: none that is legal needs percent-encoding,
    /// so each has one spelling only.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InvalidArgument`] for a parameter that is unknown or given twice.
    pub fn read(&self, query: Option<&str>) -> Result<Query, ApiError> {
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&') {
            if pair.is_empty() && query.is_none_or(str::is_empty) {
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(rule) = self.0.iter().find(|rule| rule.name == name) else {
                return Err(self.unknown(name));
            };
            if given.iter().any(|(name, _)| *name == rule.name) {
                return Err(ApiError::invalid(rule.name, "the parameter stands there twice"));
            }
            given.push((rule.name, value.to_owned()));
        }
        Ok(Query { rules: self.clone(), given })
    }

    fn unknown(&self, name: &str) -> ApiError {
        let names: Vec<_> = self.0.iter().map(|rule| rule.name).collect();
        let hint = match names.as_slice() {
            [] => "this operation has no parameters".to_owned(),
            names => format!("the parameters are {}", names.join(", ")),
        };
        ApiError::invalid(shorten(name), "there is no such parameter").with_hint(hint)
    }

    fn schema(&self, name: &'static str) -> Result<&Value, ApiError> {
        let rule = self.0.iter().find(|rule| rule.name == name);
        rule.map(|rule| &rule.schema).ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "the table of operations lacks a parameter")
        })
    }
}

impl Query {
    /// A number within the table's bounds, or the table's default.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InvalidArgument`] for what is not such a number.
    pub fn number(&self, name: &'static str) -> Result<u64, ApiError> {
        let schema = self.rules.schema(name)?;
        let bound = |key: &str| schema.get(key).and_then(Value::as_u64);
        let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u64::MAX));
        let Some(text) = self.given(name) else {
            return Ok(bound("default").unwrap_or(least));
        };
        // Only digits: the parser would also take a sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text);
        let number = digits.and_then(|digits| digits.parse().ok());
        number.filter(|number| (least..=most).contains(number)).ok_or_else(|| {
            let expected = format!("it is a whole number from {least} to {most}");
            ApiError::invalid(name, "the parameter has no such value").with_hint(expected)
        })
    }

    /// `true` or `false`, or the table's default.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InvalidArgument`] for anything else.
    pub fn flag(&self, name: &'static str) -> Result<bool, ApiError> {
        let default = self.rules.schema(name)?.get("default").and_then(Value::as_bool);
        match self.given(name) {
            None => Ok(default.unwrap_or(false)),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(ApiError::invalid(name, "the parameter has no such value")
                .with_hint("it is `true` or `false`")),
        }
    }

    /// One of the table's words, or its default.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InvalidArgument`] for any other word.
    pub fn word(&self, name: &'static str) -> Result<&str, ApiError> {
        let schema = self.rules.schema(name)?;
        let Some(word) = self.given(name) else {
            return Ok(schema.get("default").and_then(Value::as_str).unwrap_or_default());
        };
        let words = schema.get("enum").and_then(Value::as_array);
        let words: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
        if words.contains(&word) {
            return Ok(word);
        }
        Err(ApiError::invalid(name, "the parameter has no such value")
            .with_hint(format!("it is one of {}", words.join(", "))))
    }

    /// A value of the interface's own types, if one is given.
    ///
    /// # Errors
    ///
    /// [`ErrorCode::InvalidArgument`] for text that is no such value.
    pub fn value<T: FromStr<Err: std::fmt::Display>>(
        &self,
        name: &'static str,
    ) -> Result<Option<T>, ApiError> {
        self.rules.schema(name)?;
        let Some(text) = self.given(name) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            ApiError::invalid(name, "the parameter has no such value")
                .with_hint(shorten(&format!("{error}")))
        })
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(given, _)| *given == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use supervisor_api::{ExecutionId, OPERATIONS};

    use super::*;

    fn rules(id: &str) -> Rules {
        Rules::of(OPERATIONS.iter().find(|operation| operation.id == id).expect("an operation"))
    }

    fn list(query: &str) -> Result<Query, ApiError> {
        rules("list").read(Some(query))
    }

    #[test]
    fn what_is_left_out_is_the_tables_default() {
        for query in [None, Some("")] {
            let query = rules("list").read(query).expect("an empty query");
            assert_eq!(query.number("limit"), Ok(50));
            assert_eq!(query.flag("all"), Ok(false));
            assert_eq!(query.value::<ExecutionId>("after"), Ok(None));
        }
        let query = rules("output").read(None).expect("no query");
        assert_eq!(query.word("stream"), Ok("both"));
        assert_eq!(query.number("offset"), Ok(0));
    }

    #[test]
    fn numbers_stay_within_the_tables_bounds() {
        for (text, expected) in [("1", Some(1)), ("200", Some(200)), ("007", Some(7))] {
            let query = list(&format!("limit={text}")).expect("a known parameter");
            assert_eq!(query.number("limit").ok(), expected);
        }
        for text in ["0", "201", "-1", "+1", "1.0", "1e2", "", " 1", "0x1", "%31", "٣", "1\u{0}"] {
            let error = list(&format!("limit={text}")).and_then(|query| query.number("limit"));
            let error = error.expect_err(text);
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidArgument, Some("limit"))
            );
        }
        let offset = rules("output").read(Some("offset=18446744073709551616"));
        assert!(offset.and_then(|query| query.number("offset")).is_err());
        let offset = rules("output").read(Some("offset=18446744073709551615"));
        assert_eq!(offset.and_then(|query| query.number("offset")), Ok(u64::MAX));
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused_by_name() {
        for (query, field) in [
            ("uid=0", "uid"),
            ("limit=1&limit=1", "limit"),
            ("Limit=1", "Limit"),
            ("limit=1&", ""),
            ("&", ""),
            ("=1", ""),
            ("lim%69t=1", "lim%69t"),
            ("limit[]=1", "limit[]"),
        ] {
            let error = list(query).expect_err(query);
            assert_eq!(
                (error.code, error.field.as_deref()),
                (ErrorCode::InvalidArgument, Some(field))
            );
        }
    }

    #[test]
    fn words_and_flags_have_one_spelling() {
        for text in ["1", "TRUE", "yes", ""] {
            let query = list(&format!("all={text}")).expect("a known parameter");
            assert!(query.flag("all").is_err(), "{text}");
        }
        for text in ["STDOUT", "stdin", ""] {
            let query = rules("output").read(Some(&format!("stream={text}")));
            assert!(query.is_ok_and(|query| query.word("stream").is_err()), "{text}");
        }
    }

    #[test]
    fn encoded_text_is_decoded_or_refused() {
        let decoded = |text: &str| text.parse().map(|Encoded(text)| text);
        assert_eq!(decoded("a.toml%3A12%20b"), Ok("a.toml:12 b".to_owned()));
        for text in ["%", "%4", "%zz", "%ff"] {
            assert!(decoded(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_query_makes_the_reader_panic(text in any::<String>()) {
            if let Ok(query) = list(&text) {
                drop((query.number("limit"), query.flag("all")));
                drop(query.value::<ExecutionId>("after"));
            }
        }
    }
}
