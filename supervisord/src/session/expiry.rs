//! Sessions whose time is up are closed, and so are those that could not be closed when they had to. The end of their
//! time is announced before: in their state, and in the journal.

use std::collections::HashSet;
use std::time::Duration;

use supervisor_api::SessionId;
use tokio::time::timeout;

use crate::clock;
use crate::supervisor::Supervisor;

/// Between two looks at the clock. A suspended host may wake up at any time, so nothing longer is relied on.
const LOOK: Duration = Duration::from_secs(30);

/// Announces and closes sessions for as long as it is polled.
pub async fn watch(supervisor: Supervisor) {
    let mut announced: HashSet<SessionId> = HashSet::new();
    loop {
        let now = clock::steady();
        let mut next = now.saturating_add_unsigned(LOOK.as_secs());
        for session in supervisor.inner().sessions.all() {
            let record = session.record();
            let is_held = record
                .held
                .is_some_and(|held| supervisor.inner().sessions.get(held.session).is_some());
            if is_held && !session.is_to_go() {
                continue; // it goes with the session that its changes are for
            }
            if now >= record.expires || session.is_to_go() {
                announced.remove(&record.id);
                if session.is_closing() {
                    continue;
                }
                let supervisor = supervisor.clone();
                tokio::spawn(async move {
                    tracing::info!(session = %record.id, "a session's time is up, or its use");
                    if let Err(error) = supervisor.close(&session).await {
                        tracing::error!(%error, session = %record.id, "a session can't be closed");
                    }
                });
            } else if now >= record.notice() {
                if announced.insert(record.id) {
                    let seconds = record.expires.saturating_sub(now);
                    tracing::info!(session = %record.id, seconds, "a session will be closed");
                    session.tell();
                }
                next = next.min(record.expires);
            } else {
                announced.remove(&record.id); // it was extended
                next = next.min(record.notice());
            }
        }
        let wait = Duration::from_secs(u64::try_from(next.saturating_sub(now)).unwrap_or(1).max(1));
        // Either way it looks again.
        drop(timeout(wait, supervisor.inner().sessions.changed.notified()).await);
    }
}
