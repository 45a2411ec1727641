//! Classes of addresses. What isn't an ordinary public address stays closed unless a rule names it.
//!
//! The tables follow IANA's special-purpose address registries (RFC 6890, with RFC 8190 and the
//! entries added since). An address that carries another one, for a translator or a tunnel, has to
//! pass twice: for itself and for the one it carries.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressClass {
    /// An ordinary public address.
    Public,
    /// A private network (RFC 1918) or unique local addresses (RFC 4193).
    Private,
    /// Shared by providers behind their translators (RFC 6598).
    Shared,
    /// For documentation (RFC 5737, 3849, 9637).
    Documentation,
    /// For measurements between networks (RFC 2544, 5180).
    Benchmarking,
    /// For the protocols of the network itself (RFC 6890, 7526 and others).
    Infrastructure,
    /// Carries an IPv4 address for a translator or a tunnel (RFC 6052, 8215, 3056, 4380, 4291).
    Translated,
    /// The services that tell a cloud machine its own credentials.
    Metadata,
    /// One link only (RFC 3927, 4291).
    LinkLocal,
    /// This host itself (RFC 1122, 4291).
    Loopback,
    /// No host: unspecified, multicast, broadcast and what is reserved.
    Unusable,
}

impl AddressClass {
    /// Every class that is closed unless named, in the order of the documentation.
    pub const CLOSED: &[AddressClass] = &[
        AddressClass::Private,
        AddressClass::Shared,
        AddressClass::Documentation,
        AddressClass::Benchmarking,
        AddressClass::Infrastructure,
        AddressClass::Translated,
        AddressClass::Metadata,
        AddressClass::LinkLocal,
        AddressClass::Loopback,
        AddressClass::Unusable,
    ];

    /// The name as it stands in the floor's file and in refusals.
    pub const fn as_str(self) -> &'static str {
        match self {
            AddressClass::Public => "public",
            AddressClass::Private => "private",
            AddressClass::Shared => "shared",
            AddressClass::Documentation => "documentation",
            AddressClass::Benchmarking => "benchmarking",
            AddressClass::Infrastructure => "infrastructure",
            AddressClass::Translated => "translated",
            AddressClass::Metadata => "metadata",
            AddressClass::LinkLocal => "link-local",
            AddressClass::Loopback => "loopback",
            AddressClass::Unusable => "unusable",
        }
    }

    /// The class of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::CLOSED.iter().copied().find(|class| class.as_str() == name)
    }

    /// Whether a floor can let policies name addresses of this class.
    pub const fn can_be_opened(self) -> bool {
        !matches!(self, AddressClass::Unusable)
    }

    /// The class of an address by itself, whatever it carries.
    pub fn of(address: IpAddr) -> Self {
        let metadata = METADATA.iter().any(|known| match (known, address) {
            (Known::V4(known), IpAddr::V4(address)) => Ipv4Addr::from(*known) == address,
            (Known::V6(known), IpAddr::V6(address)) => Ipv6Addr::from(*known) == address,
            _ => false,
        });
        match address {
            _ if metadata => AddressClass::Metadata,
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

enum Known {
    V4([u8; 4]),
    V6([u16; 8]),
}

/// Where clouds answer their machines' questions about themselves.
const METADATA: &[Known] = &[
    Known::V4([169, 254, 169, 254]), // AWS, Azure, GCP, OpenStack, DigitalOcean, Oracle
    Known::V4([169, 254, 170, 2]),   // AWS: credentials of a container
    Known::V4([169, 254, 170, 23]),  // AWS: identity of a Kubernetes pod
    Known::V4([100, 100, 100, 200]), // Alibaba
    Known::V4([168, 63, 129, 16]),   // Azure: the host's own agent, a public address
    Known::V4([192, 0, 0, 192]),     // Oracle, older machines
    Known::V6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]), // AWS
    Known::V6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]), // AWS: identity of a Kubernetes pod
    Known::V6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]), // GCP
    Known::V6([0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe]), // OpenStack
];

/// Blocks of IPv4, the narrower before the wider: first address, prefix length, class.
const V4: &[([u8; 4], u32, AddressClass)] = &[
    ([0, 0, 0, 0], 8, AddressClass::Unusable), // RFC 791: this network
    ([10, 0, 0, 0], 8, AddressClass::Private), // RFC 1918
    ([100, 64, 0, 0], 10, AddressClass::Shared), // RFC 6598
    ([127, 0, 0, 0], 8, AddressClass::Loopback), // RFC 1122
    ([169, 254, 0, 0], 16, AddressClass::LinkLocal), // RFC 3927
    ([172, 16, 0, 0], 12, AddressClass::Private), // RFC 1918
    ([192, 0, 0, 0], 24, AddressClass::Infrastructure), // RFC 6890
    ([192, 0, 2, 0], 24, AddressClass::Documentation), // RFC 5737
    ([192, 31, 196, 0], 24, AddressClass::Infrastructure), // RFC 7535
    ([192, 52, 193, 0], 24, AddressClass::Infrastructure), // RFC 7450
    ([192, 88, 99, 0], 24, AddressClass::Infrastructure), // RFC 7526: 6to4 relays of old
    ([192, 168, 0, 0], 16, AddressClass::Private), // RFC 1918
    ([192, 175, 48, 0], 24, AddressClass::Infrastructure), // RFC 7534
    ([198, 18, 0, 0], 15, AddressClass::Benchmarking), // RFC 2544
    ([198, 51, 100, 0], 24, AddressClass::Documentation), // RFC 5737
    ([203, 0, 113, 0], 24, AddressClass::Documentation), // RFC 5737
    ([224, 0, 0, 0], 4, AddressClass::Unusable), // RFC 1112: multicast
    ([240, 0, 0, 0], 4, AddressClass::Unusable), // RFC 1112, 919: reserved and broadcast
];

/// Blocks of IPv6 outside and inside of 2000::/3, the narrower before the wider.
const V6: &[([u16; 8], u32, AddressClass)] = &[
    ([0, 0, 0, 0, 0, 0, 0, 0], 128, AddressClass::Unusable), // RFC 4291: unspecified
    ([0, 0, 0, 0, 0, 0, 0, 1], 128, AddressClass::Loopback), // RFC 4291
    ([0, 0, 0, 0, 0, 0, 0, 0], 96, AddressClass::Translated), // RFC 4291: IPv4-compatible
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], 96, AddressClass::Translated), // RFC 4291: IPv4-mapped
    ([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, AddressClass::Translated), // RFC 2765: IPv4-translated
    ([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, AddressClass::Translated), // RFC 6052: NAT64
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, AddressClass::Translated), // RFC 8215: NAT64, local
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, AddressClass::Unusable), // RFC 6666: discard
    ([0x100, 0, 0, 1, 0, 0, 0, 0], 64, AddressClass::Unusable), // RFC 9780: dummy prefix
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, AddressClass::Translated), // RFC 4380: Teredo
    ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, AddressClass::Benchmarking), // RFC 5180
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, AddressClass::Infrastructure), // RFC 2928
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, AddressClass::Documentation), // RFC 3849
    ([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Translated), // RFC 3056: 6to4
    ([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, AddressClass::Infrastructure), // RFC 7534
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, AddressClass::Documentation), // RFC 9637
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, AddressClass::Infrastructure), // RFC 9602: SRv6
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, AddressClass::Private), // RFC 4193
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::LinkLocal), // RFC 4291
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, AddressClass::Private), // RFC 3879: site-local of old
];

/// Where all public addresses of IPv6 are so far (IANA, RFC 4291 §2.4).
const GLOBAL_UNICAST: ([u16; 8], u32) = ([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let bits = u32::from(address);
    let found = V4.iter().find(|(first, length, _)| {
        let first = u32::from(Ipv4Addr::from(*first));
        (bits ^ first).leading_zeros() >= *length
    });
    found.map_or(AddressClass::Public, |(.., class)| *class)
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let bits = u128::from(address);
    let within = |first: [u16; 8], length: u32| {
        (bits ^ u128::from(Ipv6Addr::from(first))).leading_zeros() >= length
    };
    if let Some((.., class)) = V6.iter().find(|(first, length, _)| within(*first, *length)) {
        return *class;
    }
    let (first, length) = GLOBAL_UNICAST;
    if !within(first, length) {
        return AddressClass::Unusable;
    }
    // RFC 5214 §6.1: an interface of a tunnel over IPv4, in whatever network.
    if matches!(address.segments(), [_, _, _, _, 0 | 0x200, 0x5efe, _, _]) {
        return AddressClass::Translated;
    }
    AddressClass::Public
}

/// The IPv4 addresses that an address can carry for a translator or a tunnel. There is one where its place is
/// known; in the block of local translators that depends on the prefix, which only their operator knows.
pub fn carried(address: IpAddr) -> Vec<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return Vec::new() };
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        [0x64, 0xff9b, 1, ..] => embedded(address),
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => vec![v4(high, low)],
        // RFC 4380 §4: the client's address with every bit inverted.
        [0x2001, 0, _, _, _, _, high, low] => vec![v4(!high, !low)],
        _ => Vec::new(),
    }
}

/// What an address reads as with each prefix that the block of local translators has room for: /48, /56, /64
/// and /96 (RFC 6052 §2.2; octet 8 is no part of it). To 0.0.0.0/8 nothing is sent: that is another prefix.
fn embedded(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let [_, _, _, _, _, _, a, b, _, c, d, e, f, g, h, i] = address.octets();
    let all = [[a, b, c, d], [b, c, d, e], [c, d, e, f], [f, g, h, i]];
    let sent = all.into_iter().filter(|[first, ..]| *first != 0);
    sent.map(Ipv4Addr::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> AddressClass {
        AddressClass::of(text.parse().unwrap())
    }

    #[test]
    fn what_is_not_an_ordinary_public_address_is_known_as_such() {
        for (class_expected, addresses) in [
            (AddressClass::Loopback, "127.0.0.1 127.8.8.8 127.255.255.255 ::1"),
            (
                AddressClass::Unusable,
                "0.0.0.0 0.1.2.3 224.0.0.1 240.0.0.1 255.255.255.255 :: ff02::1",
            ),
            (AddressClass::Unusable, "100::1 100:0:0:1::1 4000::1 1::1 fe00::1"),
            (
                AddressClass::Private,
                "10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 fc00::1 fec0::1",
            ),
            (AddressClass::Metadata, "169.254.169.254 100.100.100.200 192.0.0.192 fd00:ec2::254"),
            (AddressClass::LinkLocal, "169.254.0.1 fe80::1"),
            (AddressClass::Shared, "100.64.0.1 100.127.255.255"),
            (AddressClass::Benchmarking, "198.18.0.1 198.19.255.255 2001:2::1"),
            (AddressClass::Documentation, "192.0.2.1 198.51.100.1 203.0.113.1 2001:db8::1 3fff::1"),
            (AddressClass::Infrastructure, "192.0.0.1 192.88.99.1 2001:10::1 2001:20::1"),
            (AddressClass::Translated, "::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b:1::1"),
            (AddressClass::Translated, "2002:7f00:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2"),
            (AddressClass::Translated, "::ffff:0:127.0.0.1 2a00::5efe:a00:1 2a00::200:5efe:a00:1"),
            (AddressClass::Public, "8.8.8.8 172.32.0.1 100.128.0.1 11.0.0.1 2a00:1450::1 2606::1"),
        ] {
            for address in addresses.split(' ') {
                assert_eq!(class(address), class_expected, "{address}");
            }
        }
    }

    #[test]
    fn what_an_address_carries_is_found() {
        for (address, expected) in [
            ("::ffff:127.0.0.1", &[[127, 0, 0, 1]][..]),
            ("::10.0.0.1", &[[10, 0, 0, 1]]),
            ("64:ff9b::a9fe:a9fe", &[[169, 254, 169, 254]]),
            ("2002:7f00:1::1", &[[127, 0, 0, 1]]),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", &[[192, 0, 2, 45]]),
            ("2a00::5efe:a00:1", &[[10, 0, 0, 1]]),
            ("64:ff9b:1::a9fe:a9fe", &[[169, 254, 169, 254]]),
            ("64:ff9b:1:0:a9:fea9:fe00:0", &[[169, 254, 169, 254], [254, 0, 0, 0]]),
            (
                "64:ff9b:1:a9fe:a9:fe00::",
                &[[169, 254, 169, 254], [254, 169, 254, 0], [169, 254, 0, 0]],
            ),
            ("64:ff9b:1::", &[]),
            ("::1", &[]),
            ("2a00::1", &[]),
            ("10.0.0.1", &[]),
        ] {
            let found = carried(address.parse().unwrap());
            let expected: Vec<_> = expected.iter().copied().map(Ipv4Addr::from).collect();
            assert_eq!(found, expected, "{address}");
        }
    }

    #[test]
    fn every_class_is_found_by_its_name() {
        for class in AddressClass::CLOSED {
            assert_eq!(AddressClass::from_name(class.as_str()), Some(*class));
        }
        assert_eq!(AddressClass::from_name("public"), None);
    }
}
