//! One policy file, checked by itself: every value has its type, its bounds and its place. What its
//! parent and the floor make of it is for [`crate::resolve`].

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{Amounts, Checker};
use crate::control::Control;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Origin, Sourced};
use crate::egress::check::BudgetsGiven;
use crate::egress::{Binding, Rule};
use crate::example::Example;
use crate::place::WorkspacePlace;
use crate::profile::SyscallProfile;
use crate::raw::{self, RawPolicy};
use crate::root::RootAccess;

/// A checked policy file.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub document: Arc<Document>,
    pub name: Sourced<String>,
    pub description: Option<Sourced<String>>,
    pub extends: Option<Sourced<String>>,
    pub defaults: Amounts,
    pub maximum: Amounts,
    pub image: Option<Sourced<String>>,
    pub images: Option<Sourced<Vec<String>>>,
    pub exec: Option<Sourced<bool>>,
    pub workspace: Option<Sourced<WorkspacePlace>>,
    pub root: Option<Sourced<RootAccess>>,
    pub pseudo_terminals: Option<Sourced<bool>>,
    pub environment: BTreeMap<String, Sourced<String>>,
    pub profile: Option<Sourced<SyscallProfile>>,
    pub warm: Option<Sourced<bool>>,
    pub modules: Option<Sourced<Vec<String>>>,
    pub requires: Option<BTreeMap<Control, Origin>>,
    pub rules: Vec<Rule>,
    pub bindings: Vec<Arc<Binding>>,
    pub budgets: BudgetsGiven,
    pub examples: Vec<Example>,
}

impl Policy {
    /// Reads and checks a file of this stem.
    pub fn read(document: Arc<Document>, stem: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::check(raw::read(&document)?, document, stem)
    }

    fn check(raw: RawPolicy, document: Arc<Document>, stem: &str) -> Result<Self, Vec<Diagnostic>> {
        let mut checker = Checker::new(Arc::clone(&document));
        checker.own_name(&raw.name, stem);
        let (defaults, maximum) = raw.limits.map(|limits| limits.split()).unwrap_or_default();
        let files = raw.filesystem.map(|section| {
            let root = (section.root, section.pseudo_terminals);
            (section.image, section.exec, section.workspace, section.images, root)
        });
        let (image, exec, workspace, images, (root, terminals)) = files.unwrap_or_default();
        let profile = raw.syscalls.and_then(|section| section.profile);
        let warm = raw.warm.map(|section| (section.starts, section.modules));
        let (warm, modules) = warm.unwrap_or_default();
        let controls = raw.requires.and_then(|section| section.controls);
        let policy = Self {
            name: document.sourced(&raw.name, stem.to_owned()),
            description: raw.description.and_then(|text| checker.description(text)),
            extends: raw.extends.and_then(|parent| checker.name(parent)),
            defaults: checker.amounts(&defaults),
            maximum: checker.amounts(&maximum),
            image: image.and_then(|image| checker.image(&image)),
            images: images.map(|list| checker.images(&list)),
            exec: exec.map(|exec| checker.flag(&exec)),
            workspace: workspace.and_then(|place| checker.place(&place)),
            root: root.and_then(|root| checker.root(&root)),
            pseudo_terminals: terminals.map(|terminals| checker.flag(&terminals)),
            environment: checker.environment(raw.environment),
            profile: profile.and_then(|profile| checker.profile(&profile)),
            warm: warm.map(|starts| checker.flag(&starts)),
            modules: modules.map(|list| checker.modules(&list)),
            requires: controls.map(|list| checker.controls(list.get_ref())),
            rules: checker.rules(&raw.egress),
            bindings: checker.bindings(&raw.credential),
            budgets: checker.budgets(raw.budgets.as_ref()),
            examples: checker.examples(&raw.expect),
            document,
        };
        checker.finish(policy)
    }
}
