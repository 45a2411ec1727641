//! Budgets of users, as root's configuration has them: in force for everything that a user runs, whatever
//! the policy, and over all of its sessions.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::account::{Account, BudgetLimits, Charge};

/// Seconds after which a budget begins anew that doesn't say: a day.
const WINDOW: u64 = 86_400;

/// One table of the configuration. What is left out is not limited.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredBudget {
    /// Whose; everybody's who has no table of its own, each for itself, if left out.
    pub uids: Option<Vec<u32>>,
    /// Requests, connections where requests are not seen.
    pub requests: Option<u64>,
    /// Requests with a method that changes something, and connections where that is not seen.
    pub unsafe_requests: Option<u64>,
    /// Bytes that go out.
    pub bytes_out: Option<u64>,
    /// Bytes that come in.
    pub bytes_in: Option<u64>,
    /// Different hosts.
    pub distinct_hosts: Option<u64>,
    /// Seconds after which all begins anew, counted from 1970 in UTC; 0 if it never does.
    #[serde(default = "window")]
    pub window: u64,
}

/// What each user may spend.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UidBudgets {
    everybody: Option<BudgetLimits>,
    own: BTreeMap<u32, BudgetLimits>,
}

/// A table that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnusableBudget {
    /// It limits nothing, so it can only be a mistake.
    Empty,
    /// There are two for those who have none of their own.
    TwoForEverybody,
    /// There are two for one user.
    TwoFor(u32),
}

impl UidBudgets {
    /// From the tables of a configuration.
    ///
    /// # Errors
    /// The first table that is of no use or is there twice.
    pub fn of(tables: &[ConfiguredBudget]) -> Result<Self, UnusableBudget> {
        let mut budgets = Self::default();
        for table in tables {
            let limits = table.limits();
            if limits == (BudgetLimits { window: limits.window, ..BudgetLimits::default() }) {
                return Err(UnusableBudget::Empty);
            }
            match &table.uids {
                None if budgets.everybody.replace(limits).is_some() => {
                    return Err(UnusableBudget::TwoForEverybody);
                }
                None => {}
                Some(uids) => {
                    for uid in uids {
                        if budgets.own.insert(*uid, limits).is_some() {
                            return Err(UnusableBudget::TwoFor(*uid));
                        }
                    }
                }
            }
        }
        Ok(budgets)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.everybody.is_none() && self.own.is_empty()
    }

    /// What is charged to a user, if anything is.
    pub fn charge(&self, uid: u32) -> Option<Charge> {
        let limits = self.own.get(&uid).or(self.everybody.as_ref())?;
        Some(Charge { account: Account::Uid(uid), limits: *limits, owner: Some(uid) })
    }
}

impl ConfiguredBudget {
    fn limits(&self) -> BudgetLimits {
        BudgetLimits {
            requests: self.requests,
            unsafe_requests: self.unsafe_requests,
            bytes_out: self.bytes_out,
            bytes_in: self.bytes_in,
            hosts: self.distinct_hosts,
            window: (self.window > 0).then_some(self.window),
        }
    }
}

impl fmt::Display for UnusableBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a table [[uid_budget]] limits nothing"),
            Self::TwoForEverybody => f.write_str("two tables [[uid_budget]] name no uids"),
            Self::TwoFor(uid) => write!(f, "two tables [[uid_budget]] name uid {uid}"),
        }
    }
}

impl std::error::Error for UnusableBudget {}

const fn window() -> u64 {
    WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tables {
        uid_budget: Vec<ConfiguredBudget>,
    }

    fn read(text: &str) -> Result<UidBudgets, String> {
        let tables: Tables = toml::from_str(text).map_err(|error| error.to_string())?;
        UidBudgets::of(&tables.uid_budget).map_err(|error| error.to_string())
    }

    #[test]
    fn a_user_has_the_table_that_names_it_or_the_one_for_everybody() {
        let text = "[[uid_budget]]\nrequests = 10\n[[uid_budget]]\nuids = [7]\nbytes_out = 5\nwindow = 0\n";
        let budgets = read(text).unwrap();
        let charge = budgets.charge(2001).unwrap();
        assert_eq!((charge.account, charge.owner), (Account::Uid(2001), Some(2001)));
        assert_eq!((charge.limits.requests, charge.limits.window), (Some(10), Some(WINDOW)));
        let own = budgets.charge(7).unwrap().limits;
        assert_eq!((own.requests, own.bytes_out, own.window), (None, Some(5), None));
        assert_eq!(UidBudgets::default().charge(7), None);
    }

    #[test]
    fn a_table_that_limits_nothing_or_stands_twice_is_refused_with_its_name() {
        for (text, words) in [
            ("[[uid_budget]]\nuids = [1]\n", "limits nothing"),
            ("[[uid_budget]]\nrequests = 1\n[[uid_budget]]\nrequests = 2\n", "name no uids"),
            ("[[uid_budget]]\nrequests = 1\nuids = [4, 4]\n", "name uid 4"),
            ("[[uid_budget]]\nrequest = 1\n", "unknown field"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
