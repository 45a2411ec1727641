//! Refused submissions in the audit log, so many of one uid a minute. A caller that submits what is refused
//! as fast as it can would else fill the log, which drops its oldest records then; each refusal is still
//! answered, and what was not recorded one by one is counted by its code. The count is recorded when that
//! begins and every few seconds, so that a daemon that is killed takes few of them with it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{ErrorCode, Subject, Suppression, What};
use tokio::time::sleep;

use crate::audit::{Audit, Unaudited};
use crate::clock;

/// Refusals of one uid that are recorded one by one in a minute: people and agents that correct a
/// submission make a few, a loop without a pause thousands.
const A_MINUTE: u64 = 60;

/// How long refusals are counted together.
const MINUTE: Duration = Duration::from_secs(60);

/// How often a count is recorded: what a killed daemon loses at the most.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What was refused in the present minute of each uid that had something refused in it.
#[derive(Debug, Default)]
pub struct Refusals {
    by_uid: Mutex<HashMap<u32, Minute>>,
}

#[derive(Debug, Clone)]
struct Minute {
    began: Timestamp,
    refused: u64,
    /// What is not recorded yet, by code.
    untold: BTreeMap<&'static str, u64>,
}

/// What is to be done with one refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It has a record of its own.
    Alone,
    /// It is the first that has none: somebody is to call [`Refusals::tell`] until the minute is over.
    First,
    /// It is counted.
    Counted,
}

impl Refusals {
    /// One more of a uid's submissions is refused.
    pub fn count(&self, uid: u32, code: ErrorCode, now: Timestamp) -> Recorded {
        let mut by_uid = self.lock();
        by_uid.retain(|_, minute| !minute.is_over(now) || minute.refused > A_MINUTE);
        let began = || Minute { began: now, refused: 0, untold: BTreeMap::new() };
        let minute = by_uid.entry(uid).or_insert_with(began);
        minute.refused += 1;
        if minute.refused <= A_MINUTE {
            return Recorded::Alone;
        }
        *minute.untold.entry(code.name()).or_default() += 1;
        if minute.refused == A_MINUTE + 1 { Recorded::First } else { Recorded::Counted }
    }

    /// What of a uid's minute is not recorded yet, and whether the minute goes on. One that is over is
    /// forgotten.
    pub fn so_far(&self, uid: u32, now: Timestamp) -> (Option<What>, bool) {
        let mut by_uid = self.lock();
        let Some(minute) = by_uid.get_mut(&uid) else { return (None, false) };
        let (what, over) = (minute.what(), minute.is_over(now));
        if over {
            by_uid.remove(&uid);
        }
        (what, !over)
    }

    /// Records what is counted, because the daemon ends.
    pub fn tell_all(&self, audit: &Audit) {
        let uids: Vec<u32> = self.lock().keys().copied().collect();
        for uid in uids {
            self.tell(audit, uid);
        }
    }

    /// Records what is counted of a uid; whether its minute goes on.
    pub fn tell(&self, audit: &Audit, uid: u32) -> bool {
        let (what, goes_on) = self.so_far(uid, clock::timestamp());
        if let Some(what) = what {
            audit.note(what.about(Subject { uid: Some(uid), ..Subject::default() }));
        }
        goes_on
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

    fn what(&mut self) -> Option<What> {
        let untold = std::mem::take(&mut self.untold);
        let refused = Some(untold.values().sum()).filter(|refused| *refused > 0)?;
        let codes = untold.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
        let since = format!("{:.3}", self.began);
        Some(What::Suppression(Suppression { refused, codes, since }))
    }
}

impl crate::supervisor::Inner {
    /// Whether a refused submission has a record of its own; those that have none are told together, from
    /// the first one on until the minute is over.
    pub fn records_refusal(self: &std::sync::Arc<Self>, uid: u32, code: ErrorCode) -> bool {
        let recorded = self.refusals.count(uid, code, clock::timestamp());
        if recorded == Recorded::First {
            let inner = self.clone();
            tokio::spawn(async move {
                while inner.refusals.tell(&inner.audit, uid) {
                    sleep(TOLD_EVERY).await;
                }
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
        code: ErrorCode,
        event: supervisor_api::AuditEvent,
    ) -> Result<(), Unaudited> {
        if self.records_refusal(uid, code) { self.audit.write(event).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    const DENIED: ErrorCode = ErrorCode::PolicyDenied;

    #[test]
    fn so_many_of_a_minute_have_a_record_and_the_rest_is_counted_by_code() {
        let refusals = Refusals::default();
        for _ in 0..A_MINUTE {
            assert_eq!(refusals.count(2001, DENIED, at(0)), Recorded::Alone);
        }
        assert_eq!(refusals.so_far(2001, at(1)), (None, true));
        assert_eq!(refusals.count(2001, DENIED, at(1)), Recorded::First);
        for _ in 0..1000 {
            assert_eq!(refusals.count(2001, ErrorCode::Busy, at(59)), Recorded::Counted);
        }
        let other = refusals.count(2002, DENIED, at(59));
        assert_eq!(other, Recorded::Alone, "another has a minute of its own");
        let (told, goes_on) = refusals.so_far(2001, at(59));
        let Some(What::Suppression(told)) = told else { panic!("nothing is told") };
        assert_eq!((told.refused, goes_on), (1001, true));
        let codes = [(DENIED.name().to_owned(), 1), (ErrorCode::Busy.name().to_owned(), 1000)];
        assert_eq!(told.codes, BTreeMap::from(codes));
        assert_eq!(refusals.so_far(2001, at(59)), (None, true), "once");
        refusals.count(2001, DENIED, at(59));
        let (told, goes_on) = refusals.so_far(2001, at(60));
        assert!(matches!(told, Some(What::Suppression(told)) if told.refused == 1) && !goes_on);
        assert_eq!(refusals.count(2001, DENIED, at(60)), Recorded::Alone);
    }

    #[test]
    fn a_minute_that_is_over_is_forgotten_unless_somebody_tells_of_it() {
        let refusals = Refusals::default();
        for uid in 0..1000 {
            refusals.count(uid, DENIED, at(0));
        }
        for _ in 0..=A_MINUTE {
            refusals.count(7, DENIED, at(1));
        }
        assert_eq!(refusals.count(2001, DENIED, at(61)), Recorded::Alone);
        assert_eq!(refusals.lock().len(), 2);
        assert_eq!(refusals.count(7, DENIED, at(62)), Recorded::Counted, "until it is told");
    }
}
