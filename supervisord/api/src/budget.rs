//! Budgets as callers see them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetMeter {
    /// `requests`, `unsafe_requests`, `bytes_out`, `bytes_in` or `hosts`.
    pub meter: String,
    /// How much there is.
    pub limit: u64,
    /// How much of it is spent, what is reserved included.
    pub spent: u64,
    /// What is left.
    pub left: u64,
}

/// What one session, credential or user may still do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// `session:` with its id, `credential:` with its name, or `uid:` with the number.
    pub account: String,
    /// The uid whose session or user account it is; absent for a credential, which many may share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_uid: Option<u32>,
    /// Seconds after which it begins anew, counted from 1970 in UTC; absent if it never does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<u64>,
    /// What is counted.
    pub meters: Vec<BudgetMeter>,
}

/// Budgets that were drawn on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetList {
    /// By account.
    pub budgets: Vec<Budget>,
}
