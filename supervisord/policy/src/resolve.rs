//! A policy, its parents and the floor become one resolved policy.
//!
//! A child's values replace its parent's. Restrictions add up: a child can forbid execution or name a
//! stricter system-call profile, and it can't undo either; the controls it requires are added to its
//! parent's. The floor bounds what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::check::{Amounts, complete};
use crate::control::Control;
use crate::diagnostic::Diagnostic;
use crate::document::{Document, Sourced};
use crate::egress::check;
use crate::egress::compose::{bounded_budgets, rules, unopenable};
use crate::egress::{ClientOrigins, Egress, RuleSource};
use crate::floor::Floor;
use crate::limit::{Limit, PerLimit};
use crate::name::DEFAULT_IMAGE;
use crate::place::WorkspacePlace;
use crate::policy::Policy;
use crate::profile::SyscallProfile;
use crate::resolved::{Bounded, Resolved};
use crate::root::RootAccess;
use crate::suggest;

/// Parents one above another. A reader has to be able to follow.
const MAX_PARENTS: usize = 8;

/// Bytes of all variables together, names and values: a sixteenth of the 1 MiB that the message
/// which starts a payload can hold. Every child gets a copy of its parent's.
const MAX_ENVIRONMENT: usize = 64 << 10;

/// Resolves one of `policies`. Its examples are still to be run.
pub(crate) fn resolve(
    policy: &Policy,
    policies: &BTreeMap<String, Policy>,
    floor: &Floor,
    clients: &ClientOrigins,
) -> Result<Resolved, Vec<Diagnostic>> {
    let merged = merge(policy, &parents(policy, policies)?)?;
    bound(merged, floor, clients)
}

/// The policies that this one extends, the eldest last.
fn parents<'a>(
    policy: &'a Policy,
    policies: &'a BTreeMap<String, Policy>,
) -> Result<Vec<&'a Policy>, Vec<Diagnostic>> {
    let mut parents: Vec<&Policy> = Vec::new();
    let mut youngest = policy;
    while let Some(Sourced { value: name, origin }) = &youngest.extends {
        let refuse =
            |message: String, hint: &str| Err(vec![origin.diagnostic(message).with_hint(hint)]);
        let line = std::iter::once(policy).chain(parents.iter().copied());
        let names: Vec<_> = line.map(|known| known.name.value.as_str()).collect();
        if names.contains(&name.as_str()) {
            let message = format!("policies extend in a circle: {} → {name}", names.join(" → "));
            return refuse(message, "let one of them stand by itself");
        }
        if parents.len() == MAX_PARENTS {
            let message = format!("a policy has more than {MAX_PARENTS} parents one above another");
            return refuse(message, "extend a policy with fewer parents");
        }
        let Some(found) = policies.get(name) else {
            let nearest = suggest::nearest(name, policies.keys().map(String::as_str));
            let meant = nearest.map(|nearest| format!("did you mean `{nearest}`?"));
            let hint = meant.as_deref().unwrap_or("a parent stands in the same set of files");
            return refuse(format!("there is no policy `{name}` to extend"), hint);
        };
        parents.push(found);
        youngest = found;
    }
    Ok(parents)
}

/// Lays each child over its parent, the eldest first.
fn merge(policy: &Policy, parents: &[&Policy]) -> Result<Policy, Vec<Diagnostic>> {
    let eldest = parents.last().copied().unwrap_or(policy);
    let mut merged = eldest.clone();
    let all = || {
        let implied = eldest.name.origin.implied();
        Control::ALL.iter().map(|control| (*control, implied.clone())).collect()
    };
    merged.requires = merged.requires.or_else(|| Some(all()));
    for child in parents.iter().rev().copied().chain([policy]).skip(1) {
        let loosened = loosened(child, &merged);
        if !loosened.is_empty() {
            return Err(loosened);
        }
        merged = child.clone().over(merged);
    }
    Ok(merged)
}

/// What a child tries to allow though its parent forbids it. Saying so beats ignoring it.
fn loosened(child: &Policy, parent: &Policy) -> Vec<Diagnostic> {
    let mut loosened = Vec::new();
    if let (Some(own), Some(theirs)) = (&child.exec, &parent.exec)
        && own.value
        && !theirs.value
    {
        let message =
            format!("execution is forbidden by {} ({})", theirs.origin.holder(), theirs.origin);
        loosened.push(own.origin.diagnostic(message));
    }
    if let (Some(own), Some(theirs)) = (&child.root, &parent.root)
        && (own.value, theirs.value) == (RootAccess::Writable, RootAccess::ReadOnly)
    {
        let (holder, origin) = (theirs.origin.holder(), &theirs.origin);
        let message = format!("a writable root is forbidden by {holder} ({origin})");
        loosened.push(own.origin.diagnostic(message));
    }
    if let (Some(own), Some(theirs)) = (&child.pseudo_terminals, &parent.pseudo_terminals)
        && own.value
        && !theirs.value
    {
        let (holder, origin) = (theirs.origin.holder(), &theirs.origin);
        let message = format!("pseudo-terminals are forbidden by {holder} ({origin})");
        loosened.push(own.origin.diagnostic(message));
    }
    if let (Some(own), Some(theirs)) = (&child.profile, &parent.profile)
        && own.value.allows_more_than(theirs.value)
    {
        let (holder, origin) = (theirs.origin.holder(), &theirs.origin);
        let message =
            format!("`{}` allows more than `{}` of {holder} ({origin})", own.value, theirs.value);
        loosened.push(own.origin.diagnostic(message));
    }
    if let (Some(own), Some(theirs)) = (&child.warm, &parent.warm)
        && own.value
        && !theirs.value
    {
        let message =
            format!("warm starts are refused by {} ({})", theirs.origin.holder(), theirs.origin);
        loosened.push(own.origin.diagnostic(message));
    }
    let hint = "a policy can only add to its parent's restrictions; deny wins";
    loosened.into_iter().map(|diagnostic| diagnostic.with_hint(hint)).collect()
}

impl Policy {
    /// This policy with what it leaves out taken from its parent.
    fn over(self, parent: Policy) -> Policy {
        let or = |own: &Amounts, theirs: &Amounts| {
            PerLimit::from_fn(|limit| own.at(limit).as_ref().or(theirs.at(limit).as_ref()).cloned())
        };
        let mut environment = parent.environment;
        environment.extend(self.environment);
        let mut rules = parent.rules;
        rules.extend(self.rules);
        let mut bindings = parent.bindings;
        bindings.extend(self.bindings);
        let mut budgets = parent.budgets;
        budgets.extend(self.budgets);
        let mut requires = parent.requires;
        if let Some(controls) = &mut requires {
            for (control, origin) in self.requires.into_iter().flatten() {
                controls.entry(control).or_insert(origin);
            }
        }
        Policy {
            defaults: or(&self.defaults, &parent.defaults),
            maximum: or(&self.maximum, &parent.maximum),
            image: self.image.or(parent.image),
            images: self.images.or(parent.images),
            exec: self.exec.or(parent.exec),
            workspace: self.workspace.or(parent.workspace),
            root: self.root.or(parent.root),
            pseudo_terminals: self.pseudo_terminals.or(parent.pseudo_terminals),
            profile: self.profile.or(parent.profile),
            warm: self.warm.or(parent.warm),
            modules: self.modules.or(parent.modules),
            environment,
            requires,
            rules,
            bindings,
            budgets,
            ..self
        }
    }
}

/// Fills in what follows from the rest, checks the whole and puts the floor beneath it.
fn bound(
    policy: Policy,
    floor: &Floor,
    clients: &ClientOrigins,
) -> Result<Resolved, Vec<Diagnostic>> {
    let missing = missing(&policy);
    let (Ok(defaults), Some(image), Some(exec), Some(profile)) =
        (complete(&policy.defaults), policy.image, policy.exec, policy.profile)
    else {
        return Err(vec![missing]);
    };
    let implied =
        || Sourced { value: WorkspacePlace::default(), origin: policy.name.origin.implied() };
    let exec = if floor.exec.value { exec } else { floor.exec.clone() };
    let root = policy.root.filter(|root| root.value == RootAccess::Writable);
    let workspace = match &root {
        // Where what is written of the image is kept, and counted.
        Some(root) => Sourced { value: WorkspacePlace::Disk, origin: root.origin.clone() },
        None => policy.workspace.unwrap_or_else(implied),
    };
    let maximum = PerLimit::from_fn(|limit| match policy.maximum.at(limit) {
        Some(maximum) => maximum.clone(),
        None => defaults.at(limit).implied(),
    });
    let mut wrong = defaults_above_maximum(&policy.document, &defaults, &maximum);
    wrong.extend(forbidden_profile(&profile, floor));
    wrong.extend(forbidden_place(&workspace, floor));
    let images = policy.images.iter().flat_map(|images| &images.value).chain([&image.value]);
    let is_imported = images.into_iter().any(|image| image != DEFAULT_IMAGE);
    wrong.extend(root.as_ref().and_then(|root| forbidden_root(root, &exec, is_imported)));
    wrong.extend(too_much_environment(&policy.name, &policy.environment));
    wrong.extend(unopenable(&policy.rules, floor));
    let rules = match rules(policy.rules, floor, clients) {
        Ok(rules) => rules,
        Err(found) => {
            wrong.extend(found);
            Vec::new()
        }
    };
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let mut requires = policy.requires.unwrap_or_default();
    for (control, origin) in &floor.requires {
        requires.entry(*control).or_insert_with(|| origin.clone());
    }
    let budgets = bounded_budgets(policy.budgets, &floor.budgets);
    let default = RuleSource::new(None, policy.name.origin.clone());
    let egress = Egress::new(
        rules,
        policy.bindings,
        check::budgets(&budgets),
        floor.openable.value.clone(),
        Arc::new(default),
    );
    Ok(Resolved {
        egress,
        budgets,
        name: policy.name,
        description: policy.description,
        defaults: PerLimit::from_fn(|limit| Bounded::new(limit, &defaults, floor)),
        maximum: PerLimit::from_fn(|limit| Bounded::new(limit, &maximum, floor)),
        image,
        images: policy.images,
        exec,
        workspace,
        root,
        pseudo_terminals: policy.pseudo_terminals,
        environment: policy.environment,
        profile,
        warm: policy.warm,
        modules: policy.modules,
        requires,
    })
}

/// Names everything that a policy without a parent has to set and doesn't.
fn missing(policy: &Policy) -> Diagnostic {
    let limits = complete(&policy.defaults).err().unwrap_or_default();
    let mut keys: Vec<_> = limits.iter().map(|limit| format!("limits.{limit}")).collect();
    for (key, there) in [
        ("filesystem.image", policy.image.is_some()),
        ("filesystem.exec", policy.exec.is_some()),
        ("syscalls.profile", policy.profile.is_some()),
    ] {
        if !there {
            keys.push(key.to_owned());
        }
    }
    let message = format!("not set by this policy or a parent: {}", keys.join(", "));
    let hint = "set them, or write `extends = \"default\"` to take them from there";
    policy.name.origin.diagnostic(message).with_hint(hint)
}

fn defaults_above_maximum(
    child: &Arc<Document>,
    defaults: &PerLimit<Sourced<u64>>,
    maximum: &PerLimit<Sourced<u64>>,
) -> Vec<Diagnostic> {
    let mut wrong = Vec::new();
    for limit in Limit::ALL {
        let (default, maximum) = (defaults.at(*limit), maximum.at(*limit));
        if !limit.exceeds(default.value, maximum.value) {
            continue;
        }
        let message = format!(
            "limits.{limit} is {} ({}) and limits.max.{limit} only {} ({})",
            limit.show(default.value),
            default.origin,
            limit.show(maximum.value),
            maximum.origin,
        );
        // Where only one of the two is in the child's file, that is the one to change.
        let place = if maximum.origin.is_in(child) { maximum } else { default };
        let hint = "what an execution gets unasked can't be above the most it may ask for";
        wrong.push(place.origin.diagnostic(message).with_hint(hint));
    }
    wrong
}

fn forbidden_profile(profile: &Sourced<SyscallProfile>, floor: &Floor) -> Option<Diagnostic> {
    let allowed = &floor.allowed_profiles;
    if allowed.value.contains(&profile.value) {
        return None;
    }
    let names: Vec<_> = allowed.value.iter().map(|profile| profile.as_str()).collect();
    let message = format!("the floor doesn't allow the system-call profile `{}`", profile.value);
    let hint = format!("{} allows: {}", allowed.origin, names.join(", "));
    Some(profile.origin.diagnostic(message).with_hint(hint))
}

fn forbidden_place(workspace: &Sourced<WorkspacePlace>, floor: &Floor) -> Option<Diagnostic> {
    let allowed = &floor.allowed_workspaces;
    if allowed.value.contains(&workspace.value) {
        return None;
    }
    let names: Vec<_> = allowed.value.iter().map(|place| place.as_str()).collect();
    let message = format!("the floor doesn't allow a workspace in `{}`", workspace.value);
    let hint = format!("filesystem.workspace; {} allows: {}", allowed.origin, names.join(", "));
    Some(workspace.origin.diagnostic(message).with_hint(hint))
}

fn forbidden_root(
    root: &Sourced<RootAccess>,
    exec: &Sourced<bool>,
    is_imported: bool,
) -> Option<Diagnostic> {
    if !exec.value {
        let message = "a writable root has programs that can be changed, and `exec` is false";
        let hint = format!("filesystem.exec: {} ({})", exec.origin.holder(), exec.origin);
        return Some(root.origin.diagnostic(message).with_hint(hint));
    }
    if is_imported {
        return None;
    }
    let message = "only of an imported image can the files be changed, and `image` is `default`";
    let hint = "name one in filesystem.image or filesystem.images";
    Some(root.origin.diagnostic(message).with_hint(hint))
}

fn too_much_environment(
    name: &Sourced<String>,
    environment: &BTreeMap<String, Sourced<String>>,
) -> Option<Diagnostic> {
    let bytes: usize = environment.iter().map(|(name, text)| name.len() + text.value.len()).sum();
    let message = format!("the environment has {bytes} bytes and can have {MAX_ENVIRONMENT}");
    (bytes > MAX_ENVIRONMENT).then(|| name.origin.diagnostic(message))
}
