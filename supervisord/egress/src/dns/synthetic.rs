//! The addresses that stand for names in one sandbox. Nothing is ever sent to them: they lead to our
//! own listeners, where they say which name the program had looked up.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use supervisor_policy::egress::HostName;

use crate::limits::MAX_SYNTHETIC_NAMES;

/// The IPv4 block: 198.18.0.0/15, set aside for benchmarks of network devices (RFC 2544), so never
/// an address on any network, and refused by the policy's address classes besides.
const BLOCK_V4: u32 = u32::from_be_bytes([198, 18, 0, 0]);

/// The IPv6 block: 2001:2::/48, for the same (RFC 5180).
const BLOCK_V6: u128 = 0x2001_0002 << 96;

/// The first number: addresses that end in 0 are taken for networks by some programs.
const FIRST: u32 = 1;

/// Addresses of the IPv4 block, which is the smaller one.
const BLOCK_SIZE: u32 = 1 << 17;

/// Which name has which address. An address is never given to a second name, so one that a program
/// remembers can't come to mean another host; not even over restarts of the daemon, which doesn't
/// remember the names: each time it goes on in a part of the block that was not in use before.
#[derive(Debug)]
pub struct Synthetic {
    numbers: HashMap<HostName, u32>,
    names: Vec<HostName>,
    /// The place of the first name.
    first: u32,
}

/// Every address of this sandbox's pool is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolIsEmpty;

/// What an address that a program dialled is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialled {
    /// The synthetic address of this name.
    Name(HostName),
    /// One of the synthetic blocks that no name has.
    Unassigned,
    /// Any other address.
    Address(IpAddr),
}

impl Synthetic {
    /// The pool of a sandbox that was taken over this often. Its addresses last for fourteen times;
    /// after that it is empty.
    pub fn taken_over(times: u32) -> Self {
        let first = times.saturating_mul(MAX_SYNTHETIC_NAMES).saturating_add(FIRST);
        Self { numbers: HashMap::new(), names: Vec::new(), first }
    }

    /// Whether a name has been asked for before.
    pub fn knows(&self, name: &HostName) -> bool {
        self.numbers.contains_key(name)
    }

    /// The two addresses of a name, the same ones each time.
    ///
    /// # Errors
    ///
    /// [`PoolIsEmpty`] for a new name after [`MAX_SYNTHETIC_NAMES`] others.
    pub fn addresses(&mut self, name: &HostName) -> Result<(Ipv4Addr, Ipv6Addr), PoolIsEmpty> {
        let number = match self.numbers.get(name) {
            Some(number) => *number,
            None => {
                let number = u32::try_from(self.names.len()).map_err(|_| PoolIsEmpty)?;
                let is_last_part = self.first >= BLOCK_SIZE - MAX_SYNTHETIC_NAMES;
                if number >= MAX_SYNTHETIC_NAMES || is_last_part {
                    return Err(PoolIsEmpty);
                }
                self.names.push(name.clone());
                self.numbers.insert(name.clone(), number);
                number
            }
        };
        let place = self.first + number;
        Ok((Ipv4Addr::from(BLOCK_V4 + place), Ipv6Addr::from(BLOCK_V6 + u128::from(place))))
    }

    /// What a dialled address stands for.
    pub fn dialled(&self, address: IpAddr) -> Dialled {
        let place = match address.to_canonical() {
            IpAddr::V4(v4) => {
                u32::from(v4).checked_sub(BLOCK_V4).filter(|place| *place < BLOCK_SIZE)
            }
            IpAddr::V6(v6) => u128::from(v6)
                .checked_sub(BLOCK_V6)
                .filter(|place| *place < 1 << 80)
                .map(|place| u32::try_from(place).unwrap_or(u32::MAX)),
        };
        let Some(place) = place else { return Dialled::Address(address.to_canonical()) };
        let number = place.checked_sub(self.first).and_then(|number| usize::try_from(number).ok());
        match number.and_then(|number| self.names.get(number)) {
            Some(name) => Dialled::Name(name.clone()),
            None => Dialled::Unassigned,
        }
    }
}

#[cfg(test)]
mod tests {
    use supervisor_policy::egress::Host;

    use super::*;

    fn name(text: &str) -> HostName {
        match Host::parse(text) {
            Ok(Host::Name(name)) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_address_leads_back_to_its_name_and_to_no_other() {
        let mut pool = Synthetic::taken_over(0);
        let (a4, a6) = pool.addresses(&name("a.test")).unwrap();
        let (b4, b6) = pool.addresses(&name("b.test")).unwrap();
        assert_ne!((a4, a6), (b4, b6));
        assert_eq!(pool.addresses(&name("a.test")), Ok((a4, a6)));
        assert_eq!(pool.dialled(a4.into()), Dialled::Name(name("a.test")));
        assert_eq!(pool.dialled(b6.into()), Dialled::Name(name("b.test")));
        assert_eq!(pool.dialled(a4.to_ipv6_mapped().into()), Dialled::Name(name("a.test")));
    }

    #[test]
    fn addresses_of_the_blocks_that_nobody_has_are_nobodys() {
        let pool = Synthetic::taken_over(0);
        for address in
            ["198.18.0.0", "198.18.0.1", "198.19.255.255", "2001:2::", "2001:2:0:ffff::1"]
        {
            assert_eq!(pool.dialled(address.parse().unwrap()), Dialled::Unassigned, "{address}");
        }
        for address in ["198.17.255.255", "198.20.0.0", "2001:2:1::", "2001:1::1", "127.0.0.1"] {
            let address = address.parse().unwrap();
            assert_eq!(pool.dialled(address), Dialled::Address(address));
        }
    }

    #[test]
    fn a_full_pool_refuses_new_names_and_keeps_the_old_ones() {
        let mut pool = Synthetic::taken_over(0);
        for number in 0..MAX_SYNTHETIC_NAMES {
            pool.addresses(&name(&format!("h{number}.test"))).unwrap();
        }
        assert_eq!(pool.addresses(&name("one.more.test")), Err(PoolIsEmpty));
        assert!(pool.addresses(&name("h0.test")).is_ok());
    }

    #[test]
    fn an_address_from_before_a_restart_leads_to_no_name_after_it() {
        let mut all = std::collections::HashSet::new();
        for times in 0..14 {
            let mut pool = Synthetic::taken_over(times);
            let before = all.clone();
            for number in 0..MAX_SYNTHETIC_NAMES {
                let (v4, v6) = pool.addresses(&name(&format!("h{number}.test"))).unwrap();
                assert!(all.insert(v4), "{v4} again after {times} restarts");
                assert_eq!(pool.dialled(v6.into()), pool.dialled(v4.into()));
            }
            let dialled = before.into_iter().map(|old: Ipv4Addr| pool.dialled(old.into()));
            assert!(dialled.into_iter().all(|what| what == Dialled::Unassigned));
        }
        for times in [15, 16, u32::MAX] {
            let mut pool = Synthetic::taken_over(times);
            assert_eq!(pool.addresses(&name("a.test")), Err(PoolIsEmpty), "{times}");
        }
    }
}
