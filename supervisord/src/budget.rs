//! Budgets: how many requests, bytes and hosts a session, a credential or a user may spend. What a
//! request may cost is reserved before it is sent, what it did cost is settled after.
//!
//! A reservation is decided in memory. Behind it stands a *grant*: an amount up to which spending is
//! allowed, in the database before anything of it is spent, in blocks of a sixteenth of the limit so
//! that hardly any request waits for the disk. A daemon that ends in order leaves what was spent. After
//! one that was killed all of its grants count as spent: a budget may lose up to one block, and is
//! overdrawn at the most by what messages under way moved during one commit. What was reserved and
//! never settled counts as spent, too.
//!
//! As long as the database can't be written, as on a full disk, what is granted is spent and no more is
//! asked; what was to be written is tried again until it is, and then all goes on.
//!
//! ```text
//! reserve ──▶ book (memory) ──grant ahead──▶ keeper thread ──commit──▶ budgets.db
//!    ▲            │ spent ≤ granted ≤ limit          │
//!    └── waits only if its grant isn't there yet ◀───┘
//! ```

mod account;
mod book;
mod keeper;
mod operations;
#[cfg(test)]
mod tests;
mod uids;

use std::path::Path;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, thread};

use supervisor_api::{AuditEvent, Budget, BudgetList, Exhaustion, Ruling, Subject, Verdict, What};
use tokio::sync::{Notify, oneshot};

pub use account::{Account, Ahead, BudgetLimits, Charge, Meter, Spending};
pub use keeper::BudgetError;
pub use uids::{ConfiguredBudget, UidBudgets};

use crate::budget::book::{Book, Verdict as Answer};
use crate::budget::keeper::{Keeper, Word};
use crate::clock;

/// All budgets. Clones are the same ones.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
    keeper: Sender<Word>,
}

struct Shared {
    book: Mutex<Book>,
    /// Whether the configuration has any budgets of users: where it has none, bytes that nothing else
    /// counts need no look into the book.
    limits_uids: AtomicBool,
    /// Told whenever something was granted, or can't be.
    changed: Notify,
}

/// A budget has less left than was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exhausted {
    /// Whose.
    pub account: Account,
    /// What it counts.
    pub meter: Meter,
    /// The limit.
    pub limit: u64,
    /// What is left of it.
    pub left: u64,
    /// What was asked for.
    pub asked: u64,
}

/// Nothing was reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// A budget has less left.
    Exhausted(Exhausted),
    /// The database can't be written for now, and nothing is spent that is not in it.
    Unkept,
}

/// What a request may cost, taken from its budgets. Dropped without being settled, it is spent.
#[must_use = "what is not settled is spent"]
pub struct Reservation {
    ledger: Ledger,
    charges: Arc<[Charge]>,
    /// The era of the book in which it was taken.
    era: u64,
    bytes_out: u64,
    bytes_in: u64,
    /// What was set aside to be sent and is not sent yet.
    ahead: u64,
}

impl Ledger {
    /// Opens the budgets in a state directory. Blocks.
    ///
    /// # Errors
    /// When the database can't be opened or is not one of these.
    pub fn open(state: &Path) -> Result<Self, BudgetError> {
        let (keeper, book) = Keeper::open(state, now())?;
        let shared = Arc::new(Shared {
            book: Mutex::new(book),
            limits_uids: AtomicBool::new(false),
            changed: Notify::new(),
        });
        let (words, heard) = channel();
        let told = shared.clone();
        let run = move || {
            keeper.run(&heard, |book| {
                book(&mut told.lock());
                told.changed.notify_waiters();
            });
        };
        thread::Builder::new()
            .name("budgets".to_owned())
            .spawn(run)
            .map_err(|source| BudgetError::io(state, source))?;
        Ok(Self { shared, keeper: words })
    }

    /// Says what each user may spend from now on, on connections that are open already too.
    pub fn limit_uids(&self, budgets: UidBudgets) {
        let mut book = self.shared.lock();
        self.shared.limits_uids.store(!budgets.is_empty(), Ordering::Relaxed);
        book.limit_uids(budgets);
    }

    /// What is charged to a user: whatever limits it has now, and those that it has later.
    pub fn charge_of(&self, uid: u32) -> Charge {
        self.shared.lock().charge_of(uid)
    }

    /// Takes what a request may cost from every budget that it is charged to, or from none.
    ///
    /// # Errors
    /// The first budget that has less left.
    pub async fn reserve(
        &self,
        charges: &Arc<[Charge]>,
        spending: &Spending<'_>,
    ) -> Result<Reservation, Denied> {
        let era = self.take(charges, spending).await?;
        Ok(Reservation {
            ledger: self.clone(),
            charges: charges.clone(),
            era,
            bytes_out: spending.bytes_out,
            bytes_in: spending.bytes_in,
            ahead: spending.bytes_out,
        })
    }

    /// What everybody has spent, or one user and its sessions.
    pub fn list(&self, uid: Option<u32>) -> BudgetList {
        let mut budgets: Vec<Budget> = self.shared.lock().report(uid, now());
        budgets.sort_by(|one, other| one.account.cmp(&other.account));
        BudgetList { budgets }
    }

    /// Forgets an account, such as that of a session which is removed.
    pub fn forget(&self, account: &Account) {
        self.shared.lock().forget(account);
        self.say(Word::Forget(account.clone()));
    }

    /// Lets an account begin anew; how it is then, if there is such an account.
    pub fn reset(&self, account: &Account) -> Option<Budget> {
        let mut book = self.shared.lock();
        let reset = book.reset(account, now());
        // With the book locked: no grant for what comes after may be written before this.
        if reset.is_some() && self.keeper.send(Word::Forget(account.clone())).is_err() {
            book.unkept();
        }
        reset
    }

    /// Writes what was spent in place of what was granted, and ends.
    pub async fn close(&self) {
        let spent = self.shared.lock().close();
        let (reply, closed) = oneshot::channel();
        self.say(Word::Close(spent, reply));
        if closed.await.is_err() {
            tracing::error!("the budgets were not closed: what was granted counts as spent");
        }
    }

    async fn take(&self, charges: &[Charge], spending: &Spending<'_>) -> Result<u64, Denied> {
        loop {
            let changed = self.shared.changed.notified();
            let mut changed = pin!(changed);
            changed.as_mut().enable(); // before the look, so that nothing is missed after it
            let answer = self.shared.lock().reserve(charges, spending, now());
            match answer {
                Answer::Taken(ahead, era) => {
                    ahead.into_iter().for_each(|word| self.say(word));
                    return Ok(era);
                }
                Answer::Exhausted(exhausted, ahead) => {
                    ahead.into_iter().for_each(|word| self.say(word));
                    return Err(Denied::Exhausted(exhausted));
                }
                Answer::Unkept(forgotten) => {
                    forgotten.into_iter().for_each(|word| self.say(word));
                    return Err(Denied::Unkept);
                }
                Answer::Wait(words) => words.into_iter().for_each(|word| self.say(word)),
            }
            changed.await;
        }
    }

    fn say(&self, word: Word) {
        if self.keeper.send(word).is_err() {
            self.shared.lock().unkept();
            self.shared.changed.notify_waiters();
        }
    }
}

impl Reservation {
    /// Takes what moves, as far as it was not set aside, and all of it from budgets that there were none
    /// of then.
    ///
    /// # Errors
    /// The first budget that has less left; nothing more may be moved.
    pub fn moved(&mut self, sent: u64, received: u64) -> Result<(), Denied> {
        let covered = self.ahead.min(sent);
        let (bytes_out, bytes_in) = (sent - covered, received);
        if !self.is_counted() {
            self.ahead -= covered;
            return Ok(());
        }
        let more = Spending { requests: 0, unsafe_method: false, bytes_out, bytes_in, host: None };
        let ahead = Ahead { era: self.era, bytes_out: covered };
        let answer = self.ledger.shared.lock().spend(&self.charges, &more, ahead, now());
        let words = match answer {
            Answer::Taken(words, _) => words,
            Answer::Exhausted(exhausted, words) => {
                words.into_iter().for_each(|word| self.ledger.say(word));
                return Err(Denied::Exhausted(exhausted));
            }
            Answer::Unkept(words) | Answer::Wait(words) => {
                words.into_iter().for_each(|word| self.ledger.say(word));
                return Err(Denied::Unkept);
            }
        };
        words.into_iter().for_each(|word| self.ledger.say(word));
        self.ahead -= covered;
        self.bytes_out += bytes_out;
        self.bytes_in += bytes_in;
        Ok(())
    }

    /// Gives back what was set aside to be received.
    pub fn give_back_received(&mut self) {
        let received = std::mem::take(&mut self.bytes_in);
        self.ledger.shared.lock().give_back(&self.charges, self.era, 0, received);
    }

    /// Whether there is a budget that it may be charged to now.
    fn is_counted(&self) -> bool {
        self.ledger.shared.limits_uids.load(Ordering::Relaxed)
            || self.charges.iter().any(|charge| !matches!(charge.account, Account::Uid(_)))
    }

    /// Gives back what was taken and not used.
    pub fn settle(self, bytes_out: u64, bytes_in: u64) {
        let out = self.bytes_out.saturating_sub(bytes_out);
        let back = self.bytes_in.saturating_sub(bytes_in);
        self.ledger.shared.lock().give_back(&self.charges, self.era, out, back);
    }
}

impl Shared {
    /// Nothing between two changes of the book panics.
    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exhausted {
    /// What would help.
    pub fn remedy(&self) -> String {
        let meter = self.meter;
        match self.account {
            Account::Session(_) | Account::Credential(_) => {
                format!("have {meter} raised in the policy's budgets, or the budget reset")
            }
            Account::Uid(_) => {
                format!("have {meter} raised in supervisord's configuration, or the budget reset")
            }
        }
    }

    /// What the audit log says of it; `rule` is the line of the policy that set the limit.
    pub fn event(&self, whom: Subject, rule: Option<String>, host: Option<String>) -> AuditEvent {
        let ruling = Ruling {
            rule,
            cause: Some(self.to_string()),
            remedy: Some(self.remedy()),
            ..Ruling::new(Verdict::Deny, "budget_exhausted")
        };
        let Self { account, meter, limit, left, asked } = self.clone();
        let (account, meter) = (account.to_string(), meter.to_string());
        What::Budget(Exhaustion { ruling, account, meter, limit, left, asked, host }).about(whom)
    }
}

impl Denied {
    /// What would help.
    pub fn remedy(&self) -> String {
        match self {
            Self::Exhausted(exhausted) => exhausted.remedy(),
            Self::Unkept => {
                "try again; if it lasts, have an administrator make room in supervisord's state \
                             directory (its journal has the cause)"
                    .to_owned()
            }
        }
    }
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { account, meter, limit, left, asked } = self;
        write!(
            f,
            "the budget of {account} has {left} of {limit} {meter} left, and {asked} were asked"
        )
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted(exhausted) => exhausted.fmt(f),
            Self::Unkept => {
                f.write_str("the budgets can't be kept for now, and nothing is spent uncounted")
            }
        }
    }
}

impl std::error::Error for Denied {}

/// Seconds since 1970, by a clock that nobody sets: a window begins when that has passed, and once.
fn now() -> u64 {
    u64::try_from(clock::steady()).unwrap_or_default()
}
