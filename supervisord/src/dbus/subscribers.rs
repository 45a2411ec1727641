//! Who gets signals. They are sent to one connection at a time and never broadcast: a broadcast would
//! tell everybody on the bus when others run something, and what its id is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::dbus::bounds::{SUBSCRIBERS, SUBSCRIBERS_PER_UID};
use crate::dbus::failure::Failure;

/// The connections that asked for signals.
#[derive(Debug, Default)]
pub struct Subscribers {
    by_name: Mutex<HashMap<String, Subscriber>>,
    /// Signalled when somebody has come, who wants to hear of what runs already.
    pub came: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Subscriber {
    uid: u32,
    all: bool,
}

impl Subscribers {
    /// Adds a connection, or changes what it gets.
    ///
    /// # Errors
    ///
    /// [`supervisor_api::ErrorCode::Busy`] when there are too many.
    pub fn add(&self, name: &str, uid: u32, all: bool) -> Result<(), Failure> {
        let mut by_name = self.lock();
        if !by_name.contains_key(name) {
            let own = by_name.values().filter(|each| each.uid == uid).count();
            if own >= SUBSCRIBERS_PER_UID || by_name.len() >= SUBSCRIBERS {
                return Err(Failure::busy("too many connections get signals"));
            }
        }
        by_name.insert(name.to_owned(), Subscriber { uid, all });
        drop(by_name);
        self.came.notify_one();
        Ok(())
    }

    /// Removes a connection that is gone or wants no more.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Who hears of an execution of this owner.
    pub fn of(&self, owner: u32) -> Vec<String> {
        self.of_those(owner, |_| false)
    }

    /// Who hears of what is about this owner and these others.
    pub fn of_those(&self, owner: u32, others: impl Fn(u32) -> bool) -> Vec<String> {
        let by_name = self.lock();
        let hear =
            by_name.iter().filter(|(_, each)| each.all || each.uid == owner || others(each.uid));
        hear.map(|(name, _)| name.clone()).collect()
    }

    /// Who hears of what is nobody's own.
    pub fn of_everything(&self) -> Vec<String> {
        let by_name = self.lock();
        let hear = by_name.iter().filter(|(_, each)| each.all);
        hear.map(|(name, _)| name.clone()).collect()
    }

    /// Everybody who gets signals.
    pub fn everybody(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Subscriber>> {
        // Changed by single calls that don't panic.
        self.by_name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscriber_hears_of_its_own_and_a_full_list_refuses() {
        let subscribers = Subscribers::default();
        subscribers.add(":1.1", 2001, false).unwrap();
        subscribers.add(":1.2", 0, true).unwrap();
        let mut hear = subscribers.of(2001);
        hear.sort();
        assert_eq!(hear, [":1.1", ":1.2"]);
        assert_eq!(subscribers.of(2002), [":1.2"]);
        for number in 1..SUBSCRIBERS_PER_UID {
            subscribers.add(&format!(":2.{number}"), 2001, false).unwrap();
        }
        assert!(subscribers.add(":3.1", 2001, false).is_err());
        subscribers.remove(":1.1");
        assert!(subscribers.add(":3.1", 2001, false).is_ok());
    }
}
