//! What names resolved to, for as long as that may be believed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use supervisor_policy::egress::HostName;

use super::{Resolved, Unresolved};
use crate::limits::{MAX_CACHED_NAMES, UNRESOLVED_FOR};

/// What is known of a name.
type Known = Result<Resolved, Unresolved>;

/// Names with their addresses or the reason why they have none.
#[derive(Debug, Default)]
pub struct Cache {
    entries: HashMap<HostName, (Instant, Known)>,
}

impl Cache {
    /// What is known of a name at this time.
    pub fn get(&self, name: &HostName, now: Instant) -> Option<Known> {
        let (until, known) = self.entries.get(name)?;
        (now < *until).then(|| known.clone())
    }

    /// Remembers what a name resolved to; that it couldn't be asked for is nothing that is known of it. What
    /// is still valid is worth more than a failure.
    pub fn put(
        &mut self,
        name: &HostName,
        found: &Result<(Resolved, Duration), Unresolved>,
        now: Instant,
    ) {
        let is_known = || matches!(self.get(name, now), Some(Ok(_)));
        if matches!(found, Err(Unresolved::Unasked)) || found.is_err() && is_known() {
            return;
        }
        if self.entries.len() >= MAX_CACHED_NAMES {
            self.entries.retain(|_, (until, _)| now < *until);
        }
        if self.entries.len() >= MAX_CACHED_NAMES {
            self.entries.clear();
        }
        let entry = match found {
            Ok((resolved, valid_for)) => (now + *valid_for, Ok(resolved.clone())),
            Err(why) => (now + UNRESOLVED_FOR, Err(why.clone())),
        };
        self.entries.insert(name.clone(), entry);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;

    use supervisor_policy::egress::Host;

    use super::*;

    fn name(text: &str) -> HostName {
        Host::parse(text).unwrap().name().unwrap().clone()
    }

    fn here() -> Resolved {
        Arc::<[IpAddr]>::from([Ipv4Addr::LOCALHOST.into()]).into()
    }

    #[test]
    fn addresses_are_believed_for_their_time_and_failures_for_a_moment() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        let addresses = here();
        let second = Duration::from_secs(1);
        cache.put(&name("a.test"), &Ok((addresses.clone(), second * 9)), start);
        cache.put(&name("b.test"), &Err(Unresolved::Unanswered), start);
        assert_eq!(cache.get(&name("a.test"), start + second * 8), Some(Ok(addresses)));
        assert_eq!(cache.get(&name("a.test"), start + second * 9), None);
        assert_eq!(cache.get(&name("b.test"), start), Some(Err(Unresolved::Unanswered)));
        assert_eq!(cache.get(&name("b.test"), start + UNRESOLVED_FOR), None);
    }

    #[test]
    fn a_failure_takes_the_place_of_no_address_and_one_of_this_host_s_is_not_remembered() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        let addresses = here();
        cache.put(&name("a.test"), &Ok((addresses.clone(), Duration::from_secs(9))), now);
        for why in [Unresolved::Unanswered, Unresolved::Unasked] {
            cache.put(&name("a.test"), &Err(why), now);
            assert_eq!(cache.get(&name("a.test"), now), Some(Ok(addresses.clone())));
        }
        cache.put(&name("b.test"), &Err(Unresolved::Unasked), now);
        assert_eq!(cache.get(&name("b.test"), now), None);
    }

    #[test]
    fn it_never_holds_more_names_than_its_bound() {
        let (mut cache, start) = (Cache::default(), Instant::now());
        for number in 0..2 * MAX_CACHED_NAMES {
            cache.put(&name(&format!("h{number}.test")), &Err(Unresolved::WithoutAddress), start);
            assert!(cache.entries.len() <= MAX_CACHED_NAMES);
        }
    }
}
