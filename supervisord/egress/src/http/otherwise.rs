//! How a request asks its server to take it for another one: of another method, or for another target, or to
//! read another one besides. Some servers do, so the rules have to allow that request as well.

use http::{HeaderMap, HeaderName, StatusCode};
use supervisor_policy::egress::{Ask, Decision, methods_in_query};

use super::Violation;
use crate::refused::Refused;

const METHODS: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];
/// Other targets; a WebDAV server writes to the last (RFC 4918 §10.3).
const TARGETS: [&str; 6] = [
    "x-original-url",
    "x-rewrite-url",
    "x-override-url",
    "x-original-uri",
    "x-rewrite-uri",
    "destination",
];

/// What a server reads to store it at the request's own target, of S3, Azure and Google.
const SOURCES: [&str; 3] = ["x-amz-copy-source", "x-ms-copy-source", "x-goog-copy-source"];

/// Fields that say where a request ends, which a server must not find under another name either.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Such fields of one request; more are nobody's who means well.
const MOST: usize = 4;

/// What a request could be taken for besides what it is.
#[derive(Debug, Default)]
pub struct Otherwise {
    methods: Vec<String>,
    targets: Vec<String>,
    sources: Vec<String>,
}

impl Otherwise {
    /// What these fields and the query of this target say.
    ///
    /// # Errors
    ///
    /// When they can't be read, or are too many.
    pub fn of(fields: &HeaderMap, target: &str) -> Result<Self, Violation> {
        if fields.keys().any(is_listed_otherwise) {
            return Err(UNREADABLE);
        }
        let mut found =
            Self { methods: methods_in_query(target).take(MOST + 1).collect(), ..Self::default() };
        for name in METHODS {
            for value in fields.get_all(name) {
                let text = value.to_str().map_err(|_| UNREADABLE)?;
                found.methods.push(text.trim().to_ascii_uppercase());
            }
        }
        found.targets = targets(fields, &TARGETS)?;
        found.sources = targets(fields, &SOURCES)?;
        match found.methods.len() + found.targets.len() + found.sources.len() <= MOST {
            true => Ok(found),
            false => Err(UNREADABLE),
        }
    }

    /// The methods that the server could take it to have.
    pub fn methods(&self) -> impl Iterator<Item = &str> {
        self.methods.iter().map(String::as_str)
    }

    /// Whether all that it could be taken for is allowed as freely as the request itself, with the same
    /// credentials.
    ///
    /// # Errors
    ///
    /// What it may not be taken for, and by which rule.
    pub fn judge(
        &self,
        ask: &Ask<'_>,
        decision: &Decision,
        decide: impl Fn(&Ask<'_>) -> Decision,
    ) -> Result<(), Refused> {
        if self.methods.is_empty() && self.targets.is_empty() && self.sources.is_empty() {
            return Ok(());
        }
        // Whatever is refused by itself needs no second reason.
        if decision.prospect().is_none() {
            return Ok(());
        }
        let judge = |method: &str, target: &str| {
            let other = decide(&Ask { method, target, ..*ask });
            match other.is_as_free_as(decision) {
                true => Ok(()),
                false => Err(refused(method, target, &other)),
            }
        };
        for method in [ask.method].into_iter().chain(self.methods()) {
            let targets = self.targets.iter().map(String::as_str);
            [ask.target].into_iter().chain(targets).try_for_each(|target| judge(method, target))?;
        }
        self.sources.iter().try_for_each(|source| judge("GET", source))
    }
}

const UNREADABLE: Violation =
    Violation::Malformed("the fields that ask for another method or target can't be judged");

/// Whether a field has a say in what its request is taken for, under its name or one that a server takes for it.
/// After a body nobody judges it.
pub fn is_listed(name: &HeaderName) -> bool {
    let mut listed = METHODS.iter().chain(&TARGETS).chain(&SOURCES);
    listed.any(|one| *one == name.as_str()) || is_listed_otherwise(name)
}

/// Whether it is one of these names with another character for a hyphen: servers that put fields into variables
/// (CGI, WSGI, PHP) take that for the one with a hyphen.
fn is_listed_otherwise(name: &HeaderName) -> bool {
    let name = name.as_str();
    let hyphen = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let hyphened: String = name.chars().map(hyphen).collect();
    let mut listed = METHODS.iter().chain(&TARGETS).chain(&SOURCES).chain(&FRAMING);
    hyphened != name && listed.any(|one| *one == hyphened)
}

/// The targets in these fields.
fn targets(fields: &HeaderMap, names: &[&str]) -> Result<Vec<String>, Violation> {
    let values = names.iter().flat_map(|name| fields.get_all(*name));
    let texts = values.map(|value| value.to_str().map_err(|_| UNREADABLE));
    texts.map(|text| text.map(|text| origin_form(text.trim()))).collect()
}

/// The part of a URL that rules compare.
fn origin_form(text: &str) -> String {
    let after_host = text
        .split_once("://")
        .map(|(_, rest)| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
    match after_host.unwrap_or(text) {
        path if path.starts_with('/') => path.to_owned(),
        path => format!("/{path}"),
    }
}

fn refused(method: &str, target: &str, other: &Decision) -> Refused {
    let path = target.split('?').next().unwrap_or_default();
    let why = match other.refusal() {
        Some(refusal) => refusal.cause().to_owned(),
        None => "a credential goes out with it that is not bound to that".to_owned(),
    };
    let mut refused = Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "taken_otherwise",
        format!("it asks the server to take it for {method} {path}, or to read that: {why}"),
        "Send it as what it is, without X-HTTP-Method-Override, X-Original-URL, _method or their like.",
    );
    refused.rule = Some(other.rule().to_string());
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&'static str, &str)]) -> Result<Otherwise, Violation> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, value.parse().unwrap());
        }
        Otherwise::of(&map, "/")
    }

    #[test]
    fn methods_are_read_as_servers_do_and_targets_without_their_host() {
        let found = of(&[("x-http-method", " delete "), ("x-method-override", "PATCH")]).unwrap();
        assert_eq!(found.methods().collect::<Vec<_>>(), ["DELETE", "PATCH"]);
        for (text, path) in [
            ("/a?b", "/a?b"),
            ("a/b", "/a/b"),
            ("https://x.test/a", "/a"),
            ("https://x.test", "/"),
            ("", "/"),
        ] {
            assert_eq!(of(&[("x-rewrite-url", text)]).unwrap().targets, [path], "{text}");
        }
    }

    #[test]
    fn a_method_in_the_query_and_what_is_copied_are_read_as_well() {
        let found = Otherwise::of(&HeaderMap::new(), "/a?_method=put").unwrap();
        assert_eq!(found.methods().collect::<Vec<_>>(), ["PUT"]);
        let found = of(&[("x-amz-copy-source", "bucket/key"), ("destination", "http://h/b")]);
        let Otherwise { sources, targets, .. } = found.unwrap();
        assert_eq!((sources, targets), (vec!["/bucket/key".to_owned()], vec!["/b".to_owned()]));
    }

    #[test]
    fn too_many_of_them_are_refused() {
        assert!(of(&[("x-http-method", "GET"); MOST]).is_ok());
        assert!(of(&[("x-http-method", "GET"); MOST + 1]).is_err());
        assert!(of(&[("x-original-url", "/é")]).is_err());
    }

    #[test]
    fn such_a_field_under_a_name_that_servers_take_for_it_is_refused() {
        for name in [
            "x_http_method_override",
            "x-http_method",
            "x.http.method.override",
            "x_amz_copy-source",
            "content_length",
        ] {
            assert!(of(&[(name, "0")]).is_err(), "{name}");
        }
        assert!(of(&[("x_request_id", "0")]).is_ok());
    }
}
