//! A policy as it holds: parents laid under it, the floor beneath, nothing left open.

use std::collections::BTreeMap;
use std::fmt;

use crate::control::Control;
use crate::diagnostic::Diagnostic;
use crate::document::{Origin, Sourced};
use crate::egress::Egress;
use crate::egress::check::BudgetsGiven;
use crate::example::{RefusalReason, refused};
use crate::floor::Floor;
use crate::limit::{Limit, Limits, LimitsAsked, PerLimit};
use crate::place::WorkspacePlace;
use crate::profile::SyscallProfile;
use crate::root::RootAccess;

/// What a policy decides. There is no way to make one other than to load it.
#[derive(Debug, Clone)]
pub struct Resolved {
    pub(crate) name: Sourced<String>,
    pub(crate) description: Option<Sourced<String>>,
    pub(crate) defaults: PerLimit<Bounded>,
    pub(crate) maximum: PerLimit<Bounded>,
    pub(crate) image: Sourced<String>,
    pub(crate) images: Option<Sourced<Vec<String>>>,
    pub(crate) exec: Sourced<bool>,
    pub(crate) workspace: Sourced<WorkspacePlace>,
    /// Only where the root can be written.
    pub(crate) root: Option<Sourced<RootAccess>>,
    pub(crate) pseudo_terminals: Option<Sourced<bool>>,
    pub(crate) environment: BTreeMap<String, Sourced<String>>,
    pub(crate) profile: Sourced<SyscallProfile>,
    pub(crate) warm: Option<Sourced<bool>>,
    pub(crate) modules: Option<Sourced<Vec<String>>>,
    pub(crate) requires: BTreeMap<Control, Origin>,
    pub(crate) egress: Egress,
    pub(crate) budgets: BudgetsGiven,
}

/// A limit as the policy gives it, and the floor's where that is smaller.
#[derive(Debug, Clone)]
pub(crate) struct Bounded {
    pub given: Sourced<u64>,
    pub floor: Option<Sourced<u64>>,
}

/// A submission asked for a limit that it can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The limit.
    pub limit: Limit,
    /// What was asked for, in the limit's unit.
    pub asked: u64,
    /// The most that could be asked for.
    pub maximum: u64,
    /// What is wrong with it.
    pub reason: RefusalReason,
    /// The rule that refuses, with its file and line.
    pub rule: String,
    /// What to do, in a sentence.
    pub remedy: String,
}

impl Bounded {
    pub fn new(limit: Limit, given: &PerLimit<Sourced<u64>>, floor: &Floor) -> Self {
        let (given, bound) = (given.at(limit).clone(), floor.bounds.at(limit));
        let smaller = limit.exceeds(given.value, bound.value);
        Self { given, floor: smaller.then(|| bound.clone()) }
    }

    /// The one that holds.
    pub fn effective(&self) -> &Sourced<u64> {
        self.floor.as_ref().unwrap_or(&self.given)
    }
}

impl Resolved {
    /// The policy's name.
    pub fn name(&self) -> &str {
        &self.name.value
    }

    /// What its author says about it; empty if nothing.
    pub fn description(&self) -> &str {
        self.description.as_ref().map_or("", |description| &description.value)
    }

    /// The limits of an execution that asks for none.
    pub fn defaults(&self) -> Limits {
        PerLimit::from_fn(|limit| self.defaults.at(limit).effective().value)
    }

    /// The most that a submission may ask for.
    pub fn maximum(&self) -> Limits {
        PerLimit::from_fn(|limit| self.maximum.at(limit).effective().value)
    }

    /// Who set a limit's default, or its maximum, and on which line: `policy default (default.toml:12)`.
    pub fn limit_origin(&self, limit: Limit, maximum: bool) -> String {
        let bounded = if maximum { self.maximum.at(limit) } else { self.defaults.at(limit) };
        let origin = &bounded.effective().origin;
        format!("{} ({origin})", origin.holder())
    }

    /// The image, as [`image_name`](crate::image_name) spells it.
    pub fn image(&self) -> &str {
        &self.image.value
    }

    /// What a submission may ask for in place of [`image`](Self::image).
    pub fn images(&self) -> &[String] {
        self.images.as_ref().map_or(&[], |images| &images.value)
    }

    /// The line that says which images there are, for refusals.
    pub fn images_origin(&self) -> String {
        let origin = self.images.as_ref().map_or(&self.image.origin, |images| &images.origin);
        format!("{} ({origin})", origin.holder())
    }

    /// Whether files of the workspace and /tmp may be executed.
    pub fn exec(&self) -> bool {
        self.exec.value
    }

    /// What may leave the sandbox.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// Where a workspace that goes with its execution is.
    pub fn workspace(&self) -> WorkspacePlace {
        self.workspace.value
    }

    /// Whether executions may begin in sandboxes that were parked ahead.
    pub fn warm_starts(&self) -> bool {
        self.warm.as_ref().is_none_or(|starts| starts.value)
    }

    /// Modules that a parked Python has imported, where the policy names any.
    pub fn warm_modules(&self) -> Option<&[String]> {
        self.modules.as_ref().map(|modules| modules.value.as_slice())
    }

    /// What a payload may do with the files of its image.
    pub fn root(&self) -> RootAccess {
        self.root.as_ref().map(|root| root.value).unwrap_or_default()
    }

    /// Whether a payload can make pseudo-terminals. A terminal of its own, which is made outside, takes none of it.
    pub fn pseudo_terminals(&self) -> bool {
        self.pseudo_terminals.as_ref().is_some_and(|terminals| terminals.value)
    }

    /// What in it is probably not meant: broad rules, rules that change nothing, credentials that
    /// nothing can use.
    pub fn warnings(&self) -> Vec<Diagnostic> {
        let mut warnings = self.egress.warnings();
        if self.profile() == SyscallProfile::NoNetwork && !self.egress.is_empty() {
            let message = "this profile makes no sockets, so that no egress rule is ever asked";
            let hint = "name the profile `default`, or leave the rules out";
            let diagnostic = self.profile.origin.diagnostic(message).with_hint(hint);
            warnings.push(diagnostic.warning());
        }
        warnings
    }

    /// The payload's variables besides the built-in ones, by name.
    pub fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(name, value)| (name.as_str(), value.value.as_str()))
    }

    /// The allow-list of system calls.
    pub fn profile(&self) -> SyscallProfile {
        self.profile.value
    }

    /// Who named the profile, and on which line: `policy default (default.toml:54)`.
    pub fn profile_origin(&self) -> String {
        let origin = &self.profile.origin;
        format!("{} ({origin})", origin.holder())
    }

    /// The controls that a strict daemon must have to run an execution with these limits, in the
    /// order of [`Control::ALL`].
    pub fn required_controls(&self, limits: &Limits) -> Vec<Control> {
        let required = self.requires.keys().copied();
        required.filter(|control| control.applies_to(limits)).collect()
    }

    /// The limits of an execution that asks for these. What is left out is the policy's default.
    ///
    /// # Errors
    /// The first limit that is above the policy's maximum, zero, or below what anything runs under: refused, never
    /// clamped.
    pub fn limits(&self, asked: &LimitsAsked) -> Result<Limits, Refusal> {
        if let Some((limit, value, reason)) = refused(asked, &self.maximum()) {
            return Err(self.refusal(limit, value, reason));
        }
        let defaults = self.defaults();
        Ok(PerLimit::from_fn(|limit| asked.get(limit).unwrap_or(defaults.get(limit))))
    }

    fn shown_default(&self, limit: Limit) -> String {
        limit.show(self.defaults.at(limit).effective().value)
    }

    fn refusal(&self, limit: Limit, asked: u64, reason: RefusalReason) -> Refusal {
        let Sourced { value: maximum, origin } = self.maximum.at(limit).effective();
        let section = if origin.is_given() { "limits.max" } else { "limits" };
        let (most, holder) = (limit.show(*maximum), origin.holder());
        Refusal {
            limit,
            asked,
            maximum: *maximum,
            reason,
            rule: format!("{section} of {holder} ({origin})"),
            remedy: match reason {
                RefusalReason::AboveMaximum => {
                    format!("Ask for {most} at the most, or have {limit} raised in {holder}.")
                }
                RefusalReason::BelowLeast => {
                    let (least, default) = (limit.show(limit.least()), self.shown_default(limit));
                    format!("Ask for {least} at the least, or leave {limit} out to get {default}.")
                }
                RefusalReason::Zero => {
                    let default = self.shown_default(limit);
                    format!("Ask for {most} at the most, or leave {limit} out to get {default}.")
                }
            },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, asked) = (self.limit, self.limit.show(self.asked));
        match self.reason {
            RefusalReason::AboveMaximum => {
                let most = self.limit.show(self.maximum);
                write!(f, "{limit}: {asked} is above the maximum of {most}: {}", self.rule)
            }
            RefusalReason::BelowLeast => {
                let least = limit.show(limit.least());
                write!(f, "{limit}: {asked} is below {least}, the least that anything runs under")
            }
            RefusalReason::Zero => write!(f, "{limit} can't be zero"),
        }
    }
}

impl std::error::Error for Refusal {}
