//! A bounded amount of something (connections, bytes of memory) shared out among uids, so that no
//! uid can take what others need.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::supervisor::{Caller, Role};

/// What there is and what is taken of it.
#[derive(Debug)]
pub struct Pool {
    /// All there is.
    size: u64,
    /// What one uid may hold of it.
    per_uid: u64,
    /// What of it only administrators get.
    admin_reserve: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    sum: u64,
    by_uid: HashMap<u32, u64>,
}

/// What one uid holds; dropping it gives it back.
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    uid: u32,
    amount: u64,
}

impl Pool {
    /// A pool of which nothing is taken.
    pub fn new(size: u64, per_uid: u64, admin_reserve: u64) -> Arc<Self> {
        Arc::new(Self { size, per_uid, admin_reserve, taken: Mutex::default() })
    }

    /// Takes an amount, or nothing if that would go past a bound.
    pub fn take(self: &Arc<Self>, caller: &Caller, amount: u64) -> Option<Share> {
        self.take_within(self.ceiling(caller), caller.uid, amount)
    }

    /// Takes an amount, or as much of it as there is within the bounds: for what can't be refused any more.
    pub fn take_up_to(self: &Arc<Self>, caller: &Caller, amount: u64) -> Share {
        let ceiling = self.ceiling(caller);
        let mut taken = self.lock();
        let held = taken.by_uid.get(&caller.uid).copied().unwrap_or(0);
        let left = ceiling.saturating_sub(taken.sum).min(self.per_uid.saturating_sub(held));
        let amount = amount.min(left);
        taken.sum += amount;
        taken.by_uid.insert(caller.uid, held + amount);
        drop(taken);
        Share { pool: self.clone(), uid: caller.uid, amount }
    }

    /// Takes an amount in the name of a uid, whoever asks for it.
    pub fn take_of(self: &Arc<Self>, uid: u32, amount: u64) -> Option<Share> {
        self.take_within(self.size.saturating_sub(self.admin_reserve), uid, amount)
    }

    /// What all may hold together before this caller gets no more.
    fn ceiling(&self, caller: &Caller) -> u64 {
        match caller.role {
            Role::Admin => self.size,
            Role::Agent => self.size.saturating_sub(self.admin_reserve),
        }
    }

    fn take_within(self: &Arc<Self>, ceiling: u64, uid: u32, amount: u64) -> Option<Share> {
        let mut taken = self.lock();
        let sum = taken.sum.checked_add(amount).filter(|sum| *sum <= ceiling)?;
        let held = taken.by_uid.get(&uid).copied().unwrap_or(0);
        let held = held.checked_add(amount).filter(|held| *held <= self.per_uid)?;
        taken.sum = sum;
        taken.by_uid.insert(uid, held);
        drop(taken);
        Some(Share { pool: self.clone(), uid, amount })
    }

    /// Counts an amount that is held already, however much that makes.
    pub fn hold(self: &Arc<Self>, uid: u32, amount: u64) -> Share {
        let mut taken = self.lock();
        taken.sum = taken.sum.saturating_add(amount);
        let held = taken.by_uid.entry(uid).or_default();
        *held = held.saturating_add(amount);
        drop(taken);
        Share { pool: self.clone(), uid, amount }
    }

    #[cfg(test)]
    pub fn in_use(&self) -> u64 {
        self.lock().sum
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // The numbers are changed together and without a panic between, so they are never torn.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.pool.lock();
        taken.sum = taken.sum.saturating_sub(self.amount);
        let left = taken.by_uid.get(&self.uid).copied().unwrap_or(0).saturating_sub(self.amount);
        if left == 0 {
            taken.by_uid.remove(&self.uid); // or uids that are long gone would pile up
        } else {
            taken.by_uid.insert(self.uid, left);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Caller = Caller { uid: 2001, role: Role::Agent };
    const OTHER: Caller = Caller { uid: 2002, role: Role::Agent };
    const ADMIN: Caller = Caller { uid: 0, role: Role::Admin };

    #[test]
    fn one_uid_gets_its_share_and_no_more() {
        let pool = Pool::new(10, 4, 1);
        let first = pool.take(&AGENT, 3);
        assert!(first.is_some());
        assert!(pool.take(&AGENT, 2).is_none());
        let second = pool.take(&AGENT, 1);
        assert!(second.is_some());
        assert!(pool.take(&OTHER, 4).is_some());
    }

    #[test]
    fn the_reserve_is_left_to_administrators() {
        let pool = Pool::new(10, 10, 2);
        let held = pool.take(&AGENT, 8);
        assert!(held.is_some());
        assert!(pool.take(&OTHER, 1).is_none());
        assert!(pool.take(&ADMIN, 3).is_none());
        assert!(pool.take(&ADMIN, 2).is_some());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_leaves_no_trace() {
        let pool = Pool::new(4, 4, 0);
        for _ in 0..3 {
            let share = pool.take(&AGENT, 4);
            assert!(share.is_some());
            assert!(pool.take(&OTHER, 1).is_none());
        }
        assert_eq!(pool.lock().sum, 0);
        assert!(pool.lock().by_uid.is_empty());
    }

    #[test]
    fn what_cannot_be_refused_takes_what_there_is_and_of_nobody_else_s() {
        let pool = Pool::new(10, 4, 1);
        let first = pool.take_up_to(&AGENT, 3);
        let second = pool.take_up_to(&AGENT, 3);
        let third = pool.take_up_to(&AGENT, 3);
        assert_eq!((first.amount, second.amount, third.amount), (3, 1, 0));
        assert!(pool.take(&AGENT, 1).is_none());
        assert!(pool.take(&OTHER, 4).is_some());
        drop((first, second, third));
        assert_eq!(pool.lock().sum, 0);
        assert!(pool.lock().by_uid.is_empty());
    }

    #[test]
    fn an_amount_past_every_number_is_refused() {
        let pool = Pool::new(u64::MAX, u64::MAX, 0);
        let held = pool.take(&AGENT, 1);
        assert!(held.is_some());
        assert!(pool.take(&AGENT, u64::MAX).is_none());
    }
}
