//! Where executions stood that were removed: a list that was begun before goes on there.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use supervisor_api::ExecutionId;

/// Places that are kept, the newest of all owners: half a megabyte. Whoever lists asks for the next page within
/// seconds, and each of these was an execution that ran in a sandbox.
const KEPT: usize = 16_384;

/// A place in the order of executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) id: ExecutionId,
    pub(super) owner: u32,
    pub(super) sequence: i64,
}

/// Places of what was removed since the start.
#[derive(Debug, Default)]
pub(super) struct Gone(Mutex<VecDeque<Place>>);

impl Gone {
    /// These are to be removed.
    pub(super) fn keep(&self, places: Vec<Place>) {
        let mut kept = self.lock();
        for place in places {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(place);
        }
    }

    /// Where this one stood, if it was this owner's or anybody's.
    pub(super) fn find(&self, id: ExecutionId, owner: Option<u32>) -> Option<i64> {
        let kept = self.lock();
        let mut newest = kept.iter().rev();
        let place = newest.find(|place| place.id == id)?;
        owner.is_none_or(|owner| owner == place.owner).then_some(place.sequence)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Place>> {
        // Nothing between two changes of it panics, so a poisoned one is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_places_are_kept_and_no_more() {
        let gone = Gone::default();
        let place = |number: usize| Place {
            id: ExecutionId::from_bits(number as u128),
            owner: 1,
            sequence: number as i64,
        };
        gone.keep((0..=KEPT).map(place).collect());
        assert_eq!(gone.find(ExecutionId::from_bits(0), None), None);
        assert_eq!(gone.find(ExecutionId::from_bits(1), Some(1)), Some(1));
        assert_eq!(gone.find(ExecutionId::from_bits(1), Some(2)), None);
    }
}
