//! Numbers: budgets, and what is counted like them.

use std::collections::BTreeMap;

use toml::Spanned;

use crate::check::Checker;
use crate::document::Sourced;
use crate::egress::Budgets;
use crate::egress::address::AddressClass;
use crate::egress::raw::RawBudgets;
use crate::quantity::Unit;
use crate::raw::Amount;

/// The largest number in a budget, which every reader of JSON keeps exactly (RFC 8259 §6).
const MAX_BUDGET: u64 = (1 << 53) - 1;

/// Budgets by name, each where it was given.
pub(crate) type BudgetsGiven = BTreeMap<&'static str, Sourced<u64>>;

impl Checker {
    /// Budgets, each where it was given.
    pub fn budgets(&mut self, raw: Option<&RawBudgets>) -> BudgetsGiven {
        let Some(raw) = raw else { return BudgetsGiven::new() };
        let each = [
            ("requests", Unit::Count, &raw.requests),
            ("unsafe_requests", Unit::Count, &raw.unsafe_requests),
            ("bytes_out", Unit::Bytes, &raw.bytes_out),
            ("bytes_in", Unit::Bytes, &raw.bytes_in),
            ("distinct_hosts", Unit::Count, &raw.distinct_hosts),
        ];
        let mut given = BudgetsGiven::new();
        for (name, unit, raw) in each {
            let Some(raw) = raw else { continue };
            if let Some(value) = self.count(name, unit, raw) {
                given.insert(name, self.document().sourced(raw, value));
            }
        }
        given
    }

    /// Classes of addresses.
    pub fn classes(&mut self, list: &Spanned<Vec<Spanned<String>>>) -> Sourced<Vec<AddressClass>> {
        let openable = AddressClass::CLOSED.iter().filter(|class| class.can_be_opened());
        let known: Vec<_> = openable.map(|class| class.as_str()).collect();
        let mut classes = Vec::new();
        for name in list.get_ref() {
            match AddressClass::from_name(name.get_ref()).filter(|class| class.can_be_opened()) {
                Some(class) => classes.push(class),
                None => self.unknown("class of addresses", name, &known),
            }
        }
        self.document().sourced(list, classes)
    }

    pub(super) fn count(&mut self, name: &str, unit: Unit, raw: &Spanned<Amount>) -> Option<u64> {
        let read = match raw.get_ref() {
            Amount::Whole(number) => unit.whole(*number),
            Amount::Text(text) => unit.parse(text),
        };
        match read {
            Ok(value) if value <= MAX_BUDGET => Some(value),
            Ok(_) => {
                self.refuse_plainly(
                    raw.span(),
                    format!("{name}: this is more than can be counted"),
                );
                None
            }
            Err(invalid) => {
                self.refuse(raw.span(), format!("{name}: {invalid}"), invalid.hint());
                None
            }
        }
    }
}

/// The budgets without their places.
pub(crate) fn budgets(given: &BudgetsGiven) -> Budgets {
    let value = |name| given.get(name).map(|sourced| sourced.value);
    Budgets {
        requests: value("requests"),
        unsafe_requests: value("unsafe_requests"),
        bytes_out: value("bytes_out"),
        bytes_in: value("bytes_in"),
        distinct_hosts: value("distinct_hosts"),
    }
}
