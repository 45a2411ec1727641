//! Where a request goes. Everything in it that names a destination has to name the same one, and the
//! one that its connection was opened for.

use http::{HeaderValue, Request, StatusCode, Version, header};
use supervisor_policy::egress::{Destination, Protocol};

use crate::event::Subject;
use crate::refused::Refused;
use crate::without::without;

/// What is known of a connection before its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// It was opened to the proxy; each request names its own destination.
    Proxy,
    /// It was opened to this destination, and this is spoken on it.
    Fixed(Destination, Protocol),
}

impl Via {
    /// What is recorded of a request of which nothing else is known.
    pub fn subject(&self) -> Subject {
        let (destination, protocol) = match self {
            Self::Proxy => (None, None),
            Self::Fixed(destination, protocol) => (Some(destination.clone()), Some(*protocol)),
        };
        Subject::Connection { destination, protocol }
    }
}

/// The destination and protocol of a request.
///
/// # Errors
///
/// When it names none, one that can't be read, or two.
pub fn intent<B>(request: &Request<B>, via: &Via) -> Result<(Destination, Protocol), Refused> {
    let uri = request.uri();
    let (destination, protocol) = match via {
        Via::Fixed(destination, protocol) => (destination.clone(), *protocol),
        Via::Proxy => match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(authority)) => {
                (parse(authority.as_str(), Some(80))?, Protocol::Http)
            }
            (Some(_), Some(_)) => return Err(other_scheme()),
            _ => return Err(not_for_a_proxy()),
        },
    };
    let usual = protocol.default_port();
    if let (Via::Fixed(..), Some(authority)) = (via, uri.authority()) {
        agree(&destination, authority.as_str(), usual)?;
        let scheme = if protocol == Protocol::Https { "https" } else { "http" };
        if uri.scheme_str().is_some_and(|named| named != scheme) {
            return Err(Refused::disagreement(format!("{scheme}://{destination}"), uri));
        }
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => agree(&destination, text(host)?, usual)?,
        (None, _) if uri.authority().is_some() || request.version() == Version::HTTP_10 => {}
        (None, _) => return Err(malformed("the request has no Host field")),
        (Some(_), Some(_)) => return Err(malformed("Host stands there twice")),
    }
    Ok((destination, protocol))
}

/// Reads a destination as a request names it.
///
/// # Errors
///
/// When it is none, in the one spelling that there is.
pub fn parse(text: &str, usual: Option<u16>) -> Result<Destination, Refused> {
    Destination::parse(text, usual)
        .map_err(|invalid| Refused::bad_destination(text, invalid, invalid.hint()))
}

fn agree(destination: &Destination, named: &str, usual: Option<u16>) -> Result<(), Refused> {
    match parse(named, usual)? {
        other if other == *destination || without("host-field") => Ok(()),
        other => Err(Refused::disagreement(destination, other)),
    }
}

fn text(host: &HeaderValue) -> Result<&str, Refused> {
    host.to_str().map_err(|_| malformed("the Host field is no host"))
}

fn malformed(cause: &str) -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "malformed_request",
        cause,
        "Name the destination once, in the Host field or the :authority of the request.",
    )
}

fn other_scheme() -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "scheme_not_supported",
        "the proxy forwards requests to http: targets only",
        "Use CONNECT for https: and everything else.",
    )
}

fn not_for_a_proxy() -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "not_a_proxy_request",
        "this is a proxy, and the request names no destination for it",
        "Send requests with an absolute target, or CONNECT.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(via: &Via, target: &str, hosts: &[&[u8]]) -> Result<String, &'static str> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        match intent(&request.body(()).unwrap(), via) {
            Ok((destination, protocol)) => Ok(format!("{destination} {}", protocol.as_str())),
            Err(refused) => Err(refused.code),
        }
    }

    #[test]
    fn a_proxy_request_goes_where_its_target_says_and_its_host_has_to_agree() {
        let ask = |target: &str, hosts: &[&[u8]]| ask(&Via::Proxy, target, hosts);
        assert_eq!(ask("http://up.test/a", &[b"up.test"]), Ok("up.test:80 http".into()));
        assert_eq!(ask("http://UP.test.:80/a", &[b"Up.test:80"]), Ok("up.test:80 http".into()));
        assert_eq!(ask("http://up.test/", &[]), Ok("up.test:80 http".into()));
        assert_eq!(ask("http://up.test/", &[b"evil.test"]), Err("destinations_disagree"));
        assert_eq!(ask("http://up.test/", &[b"up.test:8080"]), Err("destinations_disagree"));
        assert_eq!(ask("http://up.test/", &[b"up.test", b"up.test"]), Err("malformed_request"));
        assert_eq!(ask("http://x@up.test/", &[b"up.test"]), Err("malformed_destination"));
        assert_eq!(ask("http://0x7f.1/", &[]), Err("malformed_destination"));
        assert_eq!(ask("https://up.test/", &[b"up.test"]), Err("scheme_not_supported"));
        assert_eq!(ask("/a", &[b"up.test"]), Err("not_a_proxy_request"));
    }

    #[test]
    fn within_a_connection_every_name_has_to_be_the_connection_s() {
        let destination = Destination::parse("up.test:443", None).unwrap();
        let via = Via::Fixed(destination, Protocol::Https);
        let ask = |target: &str, hosts: &[&[u8]]| ask(&via, target, hosts);
        assert_eq!(ask("/a", &[b"up.test"]), Ok("up.test:443 https".into()));
        assert_eq!(ask("/a", &[b"UP.TEST.:443"]), Ok("up.test:443 https".into()));
        for host in [&b"evil.test"[..], b"up.test:8443", b"203.0.113.10", b"sub.up.test"] {
            assert_eq!(ask("/a", &[host]), Err("destinations_disagree"), "{host:?}");
        }
        assert_eq!(ask("/a", &[b"up.test\xff"]), Err("malformed_request"));
        assert_eq!(ask("/a", &[]), Err("malformed_request"));
        assert_eq!(ask("https://evil.test/", &[b"up.test"]), Err("destinations_disagree"));
        assert_eq!(ask("http://up.test:443/", &[b"up.test"]), Err("destinations_disagree"));
        assert_eq!(ask("https://up.test/", &[b"evil.test"]), Err("destinations_disagree"));
        assert_eq!(ask("https://up.test/", &[]), Ok("up.test:443 https".into()));
    }
}
