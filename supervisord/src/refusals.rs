//! Refusals in the audit log, so many of one uid a minute: of submissions, and of what sandboxes ask of the way
//! out. Whoever asks for what is refused as fast as it can would else fill the log, which drops its oldest
//! records then; each refusal is still answered, and what was not recorded one by one is counted by its code.
//! The count is recorded when that begins and every few seconds, so that a daemon that is killed takes few of
//! them with it, and of an execution before its end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use supervisor_api::{AuditEvent, ErrorCode, ExecutionId, Subject, Suppressed, Suppression, What};
use tokio::time::sleep;

use crate::audit::{Audit, Unaudited};
use crate::clock;

/// How long refusals are counted together.
const MINUTE: Duration = Duration::from_secs(60);

/// How often a count is recorded: what a killed daemon loses at the most.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What was refused in the present minute of each uid that had something refused in it.
#[derive(Debug)]
pub struct Refusals {
    of: Suppressed,
    /// Of one uid in a minute, recorded one by one.
    alone: u64,
    /// The same of one code, however many others there are: whoever floods hides nothing else behind that.
    of_a_code: u64,
    by_uid: Mutex<HashMap<u32, Minute>>,
}

#[derive(Debug, Clone)]
struct Minute {
    began: Timestamp,
    refused: u64,
    by_code: HashMap<&'static str, u64>,
    /// Whether one of them was counted only, so that somebody tells of it.
    has_more: bool,
    /// What is not recorded yet, by whom and code.
    untold: HashMap<Option<ExecutionId>, (Subject, BTreeMap<&'static str, u64>)>,
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
    /// Of submissions: people and agents that correct one make a few, a loop without a pause thousands.
    pub fn of_submissions() -> Self {
        Self { of: Suppressed::Submissions, alone: 60, of_a_code: 0, by_uid: Mutex::default() }
    }

    /// Of requests, connections and look-ups: a program that finds its hosts closed makes some dozens. A uid that
    /// never stops takes a day and a half to fill a log of 1 GiB with as many of 2 KiB.
    pub fn of_traffic() -> Self {
        Self { of: Suppressed::Traffic, alone: 240, of_a_code: 20, by_uid: Mutex::default() }
    }

    /// One more of a uid's is refused.
    pub fn count(&self, whom: Subject, code: &'static str, now: Timestamp) -> Recorded {
        let mut by_uid = self.lock();
        by_uid.retain(|_, minute| !minute.is_over(now) || minute.has_more);
        let minute = by_uid.entry(whom.uid.unwrap_or(u32::MAX)).or_insert_with(|| Minute::new(now));
        let of_its_code = minute.by_code.entry(code).or_default();
        *of_its_code += 1;
        minute.refused += 1;
        if minute.refused <= self.alone || *of_its_code <= self.of_a_code {
            return Recorded::Alone;
        }
        let (_, untold) = minute.untold.entry(whom.execution).or_insert((whom, BTreeMap::new()));
        *untold.entry(code).or_default() += 1;
        if std::mem::replace(&mut minute.has_more, true) {
            Recorded::Counted
        } else {
            Recorded::First
        }
    }

    /// Whether the next refusal with this code would have a record of its own, and so what goes with it.
    pub fn has_room(&self, whom: Subject, code: &str, now: Timestamp) -> bool {
        let by_uid = self.lock();
        let minute = by_uid.get(&whom.uid.unwrap_or(u32::MAX));
        minute.is_none_or(|minute| {
            minute.refused < self.alone
                || minute.by_code.get(code).copied().unwrap_or(0) < self.of_a_code
                || minute.is_over(now) && !minute.has_more
        })
    }

    /// Whether the next refusal would have a record of its own whatever its code.
    pub fn is_calm(&self, whom: Subject, now: Timestamp) -> bool {
        let by_uid = self.lock();
        let minute = by_uid.get(&whom.uid.unwrap_or(u32::MAX));
        minute.is_none_or(|minute| {
            minute.refused < self.alone || minute.is_over(now) && !minute.has_more
        })
    }

    /// What of a uid's minute is not recorded yet, and whether the minute goes on. One that is over is
    /// forgotten.
    fn so_far(&self, uid: u32, now: Timestamp) -> (Vec<AuditEvent>, bool) {
        let mut by_uid = self.lock();
        let Some(minute) = by_uid.get_mut(&uid) else { return (Vec::new(), false) };
        let untold = std::mem::take(&mut minute.untold).into_values();
        let events = untold.map(|untold| minute.told(self.of, untold)).collect();
        let over = minute.is_over(now);
        if over {
            by_uid.remove(&uid);
        }
        (events, !over)
    }

    /// What of an execution's is not recorded yet.
    fn of_execution(&self, whom: Subject) -> Option<AuditEvent> {
        let mut by_uid = self.lock();
        let minute = by_uid.get_mut(&whom.uid.unwrap_or(u32::MAX))?;
        let untold = minute.untold.remove(&whom.execution)?;
        Some(minute.told(self.of, untold))
    }

    /// Records what is counted, because the daemon ends.
    pub fn tell_all(&self, audit: &Audit) {
        let uids: Vec<u32> = self.lock().keys().copied().collect();
        for uid in uids {
            self.tell(audit, uid);
        }
    }

    /// Records what is counted of an execution, because it ends.
    pub fn tell_of(&self, audit: &Audit, whom: Subject) {
        self.of_execution(whom).into_iter().for_each(|event| audit.note(event));
    }

    /// Records what is counted of a uid; whether its minute goes on.
    pub fn tell(&self, audit: &Audit, uid: u32) -> bool {
        let (events, goes_on) = self.so_far(uid, clock::timestamp());
        events.into_iter().for_each(|event| audit.note(event));
        goes_on
    }

    /// Counts one more refusal; whether it has a record of its own. Those that have none are told together,
    /// from the first one on until the minute is over.
    pub fn records(self: &Arc<Self>, audit: &Audit, whom: Subject, code: &'static str) -> bool {
        let recorded = self.count(whom, code, clock::timestamp());
        if recorded == Recorded::First {
            let (refusals, audit) = (self.clone(), audit.clone());
            let uid = whom.uid.unwrap_or(u32::MAX);
            tokio::spawn(async move {
                while refusals.tell(&audit, uid) {
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
    pub async fn record(
        self: &Arc<Self>,
        audit: &Audit,
        code: ErrorCode,
        event: AuditEvent,
    ) -> Result<(), Unaudited> {
        if self.records(audit, event.subject, code.name()) {
            audit.write(event).await
        } else {
            Ok(())
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Minute>> {
        // Changed by single steps that don't panic.
        self.by_uid.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Minute {
    fn new(began: Timestamp) -> Self {
        let (by_code, untold) = (HashMap::new(), HashMap::new());
        Self { began, refused: 0, by_code, has_more: false, untold }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        Duration::try_from(now.duration_since(self.began)).is_ok_and(|since| since >= MINUTE)
    }

    fn told(
        &self,
        of: Suppressed,
        (whom, untold): (Subject, BTreeMap<&'static str, u64>),
    ) -> AuditEvent {
        let refused = untold.values().sum();
        let codes = untold.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
        let since = format!("{:.3}", self.began);
        What::Suppression(Suppression { of, refused, codes, since }).about(whom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).unwrap()
    }

    fn uid(uid: u32) -> Subject {
        Subject { uid: Some(uid), ..Subject::default() }
    }

    fn told(events: &[AuditEvent]) -> Vec<(u64, BTreeMap<String, u64>)> {
        let all = events.iter().map(|event| match &event.what {
            What::Suppression(told) => (told.refused, told.codes.clone()),
            other => panic!("{other:?}"),
        });
        all.collect()
    }

    const DENIED: &str = "policy_denied";
    const BUSY: &str = "busy";

    #[test]
    fn so_many_of_a_minute_have_a_record_and_the_rest_is_counted_by_code() {
        let refusals = Refusals::of_submissions();
        for _ in 0..60 {
            assert!(refusals.has_room(uid(2001), DENIED, at(0)));
            assert_eq!(refusals.count(uid(2001), DENIED, at(0)), Recorded::Alone);
        }
        assert!(!refusals.has_room(uid(2001), DENIED, at(0)));
        assert_eq!(refusals.so_far(2001, at(1)), (Vec::new(), true));
        assert_eq!(refusals.count(uid(2001), DENIED, at(1)), Recorded::First);
        for _ in 0..1000 {
            assert_eq!(refusals.count(uid(2001), BUSY, at(59)), Recorded::Counted);
        }
        let other = refusals.count(uid(2002), DENIED, at(59));
        assert_eq!(other, Recorded::Alone, "another has a minute of its own");
        let (events, goes_on) = refusals.so_far(2001, at(59));
        let codes = BTreeMap::from([(DENIED.to_owned(), 1), (BUSY.to_owned(), 1000)]);
        assert_eq!((told(&events), goes_on), (vec![(1001, codes)], true));
        assert_eq!(refusals.so_far(2001, at(59)), (Vec::new(), true), "once");
        refusals.count(uid(2001), DENIED, at(59));
        let (events, goes_on) = refusals.so_far(2001, at(60));
        assert!(told(&events)[0].0 == 1 && !goes_on);
        assert_eq!(refusals.count(uid(2001), DENIED, at(60)), Recorded::Alone);
    }

    #[test]
    fn a_minute_that_is_over_is_forgotten_unless_somebody_tells_of_it() {
        let refusals = Refusals::of_submissions();
        for number in 0..1000 {
            refusals.count(uid(number), DENIED, at(0));
        }
        for _ in 0..=60 {
            refusals.count(uid(7), DENIED, at(1));
        }
        assert_eq!(refusals.count(uid(2001), DENIED, at(61)), Recorded::Alone);
        assert_eq!(refusals.lock().len(), 2);
        assert_eq!(refusals.count(uid(7), DENIED, at(62)), Recorded::Counted, "until it is told");
    }

    #[test]
    fn what_is_refused_to_sandboxes_is_counted_by_execution_and_nothing_rare_hides_behind_it() {
        let refusals = Refusals::of_traffic();
        let of = |bits| {
            let execution = Some(ExecutionId::from_bits(bits));
            Subject { session: None, execution, uid: Some(2001) }
        };
        let alone = (0..10_000).filter(|number| {
            refusals.count(of(number % 2), "host_not_allowed", at(0)) == Recorded::Alone
        });
        assert_eq!(alone.count(), 240);
        let alone =
            (0..50).filter(|_| refusals.count(of(1), "canary", at(1)) == Recorded::Alone).count();
        assert_eq!(alone, 20, "of each code some have a record");
        let ended = told(refusals.of_execution(of(1)).as_slice());
        let codes = [("host_not_allowed".to_owned(), 4880), ("canary".to_owned(), 30)];
        assert_eq!(ended, [(4910, BTreeMap::from(codes))]);
        assert_eq!(refusals.of_execution(of(1)), None);
        let (events, _) = refusals.so_far(2001, at(2));
        assert_eq!(told(&events)[0].0, 4880);
        assert_eq!(events[0].subject, of(0));
    }
}
