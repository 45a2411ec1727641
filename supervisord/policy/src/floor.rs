//! The floor: root's bounds on what any policy, caller or session may ask.
//!
//! It is a file like a policy's, with bounds in place of defaults. What a floor's file leaves out is
//! as in the built-in floor, never unbounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtin;
use crate::check::{Amounts, Checker, complete};
use crate::control::Control;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Document, Origin, Sourced};
use crate::egress::check::BudgetsGiven;
use crate::egress::{AddressClass, Rule};
use crate::example::Example;
use crate::limit::{Limits, PerLimit};
use crate::place::WorkspacePlace;
use crate::profile::SyscallProfile;
use crate::raw::{self, RawFloor};
use crate::set::{MAX_FILE_BYTES, TOO_LARGE};

/// The floor's own name, which no policy can have.
pub(crate) const FLOOR: &str = "floor";

/// Bounds on what any policy, caller or session may ask.
#[derive(Debug, Clone)]
pub struct Floor {
    pub(crate) bounds: PerLimit<Sourced<u64>>,
    pub(crate) exec: Sourced<bool>,
    pub(crate) allowed_workspaces: Sourced<Vec<WorkspacePlace>>,
    pub(crate) allowed_profiles: Sourced<Vec<SyscallProfile>>,
    pub(crate) requires: BTreeMap<Control, Origin>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) openable: Sourced<Vec<AddressClass>>,
    pub(crate) budgets: BudgetsGiven,
}

/// What one file says, before the built-in floor fills in the rest.
struct FloorFile {
    name: Sourced<String>,
    bounds: Amounts,
    exec: Option<Sourced<bool>>,
    allowed_workspaces: Option<Sourced<Vec<WorkspacePlace>>>,
    allowed_profiles: Option<Sourced<Vec<SyscallProfile>>>,
    requires: Option<BTreeMap<Control, Origin>>,
    rules: Vec<Rule>,
    openable: Option<Sourced<Vec<AddressClass>>>,
    budgets: BudgetsGiven,
    examples: Vec<Example>,
}

impl Floor {
    /// The floor that holds where root has configured none.
    ///
    /// # Errors
    /// When the text built in is not a floor, which the tests of this crate rule out.
    pub fn builtin() -> Result<Self, Diagnostics> {
        let (file, text) = builtin::FLOOR;
        Ok(FloorFile::read(file, text)?.complete()?)
    }

    /// Root's floor, in place of the built-in one.
    ///
    /// # Errors
    /// When the text is not a floor or one of its examples fails.
    pub fn load(file: &str, text: &str) -> Result<Self, Diagnostics> {
        Ok(FloorFile::read(file, text)?.filled_from(&Self::builtin()?).complete()?)
    }

    /// The most that any execution can get.
    pub fn maximum(&self) -> Limits {
        PerLimit::from_fn(|limit| self.bounds.at(limit).value)
    }

    /// The system-call profiles that policies may name.
    pub fn allowed_profiles(&self) -> &[SyscallProfile] {
        &self.allowed_profiles.value
    }

    /// Where policies may have workspaces.
    pub fn allowed_workspaces(&self) -> &[WorkspacePlace] {
        &self.allowed_workspaces.value
    }

    /// Whether policies may allow files of the workspace and /tmp to be executed.
    pub fn exec(&self) -> bool {
        self.exec.value
    }

    /// The classes of addresses that policies may open by naming networks of them.
    pub fn openable_addresses(&self) -> &[AddressClass] {
        &self.openable.value
    }

    /// The controls that every policy requires, whatever it says.
    pub fn requires(&self) -> impl Iterator<Item = Control> + '_ {
        self.requires.keys().copied()
    }
}

impl FloorFile {
    fn read(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        if text.len() > MAX_FILE_BYTES {
            return Err(vec![Diagnostic::whole(file, TOO_LARGE)]);
        }
        let (holder, file, text) = ("the floor".to_owned(), file.to_owned(), text.to_owned());
        let document = Arc::new(Document::new(holder, file, text));
        let raw = raw::read(&document)?;
        Self::check(raw, &document)
    }

    fn check(raw: RawFloor, document: &Arc<Document>) -> Result<Self, Vec<Diagnostic>> {
        let mut checker = Checker::new(Arc::clone(document));
        checker.own_name(&raw.name, FLOOR);
        if let Some(text) = raw.description {
            checker.description(text);
        }
        let bounds = raw.limits.and_then(|section| section.max).unwrap_or_default();
        let files = raw.filesystem.map(|section| (section.exec, section.allowed_workspaces));
        let (exec, places) = files.unwrap_or_default();
        let profiles = raw.syscalls.and_then(|section| section.allowed_profiles);
        let controls = raw.requires.and_then(|section| section.controls);
        let openable = raw.addresses.and_then(|section| section.openable);
        let file = Self {
            name: document.sourced(&raw.name, FLOOR.to_owned()),
            bounds: checker.amounts(&bounds),
            exec: exec.map(|exec| checker.flag(&exec)),
            allowed_workspaces: places.map(|list| checker.workspace_places(&list)),
            allowed_profiles: profiles.map(|list| checker.profiles(&list)),
            requires: controls.map(|list| checker.controls(list.get_ref())),
            rules: checker.rules_of_floor(&raw.egress),
            openable: openable.map(|list| checker.classes(&list)),
            budgets: checker.budgets(raw.budgets.as_ref()),
            examples: checker.examples(&raw.expect),
        };
        checker.finish(file)
    }

    fn filled_from(self, base: &Floor) -> Self {
        let bounds = PerLimit::from_fn(|limit| {
            let own = self.bounds.at(limit).as_ref();
            own.or(Some(base.bounds.at(limit))).cloned()
        });
        Self {
            bounds,
            exec: self.exec.or_else(|| Some(base.exec.clone())),
            allowed_workspaces: self
                .allowed_workspaces
                .or_else(|| Some(base.allowed_workspaces.clone())),
            allowed_profiles: self.allowed_profiles.or_else(|| Some(base.allowed_profiles.clone())),
            requires: self.requires.or_else(|| Some(base.requires.clone())),
            openable: self.openable.or_else(|| Some(base.openable.clone())),
            ..self
        }
    }

    fn complete(self) -> Result<Floor, Vec<Diagnostic>> {
        let given = (
            complete(&self.bounds),
            self.exec,
            self.allowed_workspaces,
            self.allowed_profiles,
            self.requires,
            self.openable,
        );
        let (Ok(bounds), Some(exec), Some(places), Some(profiles), Some(requires), Some(openable)) =
            given
        else {
            return Err(vec![self.name.origin.diagnostic("this floor is not complete")]);
        };
        let floor = Floor {
            bounds,
            exec,
            allowed_workspaces: places,
            allowed_profiles: profiles,
            requires,
            rules: self.rules,
            openable,
            budgets: self.budgets,
        };
        let maximum = floor.maximum();
        let failures = self.examples.iter().filter_map(|example| match example {
            Example::Submission(example) => example.failure(&maximum),
            Example::Request(example) => {
                let hint = "the floor allows nothing by itself; write the example into a policy";
                let message = "the floor's examples are submissions";
                Some(example.origin.diagnostic(message).with_hint(hint))
            }
        });
        let failed: Vec<_> = failures.collect();
        if failed.is_empty() { Ok(floor) } else { Err(failed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;

    #[test]
    fn what_a_floor_leaves_out_is_as_in_the_built_in_one() {
        let builtin = Floor::builtin().unwrap();
        let text = "name = \"floor\"\n[limits.max]\nmemory_max = \"1 GiB\"\n";
        let floor = Floor::load("floor.toml", text).unwrap();
        assert_eq!(floor.maximum().memory_max, 1 << 30);
        for limit in Limit::ALL.iter().filter(|limit| **limit != Limit::MemoryMax) {
            assert_eq!(floor.maximum().get(*limit), builtin.maximum().get(*limit));
        }
        assert_eq!(floor.allowed_profiles(), builtin.allowed_profiles());
        assert_eq!(floor.exec(), builtin.exec());
        assert_eq!(floor.allowed_workspaces(), builtin.allowed_workspaces());
        assert!(floor.requires().eq(builtin.requires()));
    }

    #[test]
    fn a_floor_has_no_defaults_no_parent_and_no_variables() {
        for text in ["extends = \"x\"", "[limits]\nmemory_max = 1", "[environment]\nA = \"1\""] {
            let refused = Floor::load("floor.toml", &format!("name = \"floor\"\n{text}\n"));
            assert!(refused.unwrap_err().to_string().contains("unknown key"), "{text}");
        }
        assert!(Floor::load("floor.toml", "name = \"default\"").is_err());
    }

    #[test]
    fn a_floor_whose_example_fails_does_not_load() {
        let text = "name = \"floor\"\n[limits.max]\npids_max = 10\n[[expect]]\n\
                    submit = { pids_max = 11 }\nverdict = \"accepted\"\n";
        let failed = Floor::load("floor.toml", text).unwrap_err();
        assert!(failed.to_string().contains("refused for pids_max: 11"), "{failed}");
    }
}
