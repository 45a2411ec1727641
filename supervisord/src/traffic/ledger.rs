//! Budgets, as traffic spends them.

use std::sync::{Arc, Mutex, PoisonError};

use supervisor_api::Subject;
use supervisor_egress::credential::Pending;
use supervisor_egress::{Claim, Lack, Overspent, Reservation, Reserved};
use supervisor_policy::egress::Budgets;

use crate::audit::Audit;
use crate::budget::{self, Account, BudgetLimits, Charge, Denied, Meter, Spending};

/// Seconds after which a credential's budget begins anew, counted from 1970 in UTC: all sessions share it, so
/// that none of them can use it up for ever.
const CREDENTIAL_WINDOW: u64 = 86_400;

/// Takes what one sandbox's traffic uses from its budgets.
pub struct Ledger {
    budgets: budget::Ledger,
    audit: Audit,
    whose: Subject,
}

/// What was set aside for one request or connection, and how much of it is used.
struct Purse {
    taken: Option<budget::Reservation>,
    /// Sent and received.
    used: (u64, u64),
}

struct Held(Mutex<Purse>);

impl Ledger {
    /// For the sandbox of one execution.
    pub fn new(budgets: budget::Ledger, audit: Audit, whose: Subject) -> Self {
        Self { budgets, audit, whose }
    }

    /// The budgets that a claim is charged to: the session's, each credential's, and the user's.
    fn charges(&self, claim: &Claim<'_>) -> Arc<[Charge]> {
        let owner = Some(claim.identity.uid);
        let session = self.whose.session.map(Account::Session);
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
                bytes_in: 0,
                host: Some(&host),
            };
            match self.budgets.reserve(&charges, &spending).await {
                Ok(taken) => {
                    let purse = Purse { taken: Some(taken), used: (0, 0) };
                    Ok(Some(Box::new(Held(Mutex::new(purse))) as Box<dyn Reservation>))
                }
                Err(denied) => {
                    if let Denied::Exhausted(exhausted) = &denied {
                        self.audit.note(exhausted.event(self.whose, None, Some(host)));
                    }
                    Err(overspent(&denied))
                }
            }
        })
    }
}

impl Reservation for Held {
    fn spend(&self, sent: u64, received: u64) -> Result<(), Overspent> {
        let mut purse = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = &mut purse.taken {
            taken.moved(sent, received).map_err(|denied| overspent(&denied))?;
        }
        purse.used.0 += sent;
        purse.used.1 += received;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let purse = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = purse.taken.take() {
            taken.settle(purse.used.0, purse.used.1);
        }
    }
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
