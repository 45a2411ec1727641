//! The audit log has one submission and one end of every execution, the one that its caller was told.

use std::collections::BTreeMap;

use supervisor_api::{ExecutionId, Outcome};
use supervisor_tests::{Recorded, World};

use crate::caller::End;

/// Fails unless it is so.
#[track_caller]
pub fn expect(world: &World, ends: &BTreeMap<ExecutionId, End>) {
    let recorded = Recorded::read(world);
    for (id, end) in ends {
        recorded.expect(*id, Some(&end.outcome));
    }
    // What a daemon recorded and died over before it told anybody is no execution: nothing of it ran.
    for id in recorded.submitted.iter().filter(|id| !ends.contains_key(id)) {
        let end = recorded.ended.get(id);
        assert!(matches!(end, None | Some(Outcome::Lost { .. })), "nobody knows of {id}: {end:?}");
    }
}
