//! How many archives are packed and unpacked at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use supervisor_api::{ApiError, ErrorCode};

/// Archives at once. Each holds one of the daemon's sixteen threads for blocking work until the caller has
/// sent or taken all of it.
const ARCHIVES: usize = 4;

/// Archives of one uid at once: nobody can keep the others from all of them.
const ARCHIVES_OF_ONE: usize = 2;

/// The archives under way, by uid.
#[derive(Debug, Clone, Default)]
pub struct Archives(Arc<Mutex<HashMap<u32, usize>>>);

/// One of them; dropping it says that it is done.
#[derive(Debug)]
pub struct Archiving {
    all: Archives,
    uid: u32,
}

impl Archives {
    /// One more, if there may be.
    pub fn one_more(&self, uid: u32) -> Result<Archiving, ApiError> {
        let mut taken = self.taken();
        let (own, all) = (taken.get(&uid).copied().unwrap_or(0), taken.values().sum::<usize>());
        if own >= ARCHIVES_OF_ONE || all >= ARCHIVES {
            return Err(busy());
        }
        taken.insert(uid, own + 1);
        drop(taken);
        Ok(Archiving { all: self.clone(), uid })
    }

    /// Nothing between two changes panics, so a poisoned map is whole.
    fn taken(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Archiving {
    fn drop(&mut self) {
        let mut taken = self.all.taken();
        match taken.get_mut(&self.uid) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.remove(&self.uid)),
        }
    }
}

/// The refusal of one too many.
pub fn busy() -> ApiError {
    ApiError::new(ErrorCode::Busy, "too many archives are being packed or unpacked")
        .with_hint("one of a session at a time, and two of yours; try again when one is done")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uid_has_two_archives_and_all_have_four() {
        let archives = Archives::default();
        let first = archives.one_more(1).unwrap();
        let second = archives.one_more(1).unwrap();
        assert_eq!(archives.one_more(1).unwrap_err().code, ErrorCode::Busy);
        let others = [archives.one_more(2).unwrap(), archives.one_more(2).unwrap()];
        assert_eq!(archives.one_more(3).unwrap_err().code, ErrorCode::Busy);
        drop(first);
        let third = archives.one_more(3).unwrap();
        drop((second, third, others));
        assert!(archives.taken().is_empty());
    }
}
