//! Refused submissions in the audit log, so many of one uid a minute. A caller that submits what is refused
//! as fast as it can would else fill the log, which drops its oldest records then; each refusal is still
//! answered, and what was not recorded one by one is counted in a record of its own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{Subject, Suppression, What};
use tokio::time::sleep;

use crate::audit::{Audit, Unaudited};

/// Refusals of one uid that are recorded one by one in a minute: people and agents that correct a
/// submission make a few, a loop without a pause thousands.
const A_MINUTE: u64 = 60;

/// How long refusals are counted together.
const MINUTE: Duration = Duration::from_secs(60);

/// What was refused in the present minute of each uid that had something refused in it.
#[derive(Debug, Default)]
pub struct Refusals {
    by_uid: Mutex<HashMap<u32, Minute>>,
}

#[derive(Debug, Clone, Copy)]
struct Minute {
    began: Timestamp,
    refused: u64,
}

/// What is to be done with one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It has a record of its own.
    Alone,
    /// It is the first that has none: somebody is to call [`Refusals::end`] when the minute is over.
    First,
    /// It is counted.
    Counted,
}

impl Refusals {
    /// One more of a uid's submissions is refused.
    pub fn count(&self, uid: u32, now: Timestamp) -> Recorded {
        let mut by_uid = self.lock();
        by_uid.retain(|_, minute| !minute.is_over(now) || minute.refused > A_MINUTE);
        let minute = by_uid.entry(uid).or_insert(Minute { began: now, refused: 0 });
        if minute.is_over(now) && minute.refused <= A_MINUTE {
            *minute = Minute { began: now, refused: 0 };
        }
        minute.refused += 1;
        match minute.refused {
            ..=A_MINUTE => Recorded::Alone,
            refused if refused == A_MINUTE + 1 => Recorded::First,
            _ => Recorded::Counted,
        }
    }

    /// A uid's minute is over; how many had no record of their own, and since when.
    pub fn end(&self, uid: u32) -> Option<What> {
        self.lock().remove(&uid).and_then(|minute| minute.what())
    }

    /// All minutes are over, because the daemon ends.
    pub fn end_all(&self, audit: &Audit) {
        let uids: Vec<u32> = self.lock().keys().copied().collect();
        uids.into_iter().for_each(|uid| self.tell(audit, uid));
    }

    /// Ends a uid's minute and records what it came to.
    pub fn tell(&self, audit: &Audit, uid: u32) {
        if let Some(what) = self.end(uid) {
            audit.note(what.about(Subject { uid: Some(uid), ..Subject::default() }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Minute>> {
        // Changed by single steps that don't panic.
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn is_over(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.began)).is_ok_and(|since| since >= MINUTE)
    }

    fn what(&self) -> Option<What> {
        let refused = self.refused.checked_sub(A_MINUTE).filter(|refused| *refused > 0)?;
        let since = format!("{:.3}", self.began);
        Some(What::Suppression(Suppression { refused, since }))
    }
}

impl crate::supervisor::Inner {
    /// Whether a refused submission has a record of its own; those that have none are told together when
    /// the minute is over.
    pub fn records_refusal(self: &std::sync::Arc<Self>, uid: u32) -> bool {
        let recorded = self.refusals.count(uid, Timestamp::now());
        if recorded == Recorded::First {
            let inner = self.clone();
            tokio::spawn(async move {
                sleep(MINUTE).await;
                inner.refusals.tell(&inner.audit, uid);
            });
        }
        recorded == Recorded::Alone
    }

    /// Records a refusal, or counts it.
    ///
    /// # Errors
    /// When it is not in the log, and will not be.
    pub async fn record_refusal(
        self: &std::sync::Arc<Self>,
        uid: u32,
        event: supervisor_api::AuditEvent,
    ) -> Result<(), Unaudited> {
        if self.records_refusal(uid) { self.audit.write(event).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    #[test]
    fn so_many_of_a_minute_have_a_record_and_the_rest_is_counted_in_one() {
        let refusals = Refusals::default();
        for _ in 0..A_MINUTE {
            assert_eq!(refusals.count(2001, at(0)), Recorded::Alone);
        }
        assert_eq!(refusals.count(2001, at(1)), Recorded::First);
        for _ in 0..1000 {
            assert_eq!(refusals.count(2001, at(59)), Recorded::Counted);
        }
        assert_eq!(
            refusals.count(2002, at(59)),
            Recorded::Alone,
            "another has a minute of its own"
        );
        let Some(What::Suppression(told)) = refusals.end(2001) else { panic!("nothing is told") };
        assert_eq!(told.refused, 1001);
        assert_eq!(refusals.end(2001), None, "once");
        assert_eq!(refusals.count(2001, at(60)), Recorded::Alone);
    }

    #[test]
    fn a_minute_that_is_over_is_forgotten_unless_it_has_something_to_tell() {
        let refusals = Refusals::default();
        for uid in 0..1000 {
            refusals.count(uid, at(0));
        }
        for _ in 0..=A_MINUTE {
            refusals.count(7, at(1));
        }
        assert_eq!(refusals.count(2001, at(61)), Recorded::Alone);
        assert_eq!(refusals.lock().len(), 2);
        assert_eq!(refusals.count(7, at(62)), Recorded::Counted, "until it is told");
    }
}
