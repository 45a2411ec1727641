//! `audit verify`, `audit query` and `audit key`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::json;
use supervisor_api::{
    AuditFilter, AuditKey, AuditRecord, Chain, Fault, Finding, Head, PublicKey, Report, Verdict,
    Verifier,
};

use crate::cli::{GlobalOptions, KeyOptions, QueryOptions, VerifyOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};
use crate::{console, exit, local, terminal};

/// Where the installed service keeps its state.
const STATE: &str = "/var/lib/supervisord";

/// What says where the log ended at its last checkpoint.
const HEAD: &str = "head";

/// The same once more, in the state directory itself, for a log that was put back from an older copy.
const HEAD_BESIDE: &str = "../audit-head";

/// Bytes of a line at the most; the longest records are some kilobytes.
const MAX_LINE: u64 = 1 << 20;

/// Bytes of the small files beside the log.
const MAX_SMALL: u64 = 4096;

/// Records a page of the daemon's answers; its own bound.
const PAGE: usize = 1000;

/// The files of a log, and what lies beside them.
pub(crate) struct Log {
    files: Vec<PathBuf>,
    beside: PathBuf,
}

/// `audit verify`; the exit status says whether the log is whole.
pub fn verify(options: &VerifyOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let log = Log::find(&options.files, options.state.as_deref())?;
    let trusted = !options.key.is_empty();
    let keys = if trusted { options.key.clone() } else { vec![log.key()?] };
    // Files that were taken elsewhere may be without what lay beside them.
    let (head, without) = match log.head()? {
        None if !options.files.is_empty() => (None, None),
        None => (None, Some(Fault::HeadMissing)),
        Some(text) => match Head::parse(&text) {
            Some(head) => (Some(head), None),
            None => (None, Some(Fault::HeadDamaged)),
        },
    };
    let beside = match (head, options.files.is_empty()) {
        (Some(_), true) => log.small(HEAD_BESIDE)?.and_then(|text| Head::parse(&text)),
        _ => None,
    };
    let beside = beside.filter(|beside| beside.is_signed(&keys));
    // It only says more: a head that is not the daemon's own is told as that.
    let head = match (head, beside) {
        (Some(head), Some(beside)) if head.is_signed(&keys) && beside.seq > head.seq => {
            Some(beside)
        }
        (head, _) => head,
    };
    let mut verifier = Verifier::new(keys.clone(), head);
    for path in &log.files {
        let name = path.display().to_string();
        each_line(path, |number, line| verifier.line(&name, number, line))?;
    }
    let mut report = verifier.finish();
    report.findings.extend(without.map(|fault| {
        let file = log.beside.join(HEAD).display().to_string();
        Finding { fault, file, line: 1, first: 0, last: 0 }
    }));
    if global.json {
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let result = json!({"whole": report.is_whole(), "keys": keys, "report": report});
        console::print_json(&result)?;
    } else {
        for finding in &report.findings {
            console::print(&format!("{}\n", terminal::name(&finding.to_string())))?;
        }
        if !global.quiet {
            console::notice(&describe(&report, trusted));
        }
    }
    Ok(if report.is_whole() { exit::SUCCESS } else { exit::FAILED })
}

/// `audit query`.
pub async fn query(
    client: &Client,
    options: &QueryOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let filter = options.filter();
    let records = if options.files.is_empty() && options.state.is_none() {
        ask(client, &filter, options).await?
    } else {
        search(&Log::find(&options.files, options.state.as_deref())?, &filter, options)?
    };
    if global.json {
        return records.iter().try_for_each(console::print_json);
    }
    if global.quiet {
        let numbers: String = records.iter().map(|record| format!("{}\n", record.seq)).collect();
        return console::print(&numbers);
    }
    console::print(&table_of_records(&records))
}

/// `audit key`.
pub async fn key(
    client: &Client,
    options: &KeyOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let key = match &options.state {
        Some(state) => {
            let public_key = Log::find(&[], Some(state))?.key()?.to_string();
            AuditKey { algorithm: "ed25519".to_owned(), public_key }
        }
        None => client.audit_key().await?,
    };
    if global.json {
        return console::print_json(&key);
    }
    console::print(&format!("{}\n", terminal::name(&key.public_key)))
}

impl Log {
    /// The files named, or those of a state directory, oldest first.
    pub(crate) fn find(files: &[PathBuf], state: Option<&Path>) -> Result<Self, Failure> {
        if let Some(first) = files.first() {
            let beside = first.parent().unwrap_or(Path::new("")).to_owned();
            let mut numbered = Vec::new();
            for path in files {
                numbered.push((first_record(path)?, path.clone()));
            }
            numbered.sort();
            return Ok(Self {
                files: numbered.into_iter().map(|(_, path)| path).collect(),
                beside,
            });
        }
        let beside = state.unwrap_or(Path::new(STATE)).join("audit");
        let shown = beside.display();
        let listing = format!("cannot list {shown}; only root can, or name the log's files");
        let entries = fs::read_dir(&beside).map_err(Failure::local(listing))?;
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Failure::local(format!("cannot list {shown}")))?;
            let name = entry.file_name();
            let name = name.to_str().unwrap_or_default();
            if name.starts_with("audit-") && name.ends_with(".jsonl") {
                files.push(entry.path());
            }
        }
        files.sort();
        if files.is_empty() {
            return Err(Failure::Negative(format!("there is no audit log in {shown}")));
        }
        Ok(Self { files, beside })
    }

    /// The log of a state directory, without its files.
    pub(crate) fn of_state(state: Option<&Path>) -> Self {
        Self { files: Vec::new(), beside: state.unwrap_or(Path::new(STATE)).join("audit") }
    }

    /// Its files, oldest first.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The public key that lies beside it.
    pub(crate) fn key(&self) -> Result<PublicKey, Failure> {
        let path = self.beside.join("key.pub");
        let text = local::text(&path, MAX_SMALL).map_err(|failure| match failure {
            Failure::Local { doing, source } => {
                Failure::Local { doing: format!("{doing}; name a public key with --key"), source }
            }
            other => other,
        })?;
        let bad =
            |error| Failure::Usage(format!("{}: {error}; name one with --key", path.display()));
        text.trim_end().parse().map_err(bad)
    }

    /// Where the log ended at its last checkpoint, as it is written, if that lies beside it.
    fn head(&self) -> Result<Option<String>, Failure> {
        self.small(HEAD)
    }

    /// A small file beside it, if it is there.
    fn small(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.beside.join(name);
        if !path.exists() {
            return Ok(None);
        }
        local::text(&path, MAX_SMALL).map(Some)
    }
}

fn first_record(path: &Path) -> Result<u64, Failure> {
    let mut line = Vec::new();
    let (file, _) = local::open(path)?;
    let read = BufReader::new(file).take(MAX_LINE).read_until(b'\n', &mut line);
    read.map_err(Failure::local(format!("cannot read {}", path.display())))?;
    // One that can't be told comes where the others put it: first, to be found damaged there.
    Ok(Chain::place(&line).map_or(0, |(seq, _)| seq))
}

/// Calls with every line, and its number from 1.
pub(crate) fn each_line(path: &Path, mut each: impl FnMut(u64, &[u8])) -> Result<(), Failure> {
    let (file, _) = local::open(path)?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        if read.map_err(Failure::local(format!("cannot read {}", path.display())))? == 0 {
            break;
        }
        each(number, &line);
    }
    Ok(())
}

/// Asks the daemon, page by page.
async fn ask(
    client: &Client,
    filter: &AuditFilter,
    options: &QueryOptions,
) -> Result<Vec<AuditRecord>, Failure> {
    let (mut records, mut after) = (Vec::new(), options.after);
    while records.len() < options.limit {
        let left = (options.limit - records.len()).min(PAGE);
        let page = client.audit(filter, after, left).await?;
        records.extend(page.records);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    Ok(records)
}

/// Searches files. What is no record is passed over: whether all are is for `verify`.
fn search(
    log: &Log,
    filter: &AuditFilter,
    options: &QueryOptions,
) -> Result<Vec<AuditRecord>, Failure> {
    let mut records = Vec::new();
    for path in &log.files {
        each_line(path, |_, line| {
            let new = Chain::place(line).is_some_and(|(seq, _)| seq > options.after);
            if records.len() < options.limit
                && new
                && let Ok(record) = serde_json::from_slice::<AuditRecord>(line)
                && filter.matches(&record)
            {
                records.push(record);
            }
        })?;
    }
    Ok(records)
}

fn describe(report: &Report, trusted: bool) -> String {
    let Report { records, first, last, checkpoints, signed, findings, more } = report;
    let mut words = format!(
        "{records} whole records, {first} to {last}; {checkpoints} checkpoints, all up to record \
         {signed} signed\n"
    );
    if signed < last {
        let tail = last - signed;
        words.push_str(&format!(
            "the last {tail} are chained and not signed yet: who can write the log could have \
             written them\n"
        ));
    }
    if !trusted {
        words.push_str("checked with the key beside the log; --key takes one you kept elsewhere\n");
    }
    match findings.len() as u64 + more {
        0 => words.push_str("nothing was touched\n"),
        count => words.push_str(&format!("{count} findings\n")),
    }
    words
}

fn table_of_records(records: &[AuditRecord]) -> String {
    let mut rows = table_of(&["RECORD", "TIME", "KIND", "VERDICT", "WHOSE", "WHAT"]);
    for record in records {
        let subject = &record.event.subject;
        let verdict = record.event.what.ruling().map_or("", |ruling| verdict(ruling.verdict));
        let execution = subject.execution.map(|id| id.to_string());
        let whose = execution.or(subject.uid.map(|uid| format!("uid {uid}"))).unwrap_or_default();
        rows.add_row([
            cell(&record.seq.to_string()),
            cell(&record.time),
            cell(record.event.what.kind()),
            cell(verdict),
            cell(&whose),
            cell(&record.event.what.sentence()),
        ]);
    }
    text(&rows)
}

/// A verdict in a word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
        Verdict::Ask => "ask",
    }
}
