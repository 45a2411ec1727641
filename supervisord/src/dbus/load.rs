//! How much is being done for each connection, counted before anything else is known of a call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::dbus::bounds::{BYTES_PER_SENDER, BYTES_UNKNOWN, CALLS_PER_SENDER};

/// The calls that are being answered, and the bytes of those of which nobody knows yet whose they are.
#[derive(Debug, Default)]
pub struct Load(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    senders: HashMap<String, (usize, usize)>,
}

/// One call's share; dropping it gives it back.
#[derive(Debug)]
pub struct Place {
    load: Arc<Load>,
    sender: String,
    bytes: usize,
}

impl Load {
    /// A place for a call of so many bytes, or nothing if that would go past a bound.
    pub fn take(self: &Arc<Self>, sender: &str, bytes: usize) -> Option<Place> {
        let mut held = self.lock();
        let (calls, own) = held.senders.get(sender).copied().unwrap_or_default();
        let (sum, own) = (held.bytes.checked_add(bytes)?, own.checked_add(bytes)?);
        if calls >= CALLS_PER_SENDER || own > BYTES_PER_SENDER || sum > BYTES_UNKNOWN {
            return None;
        }
        held.bytes = sum;
        held.senders.insert(sender.to_owned(), (calls + 1, own));
        Some(Place { load: self.clone(), sender: sender.to_owned(), bytes })
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // The numbers are changed together and without a panic between.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It is known whose call it is, and its bytes are counted there.
    pub fn is_known(&mut self) {
        let mut held = self.load.lock();
        let bytes = std::mem::take(&mut self.bytes);
        held.bytes = held.bytes.saturating_sub(bytes);
        if let Some((_, own)) = held.senders.get_mut(&self.sender) {
            *own = own.saturating_sub(bytes);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.is_known(); // or never will be
        let mut held = self.load.lock();
        match held.senders.get_mut(&self.sender) {
            Some((calls, _)) if *calls > 1 => *calls -= 1,
            _ => drop(held.senders.remove(&self.sender)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_so_many_calls_and_bytes_at_once_and_no_more() {
        let load = Arc::new(Load::default());
        let places: Vec<_> = (0..CALLS_PER_SENDER).map(|_| load.take(":1.1", 1)).collect();
        assert!(places.iter().all(Option::is_some) && load.take(":1.1", 1).is_none());
        assert!(load.take(":1.2", BYTES_PER_SENDER + 1).is_none());
        let mut large = load.take(":1.2", BYTES_PER_SENDER);
        assert!(large.is_some() && load.take(":1.2", 1).is_none());
        large.iter_mut().for_each(Place::is_known);
        let second = load.take(":1.2", BYTES_PER_SENDER);
        assert!(second.is_some(), "it counts among its uid's");
        drop(second);
        drop((places, large));
        assert_eq!(load.lock().bytes, 0);
        assert!(load.lock().senders.is_empty());
    }
}
