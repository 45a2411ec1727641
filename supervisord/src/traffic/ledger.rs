//! Budgets, as traffic spends them.

use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::Subject;
use supervisor_egress::credential::Pending;
use supervisor_egress::{Claim, Lack, Overspent, Reservation, Reserved};
use supervisor_policy::egress::Budgets;

use crate::audit::Audit;
use crate::budget::{self, Account, BudgetLimits, Charge, Denied, Meter, Spending};
use crate::clock;
use crate::refusals::Refusals;

/// Seconds after which a credential's budget begins anew, counted from 1970 in UTC: all sessions share it, so
/// that none of them can use it up for ever.
const CREDENTIAL_WINDOW: u64 = 86_400;

/// Bytes that have to be left to receive before anything is sent: an answer's head without a body has less. With
/// fewer a request would do what it does, and its answer would be cut.
const LEAST_ANSWER: u64 = 1024;

/// Takes what one sandbox's traffic uses from its budgets.
pub struct Ledger {
    budgets: budget::Ledger,
    notes: Arc<Notes>,
}

/// Where it is recorded that a budget is used up.
struct Notes {
    audit: Audit,
    refusals: Arc<Refusals>,
    whose: Subject,
}

/// What was set aside for one request or connection, and how much of it is used.
struct Purse {
    taken: Option<budget::Reservation>,
    /// Sent and received.
    used: (u64, u64),
}

struct Held {
    purse: Mutex<Purse>,
    notes: Arc<Notes>,
    host: String,
}

impl Ledger {
    /// For the sandbox of one execution.
    pub fn new(
        budgets: budget::Ledger,
        (audit, refusals): (Audit, Arc<Refusals>),
        whose: Subject,
    ) -> Self {
        Self { budgets, notes: Arc::new(Notes { audit, refusals, whose }) }
    }

    /// The budgets that a claim is charged to: the session's, each credential's, and the user's.
    fn charges(&self, claim: &Claim<'_>) -> Arc<[Charge]> {
        let owner = Some(claim.identity.uid);
        let session = self.notes.whose.session.map(Account::Session);
        let session = session.map(|account| (account, claim.budgets, None, owner));
        let bindings = claim.bindings.iter();
        // A credential's budget belongs to no one user: administrators look at it.
        let credentials = bindings.map(|binding| {
            let account = Account::Credential(binding.credential().into());
            (account, binding.budgets(), Some(CREDENTIAL_WINDOW), None)
        });
        let all = session.into_iter().chain(credentials);
        let mut charges: Vec<Charge> = Vec::new();
        for (account, budgets, window, owner) in all.filter(|(_, budgets, ..)| !budgets.is_empty())
        {
            let limits = limits(budgets, window);
            match charges.iter_mut().find(|charge| charge.account == account) {
                // Two bindings of one credential: it is charged once, within both.
                Some(charge) => charge.limits = smaller(&charge.limits, &limits),
                None => charges.push(Charge { account, limits, owner }),
            }
        }
        // Last, so that a refusal names the narrower budget where both are used up.
        // Also if it has none: a reload may give it one.
        charges.push(self.budgets.charge_of(claim.identity.uid));
        charges.into()
    }
}

impl supervisor_egress::Ledger for Ledger {
    fn reserve<'a>(&'a self, claim: &'a Claim<'a>) -> Pending<'a, Reserved> {
        let charges = self.charges(claim);
        Box::pin(async move {
            let host = claim.destination.host.to_string();
            let spending = Spending {
                requests: 1,
                unsafe_method: claim.is_unsafe,
                bytes_out: claim.bytes_out,
                bytes_in: room_for_an_answer(&charges),
                host: Some(&host),
            };
            match self.budgets.reserve(&charges, &spending).await {
                Ok(mut taken) => {
                    // It only had to be there: what arrives is taken as it does.
                    taken.give_back_received();
                    let purse = Mutex::new(Purse { taken: Some(taken), used: (0, 0) });
                    let held = Held { purse, notes: self.notes.clone(), host };
                    Ok(Some(Box::new(held) as Box<dyn Reservation>))
                }
                Err(denied) => {
                    // The refusal itself is recorded or counted by whoever asked.
                    self.notes.note(&denied, &host);
                    Err(overspent(&denied))
                }
            }
        })
    }
}

impl Notes {
    /// Records that a budget has less left than was asked for, as often as refusals are recorded one by one.
    fn note(&self, denied: &Denied, host: &str) {
        let code = Lack::Exhausted.code();
        if let Denied::Exhausted(exhausted) = denied
            && self.refusals.has_room(self.whose, code, clock::timestamp())
        {
            self.audit.note(exhausted.event(self.whose, None, Some(host.to_owned())));
        }
    }
}

impl Purse {
    /// What has arrived and is more than is left uses that up. Else each further request would be sent, and its
    /// answer cut.
    fn use_up(&mut self, denied: &Denied) {
        let Some(taken) = &mut self.taken else { return };
        let mut left = left_to_receive(denied);
        while let Some(bytes) = left.filter(|bytes| *bytes > 0) {
            left = match taken.moved(0, bytes) {
                Ok(()) => {
                    self.used.1 += bytes;
                    None
                }
                // Another budget has even less.
                Err(denied) => left_to_receive(&denied).filter(|less| *less < bytes),
            };
        }
    }
}

impl Reservation for Held {
    fn spend(&self, sent: u64, received: u64) -> Result<(), Overspent> {
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        let moved = purse.taken.as_mut().map_or(Ok(()), |taken| taken.moved(sent, received));
        if let Err(denied) = moved {
            purse.use_up(&denied);
            drop(purse);
            self.notes.note(&denied, &self.host);
            return Err(overspent(&denied));
        }
        purse.used.0 += sent;
        purse.used.1 += received;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let purse = self.purse.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = purse.taken.take() {
            taken.settle(purse.used.0, purse.used.1);
        }
    }
}

/// What is left of the budget that has too little to receive.
fn left_to_receive(denied: &Denied) -> Option<u64> {
    match denied {
        Denied::Exhausted(exhausted) if exhausted.meter == Meter::BytesIn => Some(exhausted.left),
        _ => None,
    }
}

/// What has to be left to receive: of a budget that never had as much, all of it.
fn room_for_an_answer(charges: &[Charge]) -> u64 {
    let limits = charges.iter().filter_map(|charge| charge.limits.bytes_in);
    limits.chain([LEAST_ANSWER]).min().unwrap_or(LEAST_ANSWER).max(1)
}

fn limits(budgets: &Budgets, window: Option<u64>) -> BudgetLimits {
    BudgetLimits {
        requests: budgets.requests,
        unsafe_requests: budgets.unsafe_requests,
        bytes_out: budgets.bytes_out,
        bytes_in: budgets.bytes_in,
        hosts: budgets.distinct_hosts,
        window,
    }
}

/// The smaller of each two limits.
fn smaller(one: &BudgetLimits, other: &BudgetLimits) -> BudgetLimits {
    let mut both = *one;
    for meter in Meter::SUMS.into_iter().chain([Meter::Hosts]) {
        if let Some(limit) = other.of(meter) {
            both.set(meter, both.of(meter).map_or(limit, |own| own.min(limit)));
        }
    }
    both
}

fn overspent(denied: &Denied) -> Overspent {
    let lack = match denied {
        Denied::Exhausted(_) => Lack::Exhausted,
        Denied::Unkept => Lack::Unkept,
    };
    Overspent { lack, cause: denied.to_string(), remedy: sentence(&denied.remedy()) }
}

/// Words as a sentence of their own.
fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use supervisor_api::SessionId;
    use supervisor_egress::{Identity, Ledger as _};
    use supervisor_policy::egress::Destination;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_more_than_is_left_uses_it_up_and_nothing_is_sent_after_that() {
        let state = tempfile::tempdir().unwrap();
        let audit = Audit::open(state.path(), crate::audit::Settings::default()).unwrap();
        let session = Some(SessionId::from_bits(1));
        let whose = Subject { session, uid: Some(7), ..Subject::default() };
        let ledger = Ledger::new(
            budget::Ledger::open(state.path()).unwrap(),
            (audit, Arc::new(Refusals::of_traffic())),
            whose,
        );
        let identity = Identity { session: "s".into(), execution: "e".into(), uid: 7 };
        let claim = Claim {
            identity: &identity,
            budgets: &Budgets { bytes_in: Some(30_000), ..Budgets::default() },
            bindings: &[],
            destination: &Destination::parse("up.test", Some(443)).unwrap(),
            is_unsafe: false,
            bytes_out: 0,
        };
        let held = ledger.reserve(&claim).await.unwrap().unwrap();
        held.spend(100, 20_000).unwrap();
        // What only has to be there is nobody's.
        let other = ledger.reserve(&claim).await.unwrap().unwrap();
        assert!(held.spend(0, 16_000).is_err());
        assert!(other.spend(0, 1).is_err());
        for _ in 0..2 {
            let Err(refused) = ledger.reserve(&claim).await else { panic!("it is used up") };
            assert_eq!(refused.lack, Lack::Exhausted);
            let left = "0 of 30000 bytes_in left, and 1024 were asked";
            assert!(refused.cause.contains(left), "{}", refused.cause);
        }
        drop((held, other));
        assert!(ledger.reserve(&claim).await.is_err());
    }
}
