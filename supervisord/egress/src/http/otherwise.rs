//! Fields by which a request asks its server to take it for another one: of another method, or for
//! another target. Some frameworks do, so the rules have to allow that request as well.

use http::{HeaderMap, HeaderName, StatusCode};
use supervisor_policy::egress::{Ask, Decision, Permit, Verdict};

use super::Violation;
use crate::refused::Refused;

const METHODS: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];
const TARGETS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// Fields that say where a request ends, which a server must not find under another name either.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Such fields of one request; more are nobody's who means well.
const MOST: usize = 4;

/// What a request could be taken for besides what it is.
#[derive(Debug, Default)]
pub struct Otherwise {
    methods: Vec<String>,
    targets: Vec<String>,
}

impl Otherwise {
    /// What these fields say.
    ///
    /// # Errors
    ///
    /// When they can't be read, or are too many.
    pub fn of(fields: &HeaderMap) -> Result<Self, Violation> {
        if fields.keys().any(is_listed_otherwise) {
            return Err(UNREADABLE);
        }
        let mut found = Self::default();
        for name in METHODS {
            for value in fields.get_all(name) {
                let text = value.to_str().map_err(|_| UNREADABLE)?;
                found.methods.push(text.trim().to_ascii_uppercase());
            }
        }
        for name in TARGETS {
            for value in fields.get_all(name) {
                let text = value.to_str().map_err(|_| UNREADABLE)?;
                found.targets.push(origin_form(text.trim()));
            }
        }
        match found.methods.len() + found.targets.len() <= MOST {
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
        if self.methods.is_empty() && self.targets.is_empty() {
            return Ok(());
        }
        // Whatever is refused by itself needs no second reason.
        let Some(permit) = decision.prospect() else { return Ok(()) };
        let methods = [ask.method].into_iter().chain(self.methods());
        for method in methods {
            let targets = self.targets.iter().map(String::as_str);
            for target in [ask.target].into_iter().chain(targets) {
                let other = decide(&Ask { method, target, ..*ask });
                if !is_as_free(&other, permit) {
                    return Err(refused(method, target, &other));
                }
            }
        }
        Ok(())
    }
}

const UNREADABLE: Violation =
    Violation::Malformed("the fields that ask for another method or target can't be judged");

/// Whether it is one of these names with an underscore, which servers that put fields into variables (CGI,
/// WSGI) take for the one with a hyphen.
fn is_listed_otherwise(name: &HeaderName) -> bool {
    let name = name.as_str();
    let hyphened = name.replace('_', "-");
    let listed = METHODS.iter().chain(&TARGETS).chain(&FRAMING);
    hyphened != name && listed.into_iter().any(|one| *one == hyphened)
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

fn is_as_free(other: &Decision, permit: &Permit) -> bool {
    let same = |bindings: &[_]| {
        permit
            .bindings()
            .iter()
            .all(|own| bindings.iter().any(|it| std::sync::Arc::ptr_eq(own, it)))
    };
    match other.prospect() {
        // A person who is asked is shown the fields.
        Some(allowed)
            if other.verdict() == Verdict::Allow
                || std::sync::Arc::ptr_eq(allowed.rule(), permit.rule()) =>
        {
            same(allowed.bindings())
        }
        _ => false,
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
        format!("its fields ask the server to take it for {method} {path}: {why}"),
        "Send it as what it is, without X-HTTP-Method-Override, X-Original-URL or their like.",
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
        Otherwise::of(&map)
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
    fn too_many_of_them_are_refused() {
        assert!(of(&[("x-http-method", "GET"); MOST]).is_ok());
        assert!(of(&[("x-http-method", "GET"); MOST + 1]).is_err());
        assert!(of(&[("x-original-url", "/é")]).is_err());
    }

    #[test]
    fn such_a_field_under_a_name_that_servers_take_for_it_is_refused() {
        for name in ["x_http_method_override", "x-http_method", "x_rewrite_url", "content_length"] {
            assert!(of(&[(name, "0")]).is_err(), "{name}");
        }
        assert!(of(&[("x_request_id", "0")]).is_ok());
    }
}
