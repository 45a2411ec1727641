//! Host ids: one range for each live sandbox. Ranges that were used before go first, so that the
//! id maps made for them serve again; among those, the one that was free the longest.

use std::collections::VecDeque;

use supervisor_launch::{FIRST_SANDBOX_ID, IDS_PER_SANDBOX, MAX_SANDBOXES};

/// A range of host ids that one sandbox has to itself. It goes back with [`Ids::give_back`], and
/// only once nothing runs under it.
#[derive(Debug, PartialEq, Eq)]
pub struct Range(u32);

impl Range {
    /// Its place among all ranges.
    pub fn slot(&self) -> u32 {
        self.0
    }

    /// The host id of the sandbox's init.
    pub fn init(&self) -> u32 {
        FIRST_SANDBOX_ID + self.0 * IDS_PER_SANDBOX
    }

    /// The host id of the payload.
    pub fn payload(&self) -> u32 {
        self.init() + 1
    }
}

/// The free ranges.
#[derive(Default)]
pub struct Ids {
    used_before: VecDeque<u32>,
    never_used: u32,
}

impl Ids {
    /// Takes a free range.
    pub fn take(&mut self) -> Option<Range> {
        if let Some(slot) = self.used_before.pop_front() {
            return Some(Range(slot));
        }
        let slot = self.never_used;
        (slot < MAX_SANDBOXES).then(|| {
            self.never_used += 1;
            Range(slot)
        })
    }

    /// Gives a range back.
    pub fn give_back(&mut self, range: Range) {
        self.used_before.push_back(range.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_live_sandboxes_share_an_id() {
        let mut ids = Ids::default();
        let ranges: Vec<Range> = (0..MAX_SANDBOXES).filter_map(|_| ids.take()).collect();
        assert!(ids.take().is_none());
        for pair in ranges.windows(2) {
            assert!(pair[0].payload() < pair[1].init());
        }
    }

    #[test]
    fn a_range_that_came_back_first_goes_out_first() {
        let mut ids = Ids::default();
        let (first, second) = (ids.take().unwrap(), ids.take().unwrap());
        ids.give_back(second);
        ids.give_back(first);
        assert_eq!(ids.take().unwrap().slot(), 1);
        assert_eq!(ids.take().unwrap().slot(), 0);
    }
}
