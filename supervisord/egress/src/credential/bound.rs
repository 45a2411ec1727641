//! Hosts that a credential may ever go to, whatever policies say.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::without::without;

/// The port of a bound that names none: HTTP over TLS.
const HTTPS: u16 = 443;

/// One host, or all below a name, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    host: String,
    below: bool,
    port: u16,
}

/// A text that is no bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidBound(String);

impl Bound {
    /// Whether a credential may go there. The host is in its canonical spelling.
    pub fn allows(&self, host: &str, port: u16) -> bool {
        (self.names(host) && port == self.port) || without("credential-bound")
    }

    /// Whether it is about this host, at whatever port.
    pub fn names(&self, host: &str) -> bool {
        match self.below {
            false => host == self.host,
            true => host
                .strip_suffix(self.host.as_str())
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty()),
        }
    }
}

impl FromStr for Bound {
    type Err = InvalidBound;

    /// Reads `host`, `host:port`, `*.name` or `*.name:port`; an IPv6 address stands in brackets.
    fn from_str(text: &str) -> Result<Self, InvalidBound> {
        let invalid = || InvalidBound(text.to_owned());
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
                let address: Ipv6Addr = address.parse().map_err(|_| invalid())?;
                if !port.is_empty() && !port.starts_with(':') {
                    return Err(invalid());
                }
                (address.to_string(), port.strip_prefix(':'))
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host.to_owned(), Some(port)),
                None => (text.to_owned(), None),
            },
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(invalid)?
            }
            Some(_) => return Err(invalid()),
            None => HTTPS,
        };
        let (host, below) = match host.strip_prefix("*.") {
            Some(name) => (name.to_owned(), true),
            None => (host, false),
        };
        let address = !below && text.starts_with('[');
        let enough = !below || host.contains('.'); // a whole top-level domain is no bound
        match enough && (address || is_name(&host)) {
            true => Ok(Self { host, below, port }),
            false => Err(invalid()),
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.below { "*." } else { "" };
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => write!(f, "{star}{}", self.host)?,
        }
        if self.port == HTTPS { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for InvalidBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not a host in lower case such as api.example.com, *.example.com, or either with \
             a port",
            self.0
        )
    }
}

impl std::error::Error for InvalidBound {}

/// Labels of lower-case letters, digits and hyphens, which the spelling of an IPv4 address is too.
fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(allowed);
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(bound: &str, host: &str, port: u16) -> bool {
        bound.parse::<Bound>().expect(bound).allows(host, port)
    }

    #[test]
    fn a_bound_is_one_host_and_one_port() {
        assert!(allows("api.example.com", "api.example.com", 443));
        for (host, port) in [
            ("api.example.com", 8443),
            ("sub.api.example.com", 443),
            ("example.com", 443),
            ("api.example.com.evil.test", 443),
            ("xapi.example.com", 443),
        ] {
            assert!(!allows("api.example.com", host, port), "{host}:{port}");
        }
        assert!(allows("127.0.0.1:8443", "127.0.0.1", 8443));
        assert!(allows("[::1]:8443", "::1", 8443));
    }

    #[test]
    fn a_bound_below_a_name_does_not_hold_the_name_or_its_likeness() {
        assert!(allows("*.example.com", "a.example.com", 443));
        assert!(allows("*.example.com", "a.b.example.com", 443));
        for host in ["example.com", ".example.com", "xexample.com", "a.example.com.test"] {
            assert!(!allows("*.example.com", host, 443), "{host}");
        }
    }

    #[test]
    fn a_text_with_anything_odd_is_no_bound() {
        for text in [
            "",
            "*",
            "*.com",
            "*.",
            "a..b",
            "A.com",
            "a_b.com",
            "a.com:",
            "a.com:0",
            "a.com:99999",
            "a.com:+1",
            "https://a.com",
            "a.com/x",
            "::1",
            "[::1",
            "a.*.com",
            "a.com.",
            "[::1]x",
        ] {
            assert!(text.parse::<Bound>().is_err(), "{text}");
        }
        for text in ["a.com", "*.a.com:8443", "[::1]:8443", "10.0.0.1"] {
            assert_eq!(text.parse::<Bound>().map(|bound| bound.to_string()), Ok(text.to_owned()));
        }
    }
}
