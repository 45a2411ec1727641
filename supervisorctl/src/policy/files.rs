//! The files that policies are read from, and what went wrong with them.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use supervisor_policy::egress::ClientOrigins;
use supervisor_policy::{Diagnostics, Floor, MAX_FILE_BYTES, PolicySet, Resolved};

use crate::cli::Subject;
use crate::failure::Failure;
use crate::{console, exit, local, terminal};

/// The file name of the floor in a directory of policies.
const FLOOR_FILE: &str = "floor.toml";

/// The file name of what package clients answered.
const CLIENTS_FILE: &str = "clients.toml";

/// The ending of policy files.
const ENDING: &str = "toml";

/// What went wrong on the way to a set of policies.
pub enum Unloaded {
    /// A file could not be read.
    Failure(Failure),
    /// The files are wrong.
    Diagnostics(Diagnostics),
}

/// Files, read.
pub struct Sources {
    /// File names and texts.
    pub policies: Vec<(String, String)>,
    /// The floor beneath them.
    pub floor: Floor,
    /// Where package clients fetch from.
    pub clients: ClientOrigins,
    /// Names of built-in policies that were not named, and are there to be extended.
    pub lent: BTreeSet<String>,
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

impl Unloaded {
    /// As a failure, for commands that say no more than that.
    pub fn into_failure(self) -> Failure {
        match self {
            Unloaded::Failure(failure) => failure,
            Unloaded::Diagnostics(diagnostics) => Failure::Negative(diagnostics.to_string()),
        }
    }

    /// Says it; the exit status is the one of bad input.
    pub fn say(self, json: bool) -> Result<u8, Failure> {
        let failure = self.into_failure();
        console::failure(&failure);
        if json {
            console::print_json(&failure.to_json())?;
        }
        Ok(exit::BAD_INPUT)
    }
}

impl Sources {
    /// Adds the built-in policies but those of which there is a file.
    fn lend(&mut self) {
        let stem = |file: &str| Path::new(file).file_stem().map(OsStr::to_os_string);
        let own: Vec<_> = self.policies.iter().filter_map(|(file, _)| stem(file)).collect();
        for (file, text) in PolicySet::builtin_files() {
            match stem(&file) {
                Some(name) if !own.contains(&name) => {
                    self.lent.insert(name.to_string_lossy().into_owned());
                    self.policies.push((file, text));
                }
                Some(_) | None => {}
            }
        }
    }

    /// Loads all of them.
    pub fn load(self) -> Result<PolicySet, Unloaded> {
        Ok(PolicySet::load_for_clients(self.policies, self.floor, &self.clients)?)
    }
}

/// The policy that is meant.
pub fn find(subject: &Subject) -> Result<Arc<Resolved>, Unloaded> {
    let path = Path::new(&subject.policy);
    let is_file = subject.policy.contains('/') || path.extension() == Some(OsStr::new(ENDING));
    let mut files = match &subject.directory {
        Some(directory) => files_in(directory)?,
        None => Vec::new(),
    };
    if !is_file {
        let set = match &subject.directory {
            Some(_) => read(&files)?.load()?,
            None => PolicySet::builtin()?,
        };
        return pick(&set, &subject.policy);
    }
    let Some(name) = path.file_stem().and_then(OsStr::to_str) else {
        let words = format!("{} is not the name of a policy file", subject.policy);
        return Err(Failure::Usage(words).into());
    };
    // The named file in place of its namesake.
    files.retain(|file| file.file_name() != path.file_name());
    files.push(path.to_owned());
    let mut sources = read(&files)?;
    if subject.directory.is_none() {
        sources.lend();
    }
    pick(&sources.load()?, name)
}

fn pick(set: &PolicySet, name: &str) -> Result<Arc<Resolved>, Unloaded> {
    set.resolve(name).cloned().ok_or_else(|| {
        let shown = terminal::name(name);
        let nearest = set.nearest(name).map(|near| format!("; did you mean {near}?"));
        let words = format!("there is no policy {shown}{}", nearest.unwrap_or_default());
        Unloaded::Failure(Failure::Negative(words))
    })
}

/// Reads what was named: files, and the policy files of directories. A directory, a floor or a file in place
/// of a built-in policy makes it a set that has to be complete, as a daemon loads it; other files by
/// themselves may extend built-in policies.
pub fn read_all(named: &[PathBuf]) -> Result<Sources, Unloaded> {
    let stem = |path: &Path| path.file_stem().map(OsStr::to_os_string);
    let built_in: Vec<_> =
        PolicySet::builtin_files().filter_map(|(file, _)| stem(Path::new(&file))).collect();
    let (mut files, mut complete) = (Vec::new(), false);
    for path in named {
        complete |= path.is_dir()
            || path.file_name() == Some(OsStr::new(FLOOR_FILE))
            || stem(path).is_some_and(|name| built_in.contains(&name));
        if path.is_dir() { files.extend(files_in(path)?) } else { files.push(path.clone()) }
    }
    let mut sources = read(&files)?;
    if !complete {
        sources.lend();
    }
    Ok(sources)
}

/// Reads files; a floor among them is the floor, and clients' answers are theirs.
fn read(files: &[PathBuf]) -> Result<Sources, Unloaded> {
    let (floor, clients) = (Floor::builtin()?, ClientOrigins::default());
    let mut sources = Sources { policies: Vec::new(), floor, clients, lent: BTreeSet::new() };
    for path in files {
        let file = path.to_string_lossy().into_owned();
        let text = local::text(path, MAX_FILE_BYTES as u64)?;
        match path.file_name().and_then(OsStr::to_str) {
            Some(FLOOR_FILE) => sources.floor = Floor::load(&file, &text)?,
            Some(CLIENTS_FILE) => sources.clients = ClientOrigins::load(&file, &text)?,
            _ => sources.policies.push((file, text)),
        }
    }
    Ok(sources)
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
