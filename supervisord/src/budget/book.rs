//! The arithmetic of budgets, in memory and without a clock or a file: for every account and meter,
//! spent ≤ limit and granted ≤ limit, and spent ≤ granted but for the bytes of a message under way, whose
//! grants follow them within one commit.

use std::collections::{HashMap, HashSet};

use supervisor_api::{Budget, BudgetMeter};

use super::Exhausted;
use super::account::{Account, Ahead, BudgetLimits, Charge, Meter, Spending};
use super::keeper::{Grant, Word};
use super::uids::UidBudgets;

/// What is known of all accounts.
#[derive(Debug, Default)]
pub struct Book {
    accounts: HashMap<Account, Entry>,
    /// What each user may spend now, once that was said.
    uids: Option<UidBudgets>,
    /// Whether anything can be granted.
    keeping: Keeping,
    /// How often an account began anew.
    eras: u64,
}

/// Whether what is granted gets into the database.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    #[default]
    Works,
    /// It is tried again until it does.
    Fails,
    /// It was closed.
    Over,
}

#[derive(Debug, Default)]
struct Entry {
    /// The beginning of the window that it is about.
    since: u64,
    /// The era of the book in which it began: with its window, or when it was reset.
    era: u64,
    limits: BudgetLimits,
    owner: Option<u32>,
    sums: HashMap<Meter, Sum>,
    hosts: HashSet<String>,
    /// Hosts on their way into the database.
    asked_hosts: HashSet<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    /// The era of the book in which it began to be counted.
    era: u64,
    spent: u64,
    granted: u64,
    /// A grant on its way into the database.
    asked: u64,
}

/// What comes of a request to spend.
#[derive(Debug)]
pub enum Verdict {
    /// It is taken, in this era of the book; these grants are for those who come next.
    Taken(Vec<Word>, u64),
    /// There is less. What was asked to be granted on the way to it is for others.
    Exhausted(Exhausted, Vec<Word>),
    /// There is enough; these have to be granted first, where they are not on their way.
    Wait(Vec<Word>),
    /// Nothing can be granted. What is to be forgotten is so all the same.
    Unkept(Vec<Word>),
}

impl Book {
    /// Says what each user may spend from now on, whatever a charge had captured before. What is limited
    /// only from now on is counted from now on.
    pub fn limit_uids(&mut self, budgets: UidBudgets) {
        let had = self.uids.replace(budgets).unwrap_or_default();
        for (account, entry) in &mut self.accounts {
            let Account::Uid(uid) = account else { continue };
            let limits = had.charge(*uid).map(|charge| charge.limits).unwrap_or_default();
            for (_, sum) in entry.sums.iter_mut().filter(|(meter, _)| limits.of(**meter).is_none())
            {
                self.eras += 1;
                sum.era = self.eras;
            }
        }
    }

    /// What is charged to a user: the limits that there are now, and later those that there are then.
    pub fn charge_of(&self, uid: u32) -> Charge {
        let charge = self.uids.as_ref().and_then(|uids| uids.charge(uid));
        let limits = charge.map(|charge| charge.limits).unwrap_or_default();
        Charge { account: Account::Uid(uid), limits, owner: Some(uid) }
    }

    /// Takes what is asked from all accounts, or from none.
    pub fn reserve(&mut self, charges: &[Charge], spending: &Spending<'_>, now: u64) -> Verdict {
        self.take(charges, spending, now, None)
    }

    /// The same for bytes that are moving already: they are held against the limits, and don't wait
    /// for the grants that they are asked to have. Of those that were set aside `ahead`, budgets have a
    /// say that did not count then.
    pub fn spend(
        &mut self,
        charges: &[Charge],
        spending: &Spending<'_>,
        ahead: Ahead,
        now: u64,
    ) -> Verdict {
        self.take(charges, spending, now, Some(ahead))
    }

    fn take(
        &mut self,
        charges: &[Charge],
        spending: &Spending<'_>,
        now: u64,
        ahead: Option<Ahead>,
    ) -> Verdict {
        let (mut words, mut wait) = (Vec::new(), false);
        let grants = self.keeping == Keeping::Works;
        for charge in charges {
            // A connection that is older than the configuration is held to the configuration.
            let Some(charge) = now_charged(self.uids.as_ref(), charge) else { continue };
            let entry = self.accounts.entry(charge.account.clone()).or_insert_with(|| {
                self.eras += 1;
                Entry { era: self.eras, ..Entry::default() }
            });
            entry.begin(&charge, now, &mut self.eras, &mut words);
            match entry.check(
                &charge,
                spending,
                ahead,
                &mut self.eras,
                grants.then_some(&mut words),
            ) {
                Err(exhausted) => return Verdict::Exhausted(exhausted, words),
                Ok(ready) => wait |= !ready,
            }
        }
        if wait && !grants {
            return Verdict::Unkept(words);
        }
        if wait && ahead.is_none() {
            return Verdict::Wait(words);
        }
        for charge in charges {
            let Some(charge) = now_charged(self.uids.as_ref(), charge) else { continue };
            let Some(entry) = self.accounts.get_mut(&charge.account) else { continue };
            for (meter, sum) in &mut entry.sums {
                if charge.limits.of(*meter).is_some() {
                    sum.spent = sum.spent.saturating_add(sum.asked_by(*meter, spending, ahead));
                }
            }
        }
        Verdict::Taken(words, self.eras)
    }

    /// Takes back what was taken in this era and not used. What has begun anew since then, or was not
    /// counted yet, owes nothing for it.
    pub fn give_back(&mut self, charges: &[Charge], era: u64, bytes_out: u64, bytes_in: u64) {
        for charge in charges {
            let Some(entry) = self.accounts.get_mut(&charge.account) else { continue };
            for (meter, bytes) in [(Meter::BytesOut, bytes_out), (Meter::BytesIn, bytes_in)] {
                // What this charge doesn't limit it has not taken; a user's limits are told by eras.
                let is_user = matches!(charge.account, Account::Uid(_));
                if !is_user && charge.limits.of(meter).is_none() {
                    continue;
                }
                let sum = entry.sums.get_mut(&meter);
                if let Some(sum) = sum.filter(|sum| sum.era <= era) {
                    sum.spent = sum.spent.saturating_sub(bytes);
                }
            }
        }
    }

    /// A grant is in the database.
    pub fn granted(&mut self, grant: &Grant) {
        let Some(entry) = self.accounts.get_mut(&grant.account) else { return };
        if entry.since != grant.since || entry.era != grant.era {
            return; // of a window that is over, or of before a reset
        }
        match &grant.host {
            Some(host) => {
                entry.asked_hosts.remove(host);
                entry.hosts.insert(host.clone());
            }
            None => {
                let sum = entry.sums.entry(grant.meter).or_default();
                sum.granted = sum.granted.max(grant.upto);
            }
        }
    }

    /// What a grant that an earlier daemon left says: all of it counts as spent. One of a window that has yet to
    /// begin, by a clock that was ahead or is behind, counts in the one that there is: it neither begins anew for that
    /// nor lasts until the clock is there.
    pub fn restore(&mut self, grant: Grant, now: u64) {
        let entry = self.accounts.entry(grant.account).or_default();
        entry.limits.window = grant.window;
        (entry.since, entry.owner) = (grant.since.min(entry.limits.since(now)), grant.owner);
        entry.limits.set(grant.meter, grant.limit);
        match grant.host {
            Some(host) => {
                entry.hosts.insert(host);
            }
            None => {
                let Grant { upto, era, .. } = grant;
                let sum = Sum { era, spent: upto, granted: upto, asked: upto };
                entry.sums.insert(grant.meter, sum);
            }
        }
    }

    /// The database could not be written. Nothing is asked of it before it is.
    pub fn unkept(&mut self) {
        if self.keeping == Keeping::Works {
            self.keeping = Keeping::Fails;
        }
    }

    /// The database was written.
    pub fn kept(&mut self) {
        if self.keeping == Keeping::Fails {
            self.keeping = Keeping::Works;
        }
    }

    /// Lets an account begin anew; how it is then, if there is one.
    pub fn reset(&mut self, account: &Account, now: u64) -> Option<Budget> {
        let entry = self.accounts.get_mut(account)?;
        self.eras += 1;
        let Entry { since, limits, owner, .. } = *entry;
        *entry = Entry { since, limits, owner, era: self.eras, ..Entry::default() };
        Some(entry.describe(account, now))
    }

    /// Forgets an account.
    pub fn forget(&mut self, account: &Account) {
        self.accounts.remove(account);
    }

    /// What was really spent, for the end. Nothing can be granted any more.
    pub fn close(&mut self) -> Vec<Grant> {
        self.keeping = Keeping::Over;
        let mut spent = Vec::new();
        for (account, entry) in &mut self.accounts {
            for (meter, sum) in &mut entry.sums {
                sum.granted = sum.spent;
                let limit = entry.limits.of(*meter).unwrap_or_default();
                spent.push(Grant {
                    account: account.clone(),
                    meter: *meter,
                    upto: sum.spent,
                    host: None,
                    since: entry.since,
                    owner: entry.owner,
                    window: entry.limits.window,
                    limit,
                    era: entry.era,
                });
            }
        }
        spent
    }

    /// What there is and what is left, of everybody or of one user.
    pub fn report(&self, uid: Option<u32>, now: u64) -> Vec<Budget> {
        let visible = self.accounts.iter().filter(|(_, entry)| uid.is_none() || entry.owner == uid);
        visible.map(|(account, entry)| entry.describe(account, now)).collect()
    }
}

impl Sum {
    /// What is asked of it.
    fn asked_by(&self, meter: Meter, spending: &Spending<'_>, ahead: Option<Ahead>) -> u64 {
        let uncounted = ahead.filter(|it| meter == Meter::BytesOut && self.era > it.era);
        spending.of(meter).saturating_add(uncounted.map_or(0, |it| it.bytes_out))
    }
}

impl Entry {
    /// Begins a new window if it is time, and takes over what the policy says now. A window that began earlier, since
    /// it is longer now, is no new one.
    fn begin(&mut self, charge: &Charge, now: u64, eras: &mut u64, words: &mut Vec<Word>) {
        let since = charge.limits.since(now);
        if since > self.since {
            let had = self.since != 0 || !self.sums.is_empty() || !self.hosts.is_empty();
            *eras += 1;
            *self = Self { since, era: *eras, ..Self::default() };
            if had {
                words.push(Word::Forget(charge.account.clone()));
            }
        }
        (self.limits, self.owner) = (charge.limits, charge.owner);
    }

    /// Whether it is granted already; asks for what isn't, and for more when that runs low, where there are
    /// words to ask with.
    fn check(
        &mut self,
        charge: &Charge,
        spending: &Spending<'_>,
        ahead: Option<Ahead>,
        eras: &mut u64,
        mut words: Option<&mut Vec<Word>>,
    ) -> Result<bool, Exhausted> {
        let exhausted = |meter, limit, spent: u64, asked| Exhausted {
            account: charge.account.clone(),
            meter,
            limit,
            left: limit.saturating_sub(spent),
            asked,
        };
        let grant = |meter, limit, upto, host| Grant {
            account: charge.account.clone(),
            meter,
            upto,
            host,
            since: self.since,
            owner: charge.owner,
            window: charge.limits.window,
            limit,
            era: self.era,
        };
        let mut ready = true;
        for meter in Meter::SUMS {
            let Some(limit) = charge.limits.of(meter) else { continue };
            let sum = self.sums.entry(meter).or_insert_with(|| {
                *eras += 1;
                Sum { era: *eras, ..Sum::default() }
            });
            let asked = sum.asked_by(meter, spending, ahead);
            if asked == 0 {
                continue;
            }
            let needed = sum.spent.saturating_add(asked);
            if needed > limit {
                return Err(exhausted(meter, limit, sum.spent, asked));
            }
            let block = meter.block(limit);
            ready &= needed <= sum.granted;
            if let Some(words) = &mut words
                && needed.saturating_add(block / 2) > sum.granted
                && sum.asked < limit
            {
                let upto = needed.saturating_add(block).min(limit);
                if upto > sum.asked {
                    sum.asked = upto;
                    words.push(Word::Grant(grant(meter, limit, upto, None)));
                }
            }
        }
        if let (Some(limit), Some(host)) = (charge.limits.hosts, spending.host)
            && !self.hosts.contains(host)
        {
            let known = (self.hosts.len() + self.asked_hosts.len()) as u64;
            let waits = self.asked_hosts.contains(host);
            if !waits && known >= limit {
                return Err(exhausted(Meter::Hosts, limit, known, 1));
            }
            if let Some(words) = words
                && !waits
            {
                words.push(Word::Grant(grant(Meter::Hosts, limit, 0, Some(host.to_owned()))));
                self.asked_hosts.insert(host.to_owned());
            }
            ready = false;
        }
        Ok(ready)
    }

    fn describe(&self, account: &Account, now: u64) -> Budget {
        Budget {
            account: account.to_string(),
            owner_uid: self.owner,
            window: self.limits.window,
            meters: self.meters(self.limits.since(now) <= self.since),
        }
    }

    fn meters(&self, current: bool) -> Vec<BudgetMeter> {
        let hosts = self.hosts.len() as u64;
        let spent = |meter| match meter {
            _ if !current => 0,
            Meter::Hosts => hosts,
            meter => self.sums.get(&meter).map_or(0, |sum| sum.spent),
        };
        let all = Meter::SUMS.into_iter().chain([Meter::Hosts]);
        let limited = all.filter_map(|meter| Some((meter, self.limits.of(meter)?)));
        limited
            .map(|(meter, limit)| BudgetMeter {
                meter: meter.name().to_owned(),
                limit,
                spent: spent(meter),
                left: limit.saturating_sub(spent(meter)),
            })
            .collect()
    }
}

/// A charge as it is now: what a user may spend is the configuration's to say, and nothing is charged to
/// one whose budget was taken out of it.
fn now_charged(uids: Option<&UidBudgets>, charge: &Charge) -> Option<Charge> {
    match (&charge.account, uids) {
        (Account::Uid(uid), Some(uids)) => uids.charge(*uid),
        (Account::Uid(_), None) if charge.limits == BudgetLimits::default() => None,
        _ => Some(charge.clone()),
    }
}
