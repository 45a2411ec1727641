//! `policy check` and `policy show`: the policy crate at work without the daemon, on the files that
//! the operator names.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use supervisor_policy::{
    Diagnostic, Diagnostics, Floor, Limit, Limits, MAX_FILE_BYTES, PolicySet, Resolved,
};

use crate::cli::{CheckOptions, GlobalOptions, ShowOptions};
use crate::failure::Failure;
use crate::summary::line;
use crate::table::{cell, table_of, text};
use crate::{console, exit, local, terminal};

/// The file name of the floor in a directory of policies.
const FLOOR_FILE: &str = "floor.toml";

/// The ending of policy files.
const ENDING: &str = "toml";

/// What went wrong on the way to a set of policies.
enum Unloaded {
    /// A file could not be read.
    Failure(Failure),
    /// The files are wrong.
    Diagnostics(Diagnostics),
}

impl From<Failure> for Unloaded {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<Diagnostics> for Unloaded {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// `policy check`; the exit status says whether the files are valid.
pub fn check(options: &CheckOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let mut files = Vec::new();
    for path in &options.files {
        if path.is_dir() { files.extend(files_in(path)?) } else { files.push(path.clone()) }
    }
    let (valid, policies, diagnostics) = match load(&files) {
        Ok(set) => (true, set.iter().map(|policy| policy.name().to_owned()).collect(), None),
        Err(Unloaded::Diagnostics(diagnostics)) => (false, Vec::new(), Some(diagnostics)),
        Err(Unloaded::Failure(failure)) => return Err(failure),
    };
    if global.json {
        let found: Vec<Value> = diagnostics.iter().flatten().map(to_json).collect();
        let result = json!({"valid": valid, "policies": policies, "diagnostics": found});
        console::print_json(&result)?;
    } else if let Some(diagnostics) = &diagnostics {
        console::notice(&format!("{diagnostics}\n"));
    } else if !global.quiet {
        let names: String = policies.iter().map(|name| format!("{name}: valid\n")).collect();
        console::print(&names)?;
    }
    Ok(if valid { exit::SUCCESS } else { exit::FAILED })
}

/// `policy show`.
pub fn show(options: &ShowOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let (set, name) = find(options).map_err(|unloaded| match unloaded {
        Unloaded::Failure(failure) => failure,
        Unloaded::Diagnostics(diagnostics) => Failure::Negative(diagnostics.to_string()),
    })?;
    let Some(policy) = set.resolve(&name) else {
        let shown = terminal::name(&name);
        let nearest = set.nearest(&name).map(|near| format!("; did you mean {near}?"));
        let words = format!("there is no policy {shown}{}", nearest.unwrap_or_default());
        return Err(Failure::Negative(words));
    };
    match (global.json, options.resolved) {
        (true, resolved) => console::print_json(&policy_to_json(policy, resolved)),
        (false, true) => console::print(&policy.show_resolved()),
        (false, false) => console::print(&describe(policy)),
    }
}

/// The set to look in and the name to look for.
fn find(options: &ShowOptions) -> Result<(PolicySet, String), Unloaded> {
    let path = Path::new(&options.policy);
    let is_file = options.policy.contains('/') || path.extension() == Some(OsStr::new(ENDING));
    let mut files = match &options.directory {
        Some(directory) => files_in(directory)?,
        None if is_file => Vec::new(),
        None => return Ok((PolicySet::builtin()?, options.policy.clone())),
    };
    if !is_file {
        return Ok((load(&files)?, options.policy.clone()));
    }
    let Some(name) = path.file_stem().and_then(OsStr::to_str) else {
        let words = format!("{} is not the name of a policy file", options.policy);
        return Err(Failure::Usage(words).into());
    };
    // The named file in place of its namesake.
    files.retain(|file| file.file_name() != path.file_name());
    files.push(path.to_owned());
    Ok((load(&files)?, name.to_owned()))
}

/// Reads files and loads them; a floor among them is the floor.
fn load(files: &[PathBuf]) -> Result<PolicySet, Unloaded> {
    let mut floor = Floor::builtin()?;
    let mut policies = Vec::new();
    for path in files {
        let (file, text) = (path.to_string_lossy().into_owned(), read(path)?);
        if path.file_name() == Some(OsStr::new(FLOOR_FILE)) {
            floor = Floor::load(&file, &text)?;
        } else {
            policies.push((file, text));
        }
    }
    Ok(PolicySet::load(policies, floor)?)
}

fn read(path: &Path) -> Result<String, Failure> {
    local::text(path, MAX_FILE_BYTES as u64)
}

/// The policy files of a directory, in the order of their names.
fn files_in(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let doing = || format!("cannot read the directory {}", directory.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(Failure::local(doing()))? {
        let path = entry.map_err(Failure::local(doing()))?.path();
        if path.extension() == Some(OsStr::new(ENDING)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn to_json(diagnostic: &Diagnostic) -> Value {
    json!({
        "file": diagnostic.file(),
        "line": diagnostic.line(),
        "column": diagnostic.column(),
        "message": diagnostic.message(),
        "hint": diagnostic.hint(),
        "snippet": diagnostic.snippet(),
    })
}

fn policy_to_json(policy: &Resolved, resolved: bool) -> Value {
    let limits = |limits: &Limits| -> Value {
        Limit::ALL.iter().map(|limit| (limit.to_string(), json!(limits.get(*limit)))).collect()
    };
    let environment: Value =
        policy.environment().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut result = json!({
        "name": policy.name(),
        "description": policy.description(),
        "image": policy.image(),
        "exec": policy.exec(),
        "environment": environment,
        "profile": policy.profile().as_str(),
        "defaults": limits(&policy.defaults()),
        "maximum": limits(&policy.maximum()),
        "controls": controls(policy),
    });
    if let (true, Some(fields)) = (resolved, result.as_object_mut()) {
        fields.insert("resolved".to_owned(), json!(policy.show_resolved()));
    }
    result
}

fn describe(policy: &Resolved) -> String {
    let mut page = format!("{}: {}\n", policy.name(), terminal::name(policy.description()));
    line(&mut page, "image", policy.image());
    let exec = if policy.exec() { "allowed" } else { "not allowed" };
    line(&mut page, "exec", &format!("files of the workspace and /tmp: {exec}"));
    line(&mut page, "syscalls", policy.profile().as_str());
    for (name, value) in policy.environment() {
        line(&mut page, "variable", &terminal::name(&format!("{name}={value}")));
    }
    line(&mut page, "requires", &controls(policy).join(", "));
    let (defaults, maximum) = (policy.defaults(), policy.maximum());
    let mut rows = table_of(&["LIMIT", "DEFAULT", "MAXIMUM"]);
    for limit in Limit::ALL {
        let shown = |limits: &Limits| cell(&limit.show(limits.get(*limit)));
        rows.add_row([cell(limit.name()), shown(&defaults), shown(&maximum)]);
    }
    page.push('\n');
    page + &text(&rows)
}

/// The controls that an execution with the default limits needs.
fn controls(policy: &Resolved) -> Vec<&'static str> {
    let controls = policy.required_controls(&policy.defaults());
    controls.into_iter().map(|control| control.as_str()).collect()
}
