//! A generation of policies: all the files that hold at one time, resolved. It loads as a whole or
//! not at all, so that a broken file leaves the generation before it in force.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::builtin;
use crate::diagnostic::{Diagnostic, Diagnostics, printable};
use crate::document::Document;
use crate::egress::ClientOrigins;
use crate::floor::{FLOOR, Floor};
use crate::name::{NAME_RULE, is_name};
use crate::policy::Policy;
use crate::resolve::resolve;
use crate::resolved::Resolved;
use crate::suggest;

/// Bytes of one file: ten thousand egress rules, which a generator may write and nobody reads.
pub const MAX_FILE_BYTES: usize = 2 << 20;

/// Files in a set; a host has a handful.
pub const MAX_FILES: usize = 1_000;

/// Bytes of all files together: a thousand files of an ordinary length.
pub const MAX_SET_BYTES: usize = 16 << 20;

/// What is said about a file over [`MAX_FILE_BYTES`].
pub(crate) const TOO_LARGE: &str = "this file is larger than 2 MiB";

/// Resolved policies by name, and the floor beneath them.
#[derive(Debug)]
pub struct PolicySet {
    policies: BTreeMap<String, Arc<Resolved>>,
    floor: Floor,
}

/// An example of a policy's file, and whether it holds.
#[derive(Debug, Clone)]
pub struct Tested {
    /// The policy's name.
    pub policy: String,
    /// What is asked.
    pub example: String,
    /// File and line, as `FILE:LINE`.
    pub place: String,
    /// What is wrong with it, if anything is.
    pub failure: Option<Diagnostic>,
}

impl PolicySet {
    /// The policies that are part of the program, above the built-in floor.
    ///
    /// # Errors
    /// When one of them doesn't load, which the tests of this crate rule out.
    pub fn builtin() -> Result<Self, Diagnostics> {
        Self::load(Self::builtin_files(), Floor::builtin()?)
    }

    /// The files of the policies that are part of the program: names and texts.
    pub fn builtin_files() -> impl Iterator<Item = (String, String)> {
        builtin::POLICIES.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
    }

    /// Loads files, each given as its name (a path will do) and its text. The floor's own file isn't
    /// one of them.
    ///
    /// # Errors
    /// Everything that is wrong with the files: nothing loads unless all is right.
    pub fn load(
        files: impl IntoIterator<Item = (String, String)>,
        floor: Floor,
    ) -> Result<Self, Diagnostics> {
        Self::load_for_clients(files, floor, &ClientOrigins::default())
    }

    /// As [`PolicySet::load`], with where the host's package clients fetch from, for the rules that
    /// name a client in place of hosts.
    ///
    /// # Errors
    /// As [`PolicySet::load`].
    pub fn load_for_clients(
        files: impl IntoIterator<Item = (String, String)>,
        floor: Floor,
        clients: &ClientOrigins,
    ) -> Result<Self, Diagnostics> {
        let (set, examples) = Self::resolve_all(files, floor, clients)?;
        let failures = examples.into_iter().filter_map(|tested| tested.failure);
        let wrong: Vec<_> = failures.collect();
        if wrong.is_empty() { Ok(set) } else { Err(wrong.into()) }
    }

    /// Runs the examples of files, and tells of each whether it holds.
    ///
    /// # Errors
    /// Everything else that is wrong with the files.
    pub fn test(
        files: impl IntoIterator<Item = (String, String)>,
        floor: Floor,
        clients: &ClientOrigins,
    ) -> Result<Vec<Tested>, Diagnostics> {
        Ok(Self::resolve_all(files, floor, clients)?.1)
    }

    fn resolve_all(
        files: impl IntoIterator<Item = (String, String)>,
        floor: Floor,
        clients: &ClientOrigins,
    ) -> Result<(Self, Vec<Tested>), Diagnostics> {
        let read = read(files)?;
        let mut policies = BTreeMap::new();
        let (mut wrong, mut examples) = (Vec::new(), Vec::new());
        for (name, policy) in &read {
            match resolve(policy, &read, &floor, clients) {
                Ok(resolved) => {
                    examples.extend(policy.examples.iter().map(|example| Tested {
                        policy: name.clone(),
                        example: printable(&example.to_string()),
                        place: example.origin().to_string(),
                        failure: example.failure(&resolved, clients),
                    }));
                    policies.insert(name.clone(), Arc::new(resolved));
                }
                Err(found) => wrong.extend(found),
            }
            if Diagnostics::enough(&wrong) {
                break;
            }
        }
        if wrong.is_empty() { Ok((Self { policies, floor }, examples)) } else { Err(wrong.into()) }
    }

    /// The policy of this name. It stays as it is for who holds it, whatever is loaded later.
    pub fn resolve(&self, name: &str) -> Option<&Arc<Resolved>> {
        self.policies.get(name)
    }

    /// Every policy, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Resolved>> {
        self.policies.values()
    }

    /// The name that was probably meant, where there is no policy of this one.
    pub fn nearest(&self, name: &str) -> Option<&str> {
        suggest::nearest(name, self.policies.keys().map(String::as_str))
    }

    /// The floor beneath them.
    pub fn floor(&self) -> &Floor {
        &self.floor
    }
}

/// Reads each file by itself.
fn read(
    files: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, Policy>, Vec<Diagnostic>> {
    let mut policies = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut bytes = 0usize;
    for (index, (file, text)) in files.into_iter().enumerate() {
        bytes = bytes.saturating_add(text.len());
        if index == MAX_FILES || bytes > MAX_SET_BYTES {
            let message = format!("there are more than {MAX_FILES} policy files, or over 16 MiB");
            wrong.push(Diagnostic::whole(&file, message));
            break;
        }
        match read_one(&file, text) {
            Ok(policy) => {
                if let Some(first) = policies.insert(policy.name.value.clone(), policy) {
                    let (name, first) = (&first.name.value, &first.name.origin);
                    let message = format!("the policy `{name}` has another file already: {first}");
                    wrong.push(Diagnostic::whole(&file, message));
                }
            }
            Err(found) => wrong.extend(found),
        }
        if Diagnostics::enough(&wrong) {
            break;
        }
    }
    if wrong.is_empty() { Ok(policies) } else { Err(wrong) }
}

fn read_one(file: &str, text: String) -> Result<Policy, Vec<Diagnostic>> {
    let refuse =
        |message: &str, hint: &str| Err(vec![Diagnostic::whole(file, message).with_hint(hint)]);
    let name = file.rsplit('/').next().unwrap_or_default();
    let Some(stem) = name.strip_suffix(".toml").filter(|stem| is_name(stem)) else {
        return refuse("a policy's file is called NAME.toml", NAME_RULE);
    };
    if stem == FLOOR {
        return refuse("the floor is not a policy", "give the floor's file as the floor");
    }
    if text.len() > MAX_FILE_BYTES {
        return Err(vec![Diagnostic::whole(file, TOO_LARGE)]);
    }
    let holder = format!("policy {stem}");
    Policy::read(Arc::new(Document::new(holder, file.to_owned(), text)), stem)
}
