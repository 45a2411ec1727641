//! What runs at the launcher and has no record here. A daemon that was killed leaves some: what was parked, what was
//! being made, and what was to be recorded in a moment, which the audit log has. Where programs run of which the state
//! knows nothing at all they are those of another state, and are not this start's to end.

use std::collections::HashSet;
use std::fmt;
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use supervisor_api::{AuditFilter, ExecutionId, Subject};
use supervisor_launch::Descriptor;

use super::{Failure, READ_AT_ONCE, Seen, is_recorded, seen};
use crate::audit::{self, AuditError};
use crate::elsewhere::NOBODY;
use crate::launcher::Sandbox;
use crate::supervisor::Inner;

/// Programs run that are of another state.
#[derive(Debug)]
struct Foreign {
    count: usize,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "of the programs that run at the launcher ({}) none is known in the state directory; see that the right disk \
             is mounted and the right directory named (`state`), that `launcher` is this daemon's own, and start again; to \
             end those programs for good, stop the launcher, which ends all that runs, and start both again",
            self.count
        )
    }
}

impl std::error::Error for Foreign {}

/// Refuses a start where programs run and the state knows none of what lives. One that it knows shows that they belong
/// together; so does an administrator who has this start take things as they are.
pub async fn agree(
    inner: &Arc<Inner>,
    living: &HashSet<u128>,
    known: &HashSet<u128>,
) -> Result<(), Failure> {
    if inner.settling.is_asked() || !living.is_disjoint(known) {
        return Ok(());
    }
    let mut running = HashSet::new();
    for stranger in living {
        let id = ExecutionId::from_bits(*stranger);
        if is_recorded(inner, id).await? {
            return Ok(()); // its end was told, and it was about to be removed
        }
        // What can't be taken is not seen to run, and ends as before.
        if inner.launcher.adopt(*stranger, NOBODY).await.is_ok_and(|sandbox| runs(&sandbox)) {
            running.insert(id);
        }
    }
    if running.is_empty() || was_one_accepted(inner, &running).await? {
        return Ok(());
    }
    let foreign = Foreign { count: running.len() };
    let cause = foreign.to_string();
    let refusal = audit::recovery(Subject::default(), "refused", Some(&cause));
    if let Err(error) = inner.audit.write(refusal).await {
        tracing::error!(%error, "a refused start could not be recorded");
    }
    Err(foreign.into())
}

/// Whether a payload has started in it, and its init lives. Of one whose init was killed nothing runs any more, and what
/// was parked in it looks as if it had started.
fn runs(sandbox: &Sandbox) -> bool {
    let Some(process) = sandbox.get(Descriptor::Process) else { return false };
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let lives = poll(&mut fds, PollTimeout::ZERO) == Ok(0);
    lives && seen(sandbox) == Seen::Started
}

/// Whether the audit log has the submission of one of these: it has each before anything of it runs.
async fn was_one_accepted(inner: &Inner, ids: &HashSet<ExecutionId>) -> Result<bool, AuditError> {
    let filter = AuditFilter { kind: Some("submission".to_owned()), ..AuditFilter::default() };
    let mut after = 0;
    loop {
        let page = inner.audit.search(filter.clone(), after, READ_AT_ONCE).await?;
        let mut subjects = page.records.iter().filter_map(|record| record.event.subject.execution);
        if subjects.any(|id| ids.contains(&id)) {
            return Ok(true);
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(false),
        }
    }
}
