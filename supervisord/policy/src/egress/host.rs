//! Hosts as somebody wrote them, in a policy, a request line, a certificate request or a DNS question,
//! read by one function into one form. Whoever matches, resolves or dials works on that form only, so
//! that no two of them can read a spelling differently.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Bytes of a host name (RFC 1035 §2.3.4: 255 octets on the wire, 253 as text without the last dot).
const MAX_NAME: usize = 253;

/// Bytes of one label (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A host name: lower-case labels of letters, digits and hyphens, without a trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// A host: a name, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, to be resolved.
    Name(HostName),
    /// An address, in its one spelling (dotted quad; RFC 5952).
    Address(IpAddr),
}

/// A host and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// The host.
    pub host: Host,
    /// The port, never 0 where it was parsed.
    pub port: u16,
}

/// Why a text is not a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHost {
    /// There is nothing, or nothing between two dots.
    Empty,
    /// It is over 253 bytes, or one of its labels is over 63.
    TooLong,
    /// It has a character that host names don't have; a name in another script is written as `xn--…`.
    Character,
    /// A label begins or ends with a hyphen.
    Hyphen,
    /// It looks like an address and isn't spelt as one: octal, hexadecimal, short or with a zone.
    Address,
    /// The port is missing, zero, over 65535 or not a plain decimal number.
    Port,
}

impl HostName {
    /// Reads a name. Letters become lower case, one trailing dot is taken off.
    ///
    /// # Errors
    /// When it is not a name of letters, digits and hyphens, or could be read as an address.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.len() > MAX_NAME {
            return Err(InvalidHost::TooLong);
        }
        for label in text.split('.') {
            check_label(label)?;
        }
        // What ends in a number is an address to some readers (WHATWG URL, inet_aton).
        let last = text.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return Err(InvalidHost::Address);
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name and every parent of it, the nearest first: `a.b.c`, `b.c`, `c`.
    pub fn ancestry(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(Some(self.as_str()), |name| Some(name.split_once('.')?.1))
    }
}

impl Host {
    /// Reads a name or an address. An IPv6 address may stand in brackets, as in URLs.
    ///
    /// # Errors
    /// When the text is neither, or an address in any spelling but the canonical one.
    pub fn parse(text: &str) -> Result<Self, InvalidHost> {
        if text.is_empty() {
            return Err(InvalidHost::Empty);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(InvalidHost::Character)?;
            return ipv6(inner);
        }
        if text.contains(':') {
            return ipv6(text);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        HostName::parse(text).map(Self::Name)
    }

    /// The name, if it is one.
    pub fn name(&self) -> Option<&HostName> {
        match self {
            Host::Name(name) => Some(name),
            Host::Address(_) => None,
        }
    }

    /// The name, or the address without the brackets that it has in URLs: as certificates, server names and
    /// the bounds of credentials have it.
    pub fn bare(&self) -> String {
        match self {
            Host::Name(name) => name.to_string(),
            Host::Address(address) => address.to_string(),
        }
    }
}

impl Destination {
    /// Reads `host:port`; an IPv6 address stands in brackets. A `default` port holds where none is
    /// given.
    ///
    /// # Errors
    /// When the host or the port isn't one, or there is neither a port nor a default.
    pub fn parse(text: &str, default: Option<u16>) -> Result<Self, InvalidHost> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (text, None),
        };
        if port.is_some() && host.contains(':') && !host.starts_with('[') {
            return Err(InvalidHost::Address);
        }
        let port = match port {
            Some(port) => decimal_port(port)?,
            None => default.ok_or(InvalidHost::Port)?,
        };
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl InvalidHost {
    /// How to write it instead.
    pub const fn hint(self) -> &'static str {
        match self {
            InvalidHost::Empty => "write a name such as api.example.com, or an address",
            InvalidHost::TooLong => "a name has 253 bytes at the most, each label 63",
            InvalidHost::Character => {
                "a name has letters, digits, hyphens and dots; other scripts are written xn--…"
            }
            InvalidHost::Hyphen => "a label can't begin or end with a hyphen",
            InvalidHost::Address => {
                "write addresses as four decimal numbers, or as RFC 5952 says for IPv6"
            }
            InvalidHost::Port => "write a port from 1 to 65535",
        }
    }
}

impl fmt::Display for InvalidHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidHost::Empty => "a host or one of its labels is empty",
            InvalidHost::TooLong => "this host name is too long",
            InvalidHost::Character => "this host has a character that host names don't have",
            InvalidHost::Hyphen => "a label of this host begins or ends with a hyphen",
            InvalidHost::Address => "this is not the one spelling of an address",
            InvalidHost::Port => "this is not a port",
        })
    }
}

impl std::error::Error for InvalidHost {}

impl FromStr for HostName {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        Self::parse(text)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    /// As in a URL: IPv6 addresses stand in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Address(IpAddr::V4(address)) => address.fmt(f),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Whether a text is one label of a host name.
pub(crate) fn check_label(label: &str) -> Result<(), InvalidHost> {
    if label.is_empty() {
        return Err(InvalidHost::Empty);
    }
    if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(InvalidHost::Character);
    }
    if label.len() > MAX_LABEL {
        return Err(InvalidHost::TooLong);
    }
    if label.starts_with('-') || label.ends_with('-') {
        return Err(InvalidHost::Hyphen);
    }
    Ok(())
}

/// Whether readers of old-fashioned addresses would take a label for a number.
fn is_number(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    match lower.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => lower.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

fn ipv6(text: &str) -> Result<Host, InvalidHost> {
    let address: Ipv6Addr = text.parse().map_err(|_| InvalidHost::Address)?;
    if !address.to_string().eq_ignore_ascii_case(text) {
        return Err(InvalidHost::Address);
    }
    Ok(Host::Address(address.into()))
}

fn decimal_port(text: &str) -> Result<u16, InvalidHost> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain).ok_or(InvalidHost::Port)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_host_has_one_form() {
        for (text, form) in [
            ("up.test", "up.test"),
            ("UP.test.", "up.test"),
            ("localhost", "localhost"),
            ("xn--p-1ga.test", "xn--p-1ga.test"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("2001:DB8::1", "[2001:db8::1]"),
            ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()), Ok(form.to_owned()));
        }
    }

    #[test]
    fn an_odd_spelling_is_not_a_host() {
        for text in [
            "",
            ".",
            "a..b",
            ".up.test",
            "up.test..",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "017700000001",
            "0177.0.0.1",
            "127.0.0.1.",
            "127.0.0.1%00",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "[::1%25lo]",
            "::1%lo",
            "[0:0:0:0:0:ffff:7f00:0001]",
            "::ffff:7f00:1",
            "_gateway",
            "$(hostname)",
            "up.test@127.0.0.1",
            "127.0.0.1:80:443",
            "[127.0.0.1]",
            "[[::1]]",
            "[::1",
            "-up.test",
            "up-.test",
            "*.up.test",
            "up.test%2eevil.test",
            "evil.test\0.up.test",
            "a b",
            "ｕｐ.test",
            "evil.test#.up.test",
            "evil.test/.up.test",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.0x4",
        ] {
            assert!(Host::parse(text).is_err(), "{text}");
        }
        assert!(Host::parse(&format!("{}.test", "a".repeat(64))).is_err());
        assert!(Host::parse(&format!("{}.test", "a.".repeat(125))).is_err());
    }

    #[test]
    fn a_destination_has_a_plain_port() {
        let parse = |text| Destination::parse(text, None).map(|found| found.to_string());
        assert_eq!(parse("up.test:443"), Ok("up.test:443".to_owned()));
        assert_eq!(parse("[::1]:80"), Ok("[::1]:80".to_owned()));
        for text in [
            "up.test",
            "up.test:",
            "up.test:0",
            "up.test:+80",
            "up.test:080",
            "a:65536",
            "::1:80",
            "127.0.0.1:80:443",
            "[::1]",
            "[::1]80",
            ":80",
            "a:８０",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let fallback = Destination::parse("[::1]", Some(443)).unwrap();
        assert_eq!(fallback.to_string(), "[::1]:443");
    }

    proptest! {
        #[test]
        fn reading_a_form_again_changes_nothing(text in "[a-zA-Z0-9.:\\[\\]-]{0,40}") {
            if let Ok(host) = Host::parse(&text) {
                prop_assert_eq!(Host::parse(&host.to_string()), Ok(host));
            }
        }

        #[test]
        fn no_text_breaks_the_reading(text in any::<String>()) {
            prop_assert!(Host::parse(&text).is_ok() || Host::parse(&text).is_err());
            prop_assert!(Destination::parse(&text, Some(1)).map_or(true, |found| found.port > 0));
        }
    }
}
