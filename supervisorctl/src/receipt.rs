//! `receipt get` and `receipt verify`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use supervisor_api::{
    ARTIFACTS, AuditRecord, Decisions, DecisionsRoot, Digest32, Envelope, ExecutionId, FieldChange,
    STDERR, STDOUT, Statement,
};

use crate::audit::{Log, each_line};
use crate::cli::{GlobalOptions, VerifyReceipt};
use crate::client::Client;
use crate::failure::Failure;
use crate::{console, exit, local, terminal};

/// Bytes of a receipt at the most. Arguments are a megabyte at the most; ten thousand artifacts and
/// inputs take two more.
const MAX_RECEIPT: u64 = 16 << 20;

/// One thing that was compared.
#[derive(Debug, Serialize)]
struct Compared {
    /// What.
    what: String,
    /// What the receipt says; nothing if it knows of none.
    receipt: Option<String>,
    /// What was found; nothing if there is none.
    found: Option<String>,
}

/// `receipt get`.
pub async fn get(client: &Client, id: ExecutionId) -> Result<(), Failure> {
    console::print_json(&client.receipt(id).await?)
}

/// `receipt verify`; the exit status says whether it is to be believed and nothing differs.
pub fn verify(options: &VerifyReceipt, global: &GlobalOptions) -> Result<u8, Failure> {
    let envelope = read(&options.file)?;
    let keys = match options.key.as_slice() {
        [] => vec![Log::of_state(options.state.as_deref()).key()?],
        keys => keys.to_vec(),
    };
    let opened = envelope.open(&keys);
    // What an unsigned one says is looked at all the same, to tell what was changed in it.
    let statement = opened.as_ref().ok().cloned().or_else(|| envelope.look());
    let changes = envelope.changes(&keys);
    let compared = match &statement {
        Some(statement) => compare(statement, options)?,
        None => Vec::new(),
    };
    let differs = compared.iter().any(|each| each.receipt != each.found);
    let valid = opened.is_ok() && !differs;
    if global.json {
        let problem = opened.as_ref().err().map(ToString::to_string);
        let result = json!({
            "valid": valid, "problem": problem, "changed": changes, "compared": compared, "statement": statement,
        });
        console::print_json(&result)?;
    } else {
        if let Err(problem) = &opened {
            console::print(&format!("the receipt is not to be believed: {problem}\n"))?;
            console::print(&changed(changes.as_deref()))?;
        }
        compared.iter().filter(|each| each.receipt != each.found).try_for_each(tell)?;
        if let (Ok(statement), false) = (&opened, global.quiet) {
            console::notice(&summary(statement, &compared));
        }
    }
    Ok(if valid { exit::SUCCESS } else { exit::FAILED })
}

/// What was changed in it, a line each.
fn changed(changes: Option<&[FieldChange]>) -> String {
    let line = |change: &FieldChange| match change {
        FieldChange::Changed(name) => format!("{} was changed\n", terminal::name(name)),
        FieldChange::Missing(name) => format!("{} is missing\n", terminal::name(name)),
        FieldChange::Added(name) => format!("{} was added\n", terminal::name(name)),
    };
    match changes {
        None => "which of its fields was changed can't be told\n".to_owned(),
        Some([]) => "every field of its statement says what was signed\n".to_owned(),
        Some(changes) => changes.iter().map(line).collect(),
    }
}

fn read(file: &Path) -> Result<Envelope, Failure> {
    let shown = file.display().to_string();
    let bytes = if file == Path::new("-") {
        local::read(io::stdin().lock(), MAX_RECEIPT, "standard input")?
    } else {
        local::read(local::open(file)?.0, MAX_RECEIPT, &shown)?
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::Negative(format!("{shown} is no receipt: {error}")))
}

fn compare(statement: &Statement, options: &VerifyReceipt) -> Result<Vec<Compared>, Failure> {
    let subjects = || statement.subject.iter();
    let subject = |name: &str| {
        subjects().find(|it| it.name == name).and_then(|it| it.digest.get("sha256").cloned())
    };
    let mut compared = Vec::new();
    for (name, file) in [(STDOUT, &options.stdout), (STDERR, &options.stderr)] {
        if let Some(file) = file {
            let found = Some(digest(file)?);
            compared.push(Compared { what: name.to_owned(), receipt: subject(name), found });
        }
    }
    if let Some(directory) = &options.artifacts {
        let names = subjects().filter_map(|it| it.name.strip_prefix(ARTIFACTS));
        let mut found = saved(directory, Path::new(""))?;
        for name in names {
            let what = format!("{ARTIFACTS}{name}");
            compared.push(Compared {
                receipt: subject(&what),
                found: found.remove(name).map(|file| digest(&file)).transpose()?,
                what,
            });
        }
        for (name, file) in found {
            let what = format!("{ARTIFACTS}{name}");
            compared.push(Compared { what, receipt: None, found: Some(digest(&file)?) });
        }
    }
    let inputs = &statement.predicate.inputs.files;
    for (path, file) in &options.inputs {
        let receipt = inputs.iter().find(|it| it.path == *path).map(|it| it.sha256.clone());
        let what = format!("input {path}");
        compared.push(Compared { what, receipt, found: Some(digest(file)?) });
    }
    if !options.audit.is_empty() {
        compared.push(decisions(statement, &options.audit)?);
    }
    Ok(compared)
}

/// The regular files beneath a directory, by their path in it.
fn saved(directory: &Path, beneath: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let mut files = BTreeMap::new();
    let place = directory.join(beneath);
    let failed = || Failure::local(format!("cannot list {}", place.display()));
    for entry in place.read_dir().map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let path = beneath.join(entry.file_name());
        let kind = entry.file_type().map_err(failed())?;
        if kind.is_dir() {
            files.extend(saved(directory, &path)?);
        } else if kind.is_file() {
            files.insert(path.to_string_lossy().into_owned(), directory.join(path));
        }
    }
    Ok(files)
}

fn decisions(statement: &Statement, files: &[PathBuf]) -> Result<Compared, Failure> {
    let log = Log::find(files, None)?;
    let mut root = DecisionsRoot::new(statement.predicate.execution);
    for path in log.files() {
        each_line(path, |_, line| {
            if let Ok(record) = serde_json::from_slice::<AuditRecord>(line) {
                root.take(&record);
            }
        })?;
    }
    let say = |it: &Decisions| {
        let Decisions { root, records, allowed, denied, credential_uses } = it;
        let uses: u64 = credential_uses.values().sum();
        format!(
            "{root} over {records} records, {allowed} allowed, {denied} denied, {uses} with a credential"
        )
    };
    Ok(Compared {
        what: "decisions".to_owned(),
        receipt: statement.predicate.decisions.as_ref().map(say),
        found: root.finish().as_ref().map(say),
    })
}

/// SHA-256 of a file, in hexadecimal.
fn digest(path: &Path) -> Result<String, Failure> {
    let (mut file, _) = local::open(path)?;
    let mut digest = Sha256::new();
    let failed = Failure::local(format!("cannot read {}", path.display()));
    io::copy(&mut file, &mut Hashed(&mut digest)).map_err(failed)?;
    Ok(Digest32(digest.finalize().into()).to_string())
}

/// Writes into a digest.
struct Hashed<'a>(&'a mut Sha256);

impl io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tell(each: &Compared) -> Result<(), Failure> {
    let what = terminal::name(&each.what);
    let line = match (&each.receipt, &each.found) {
        (Some(receipt), Some(found)) => {
            let receipt = terminal::name(receipt);
            format!("{what} differs: the receipt says {receipt}, found {found}")
        }
        (Some(_), None) => format!("{what} is missing"),
        (None, _) => format!("{what}: the receipt knows of none"),
    };
    console::print(&format!("{line}\n"))
}

fn summary(statement: &Statement, compared: &[Compared]) -> String {
    let predicate = &statement.predicate;
    let same = compared.iter().filter(|each| each.receipt == each.found).count();
    format!(
        "signed: {} of uid {} ended {} at {}; {same} of {} compared things are the same",
        predicate.execution,
        predicate.owner_uid,
        predicate.outcome.name(),
        terminal::name(&predicate.finished_at),
        compared.len(),
    )
}
