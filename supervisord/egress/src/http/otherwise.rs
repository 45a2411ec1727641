//! How a request asks its server to take it for another one: of another method, or for another target, or to
//! read another one besides. Some servers do, so the rules have to allow that request as well.

mod copied;

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, StatusCode};
use supervisor_policy::egress::{Ask, Decision, Destination, methods_in_query};

use self::copied::{SOURCES, Source};
use super::Violation;
use crate::refused::Refused;

const METHODS: [&str; 7] = [
    "http-method-override",
    "x-http-method",
    "x-http-method-override",
    "x-httpmethod",
    "x-method",
    "x-method-override",
    "x-original-method",
];
/// Other targets; a WebDAV server writes to the last (RFC 4918 §10.3).
const TARGETS: [&str; 11] = [
    "x-envoy-original-path",
    "x-http-destinationurl",
    "x-ms-original-url",
    "x-original-url",
    "x-proxy-url",
    "x-rewrite-url",
    "x-override-url",
    "x-original-uri",
    "x-rewrite-uri",
    "request-uri",
    "destination",
];

/// What proxies write, and servers believe them: for which host and whose address a request is, by any prefix.
const FORWARDED: &str = "x-forwarded-";

/// The same, under other names.
const FORWARDERS: [&str; 28] = [
    "cf-connecting-ip",
    "cf-connecting-ipv6",
    "client-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "forwarded",
    "remote-user",
    "true-client-ip",
    "x-appengine-user-ip",
    "x-azure-clientip",
    "x-backend-host",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forward-for",
    "x-forwarded",
    "x-host",
    "x-host-override",
    "x-http-host-override",
    "x-nf-client-connection-ip",
    "x-original-forwarded-for",
    "x-original-host",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-remote-user",
    "x-vercel-forwarded-for",
];

/// Fields that say where a request ends, which a server must not find under another name either.
const FRAMING: [&str; 2] = ["content-length", "transfer-encoding"];

/// Such fields of one request; more are nobody's who means well.
const MOST: usize = 4;

/// What a request could be taken for besides what it is.
#[derive(Debug, Default)]
pub struct Otherwise {
    methods: Vec<String>,
    targets: Vec<String>,
    sources: Vec<Source>,
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
        for name in SOURCES {
            let texts = targets(fields, &[name])?.into_iter();
            found.sources.extend(texts.map(|text| Source::new(name, text)));
        }
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
        let judge = |method: &str, destination: &Destination, target: &str| {
            let other = decide(&Ask { destination, method, target, ..*ask });
            match other.is_as_free_as(decision, ask.body) {
                true => Ok(()),
                false => Err(refused(method, target, &other)),
            }
        };
        for method in [ask.method].into_iter().chain(self.methods()) {
            judge(method, ask.destination, ask.target)?;
            for target in &self.targets {
                let (host, target) = located(ask.destination, target)?;
                judge(method, &host, &target)?;
            }
        }
        for source in &self.sources {
            for (host, target) in source.places(ask.destination)? {
                let other =
                    decide(&Ask { destination: &host, method: "GET", target: &target, ..*ask });
                if !other.is_as_free_as(decision, ask.body) {
                    return Err(copied::refused(&host, &target, &other));
                }
            }
        }
        Ok(())
    }
}

/// Where such a field leads: a URL to its own host, a path to the request's.
fn located<'a>(
    own: &'a Destination,
    text: &str,
) -> Result<(Cow<'a, Destination>, String), Refused> {
    // A URL can stand in a path, too.
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let Some((scheme, rest)) = text.split_once("://").filter(|(scheme, _)| is_scheme(scheme))
    else {
        return Ok((Cow::Borrowed(own), origin_form(text)));
    };
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
    let host = Destination::parse(authority, Some(port)).map_err(|_| UNREADABLE)?;
    Ok((Cow::Owned(host), path.to_owned()))
}

const UNREADABLE: Violation =
    Violation::Malformed("the fields that ask for another method or target can't be judged");

/// Whether a field has a say in what its request is taken for, under its name or one that a server takes for it.
/// After a body nobody judges it.
pub fn is_listed(name: &HeaderName) -> bool {
    let mut listed = METHODS.iter().chain(&TARGETS).chain(&SOURCES);
    listed.any(|one| *one == name.as_str()) || is_listed_otherwise(name)
}

/// Whether a field says for which host or for whom a proxy has taken the request, however it is spelt. A payload is
/// no proxy.
pub fn is_forwarder_s(name: &HeaderName) -> bool {
    let name = name.as_str();
    begins_as(name, FORWARDED)
        || FORWARDERS.iter().any(|one| one.len() == name.len() && begins_as(name, one))
}

/// Whether it is one of these names with another character for a hyphen.
fn is_listed_otherwise(name: &HeaderName) -> bool {
    let name = name.as_str();
    let mut listed = METHODS.iter().chain(&TARGETS).chain(&SOURCES).chain(&FRAMING);
    listed.any(|one| one.len() == name.len() && *one != name && begins_as(name, one))
}

/// Whether a name begins as a listed one for servers that put fields into variables (CGI, WSGI, PHP): they take any
/// character that is no letter or digit for a hyphen. It is asked of every field, so it makes no text of its own.
fn begins_as(name: &str, listed: &str) -> bool {
    let same =
        |(own, other): (u8, u8)| own == other || other == b'-' && !own.is_ascii_alphanumeric();
    name.len() >= listed.len() && name.bytes().zip(listed.bytes()).all(same)
}

/// The targets in these fields.
fn targets(fields: &HeaderMap, names: &[&str]) -> Result<Vec<String>, Violation> {
    let values = names.iter().flat_map(|name| fields.get_all(*name));
    let texts = values.map(|value| value.to_str().map_err(|_| UNREADABLE));
    texts.map(|text| text.map(|text| text.trim().to_owned())).collect()
}

/// A path as rules compare it.
fn origin_form(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn refused(method: &str, target: &str, other: &Decision) -> Refused {
    let path = target.split('?').next().unwrap_or_default();
    let why = match other.refusal() {
        Some(refusal) => refusal.cause().to_owned(),
        None => "a credential goes out with it that is not bound to that, or a longer body may"
            .to_owned(),
    };
    let mut refused = Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "taken_otherwise",
        format!("it asks the server to take it for {method} {path}: {why}"),
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
    fn methods_are_read_as_servers_do_and_targets_where_they_lead() {
        let found = of(&[("x-http-method", " delete "), ("x-method-override", "PATCH")]).unwrap();
        assert_eq!(found.methods().collect::<Vec<_>>(), ["DELETE", "PATCH"]);
        let own = Destination::parse("own.test:8443", None).unwrap();
        for (text, host, path) in [
            ("/a?b", "own.test:8443", "/a?b"),
            ("a/b", "own.test:8443", "/a/b"),
            ("https://x.test/a", "x.test:443", "/a"),
            ("http://x.test", "x.test:80", "/"),
            ("", "own.test:8443", "/"),
            ("/a?b=https://x.test/c", "own.test:8443", "/a?b=https://x.test/c"),
            ("a/b://x.test/c", "own.test:8443", "/a/b://x.test/c"),
        ] {
            let found = located(&own, text).unwrap();
            assert_eq!((found.0.to_string(), &*found.1), (host.to_owned(), path), "{text}");
        }
        assert!(located(&own, "https://a b/").is_err());
    }

    #[test]
    fn a_method_in_the_query_and_what_is_copied_are_read_as_well() {
        let found = Otherwise::of(&HeaderMap::new(), "/a?_method=put").unwrap();
        assert_eq!(found.methods().collect::<Vec<_>>(), ["PUT"]);
        let found = of(&[("x-amz-copy-source", "bucket/key"), ("destination", "http://h/b")]);
        let Otherwise { sources, targets, .. } = found.unwrap();
        let source = Source::new("x-amz-copy-source", "bucket/key".to_owned());
        assert_eq!((sources, targets), (vec![source], vec!["http://h/b".to_owned()]));
    }

    #[test]
    fn fields_that_servers_of_other_makers_read_are_found() {
        for name in METHODS {
            assert_eq!(of(&[(name, "delete")]).unwrap().methods, ["DELETE"], "{name}");
        }
        for name in TARGETS {
            assert_eq!(of(&[(name, "/b")]).unwrap().targets, ["/b"], "{name}");
        }
        for name in SOURCES {
            let source = Source::new(name, "/b/k".to_owned());
            assert_eq!(of(&[(name, "/b/k")]).unwrap().sources, [source], "{name}");
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
        for name in [
            "x_http_method_override",
            "x-http_method",
            "x.http.method.override",
            "x_amz_copy-source",
            "x_oss_copy_source",
            "x.method",
            "content_length",
        ] {
            assert!(of(&[(name, "0")]).is_err(), "{name}");
        }
        assert!(of(&[("x_request_id", "0")]).is_ok());
    }
}
