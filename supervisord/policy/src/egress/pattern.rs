//! What a rule says about hosts: names, everything below a name, addresses and networks.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::egress::host::{Host, HostName, InvalidHost};

/// One entry of a rule's `hosts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostPattern {
    /// `api.example.com`: this name only.
    Name(HostName),
    /// `*.example.com`: one label more, as in certificates (RFC 9525 §6.3).
    Child(HostName),
    /// `**.example.com`: one label more or several.
    Below(HostName),
    /// `**`: every name and every address.
    Everything,
    /// `192.0.2.1` or `192.0.2.0/24`: destinations that are addresses themselves.
    Network(IpNet),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidHostPattern {
    /// The host in it isn't one.
    Host(InvalidHost),
    /// A star stands where none can.
    Star,
    /// It is a URL.
    Url,
    /// A network's prefix is none, or bits behind it are set.
    Network,
}

impl HostPattern {
    /// Reads one entry.
    ///
    /// # Errors
    /// When it is neither a host, nor a network, nor a name with `*.` or `**.` before it.
    pub fn parse(text: &str) -> Result<Self, InvalidHostPattern> {
        let name = |text| HostName::parse(text).map_err(InvalidHostPattern::Host);
        if text == "**" {
            return Ok(Self::Everything);
        }
        if let Some(parent) = text.strip_prefix("**.") {
            return name(parent).map(Self::Below);
        }
        if let Some(parent) = text.strip_prefix("*.") {
            return name(parent).map(Self::Child);
        }
        if text.contains("://") {
            return Err(InvalidHostPattern::Url);
        }
        if text.contains('*') {
            return Err(InvalidHostPattern::Star);
        }
        if text.contains('/') {
            return parse_network(text).map(Self::Network);
        }
        match Host::parse(text).map_err(InvalidHostPattern::Host)? {
            Host::Name(name) => Ok(Self::Name(name)),
            Host::Address(address) => Ok(Self::Network(address.into())),
        }
    }

    /// Whether a host is meant.
    pub fn matches(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Name(known), Host::Name(name)) => known == name,
            (Self::Child(parent), Host::Name(name)) => {
                name.ancestry().nth(1) == Some(parent.as_str())
            }
            (Self::Below(parent), Host::Name(name)) => {
                name.ancestry().skip(1).any(|above| above == parent.as_str())
            }
            (Self::Network(network), Host::Address(address)) => network.contains(address),
            _ => false,
        }
    }

    /// The name that everything below is meant of.
    pub(crate) fn apex(&self) -> Option<Self> {
        match self {
            Self::Below(parent) => Some(Self::Name(parent.clone())),
            _ => None,
        }
    }

    /// Whether every host that `other` means is meant.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let below = |name: &HostName, parent: &HostName, from: usize| {
            name.ancestry().skip(from).any(|above| above == parent.as_str())
        };
        match (self, other) {
            (Self::Everything, _) => true,
            (Self::Name(one), Self::Name(two)) | (Self::Child(one), Self::Child(two)) => one == two,
            (Self::Child(_), Self::Name(name)) => self.matches(&Host::Name(name.clone())),
            (Self::Below(parent), Self::Name(name)) => below(name, parent, 1),
            (Self::Below(parent), Self::Child(name) | Self::Below(name)) => below(name, parent, 0),
            (Self::Network(one), Self::Network(two)) => one.contains(two),
            _ => false,
        }
    }
}

/// Reads `address/length`; the address is spelt canonically and has no bits behind the prefix.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, InvalidHostPattern> {
    let (address, length) = text.split_once('/').ok_or(InvalidHostPattern::Network)?;
    let address: IpAddr = match Host::parse(address).map_err(InvalidHostPattern::Host)? {
        Host::Address(address) => address,
        Host::Name(_) => return Err(InvalidHostPattern::Network),
    };
    let plain = length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| plain).ok_or(InvalidHostPattern::Network)?;
    let network = IpNet::new(address, length).map_err(|_| InvalidHostPattern::Network)?;
    if network.trunc() == network { Ok(network) } else { Err(InvalidHostPattern::Network) }
}

impl InvalidHostPattern {
    /// How to write it instead.
    pub const fn hint(self) -> &'static str {
        match self {
            InvalidHostPattern::Host(invalid) => invalid.hint(),
            InvalidHostPattern::Star => {
                "write `*.` for one more label before a name, `**.` for one or several, or `**`"
            }
            InvalidHostPattern::Url => "write the host only; protocols, ports and paths have keys",
            InvalidHostPattern::Network => {
                "write a network as its first address and the length of its prefix: 192.0.2.0/24"
            }
        }
    }
}

impl fmt::Display for InvalidHostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidHostPattern::Host(invalid) => invalid.fmt(f),
            InvalidHostPattern::Star => f.write_str("a star can't stand here"),
            InvalidHostPattern::Url => f.write_str("this is a URL"),
            InvalidHostPattern::Network => f.write_str("this is not a network"),
        }
    }
}

impl std::error::Error for InvalidHostPattern {}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Child(parent) => write!(f, "*.{parent}"),
            Self::Below(parent) => write!(f, "**.{parent}"),
            Self::Everything => f.write_str("**"),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Network(network) => network.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str) -> bool {
        HostPattern::parse(pattern).unwrap().matches(&Host::parse(host).unwrap())
    }

    #[test]
    fn a_name_means_itself_and_stars_mean_what_is_below() {
        for (pattern, yes, no) in [
            ("up.test", "up.test UP.TEST up.test.", "sub.up.test notup.test up.test.evil.test"),
            ("*.up.test", "sub.up.test", "up.test a.sub.up.test notup.test xup.test"),
            ("**.up.test", "sub.up.test a.sub.up.test", "up.test notup.test up.test.evil"),
            ("**", "up.test localhost 127.0.0.1 ::1", ""),
            ("192.0.2.0/24", "192.0.2.0 192.0.2.255", "192.0.3.0 up.test ::ffff:192.0.2.1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("2001:db8::/32", "2001:db8::1", "2001:db9::1"),
            ("::1", "::1", "::"),
        ] {
            let each = |list: &'static str| list.split(' ').filter(|host| !host.is_empty());
            assert!(each(yes).all(|host| matches(pattern, host)), "{pattern}");
            assert!(!each(no).any(|host| matches(pattern, host)), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in [
            "*",
            "a.*",
            "*a.b",
            "a*.b",
            "*.*.b",
            "***",
            "**.",
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "a/8",
            "10.0.0/8",
            "http://a",
            "a:80",
            "*.127.0.0.1",
            "",
        ] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_covers_a_pattern_matches_all_that_it_matches() {
        let patterns =
            ["a.b", "*.b", "**.b", "**", "c.a.b", "*.a.b", "**.a.b", "10.0.0.0/8", "10.1.1.1"];
        let hosts =
            ["a.b", "b", "c.a.b", "d.c.a.b", "x.b", "10.1.1.1", "10.2.2.2", "11.1.1.1", "e.a.b"];
        for one in patterns {
            for two in patterns {
                let covers =
                    HostPattern::parse(one).unwrap().covers(&HostPattern::parse(two).unwrap());
                let all = hosts.iter().all(|host| !matches(two, host) || matches(one, host));
                assert!(!covers || all, "{one} {two}");
                assert!(covers || !all || one == two, "{one} {two}");
            }
        }
    }
}
