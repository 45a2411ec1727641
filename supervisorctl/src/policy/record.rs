//! `policy replay` and `policy learn`: recorded decisions, read from the audit log's JSON lines.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_policy::egress::{
    Destination, Host, HostName, Protocol, Question, Recorded, Replay, Reversal, Verdict,
};

use crate::cli::{GlobalOptions, LearnOptions, ReplayOptions};
use crate::failure::Failure;
use crate::policy::explain::decision_to_json;
use crate::policy::files::{self, Unloaded};
use crate::{console, exit, local, terminal};

/// Bytes of one line. A record of an older daemon holds a target of 16 KiB, with escapes a few times that.
const MAX_LINE: u64 = 1 << 20;

/// Records that are kept: a few hundred bytes each, so below a gigabyte.
const MAX_RECORDS: usize = 2_000_000;

/// Methods that come without a body, where a record says nothing of one.
const BODILESS: [&str; 4] = ["GET", "HEAD", "OPTIONS", "DELETE"];

/// A record of the kinds `egress` and `dns`, as far as it is needed here.
#[derive(Debug, Deserialize)]
struct Line {
    kind: String,
    session: Option<String>,
    execution: Option<String>,
    policy: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    protocol: Option<String>,
    method: Option<String>,
    path: Option<String>,
    path_bytes: Option<u64>,
    of: Option<String>,
    refused: Option<u64>,
    #[serde(default)]
    websocket: bool,
    body: Option<u64>,
    verdict: Option<String>,
    reason: Option<String>,
}

/// What was read from logs.
#[derive(Debug, Default)]
struct Records {
    list: Vec<Recorded>,
    /// Lines that are no records.
    unreadable: usize,
    /// Refusals that were counted instead of recorded, and decisions on paths of which the log has only the
    /// beginning.
    not_whole: u64,
}

/// `policy replay`.
pub fn replay(options: &ReplayOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let policy = match files::find(&options.subject) {
        Ok(policy) => policy,
        Err(unloaded) => return unloaded.say(global.json),
    };
    let wanted = |line: &Line| options.under.is_none() || line.policy == options.under;
    let records = match read_all(&options.logs, wanted) {
        Ok(records) => records,
        Err(failure) => return Unloaded::Failure(failure).say(global.json),
    };
    let replay = policy.egress().replay(&records.list);
    if global.json {
        let changes: Vec<Value> = replay.changes.iter().map(to_json).collect();
        let unused: Vec<&str> = replay.unused.iter().filter_map(|rule| rule.rule()).collect();
        console::print_json(&json!({
            "replayed": replay.replayed,
            "unreadable": records.unreadable,
            "not_recorded": records.not_whole,
            "changes": changes,
            "unused_rules": unused,
        }))?;
    } else {
        console::print(&describe(&replay))?;
        unreadable(&records);
    }
    Ok(if replay.changes.is_empty() { exit::SUCCESS } else { exit::FAILED })
}

/// `policy learn`.
pub fn learn(options: &LearnOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let policy = match files::find(&options.subject) {
        Ok(policy) => policy,
        Err(unloaded) => return unloaded.say(global.json),
    };
    if !supervisor_policy::is_name(&options.name) {
        let words = format!("{} is not a name of a policy", terminal::name(&options.name));
        return Err(Failure::Usage(words));
    }
    let wanted = |line: &Line| {
        let is =
            |wanted: &Option<String>, known: &Option<String>| wanted.is_none() || wanted == known;
        is(&options.session, &line.session) && is(&options.execution, &line.execution)
    };
    let records = match read_all(&options.logs, wanted) {
        Ok(records) => records,
        Err(failure) => return Unloaded::Failure(failure).say(global.json),
    };
    let learnt = policy.egress().learn(&records.list, &options.name, policy.name());
    if global.json {
        let left_out: Vec<Value> = learnt
            .left_out
            .iter()
            .map(|(question, why)| json!({"request": question.to_string(), "why": why}))
            .collect();
        console::print_json(&json!({
            "policy": learnt.text,
            "rules": learnt.rules,
            "covered": learnt.covered,
            "left_out": left_out,
            "unreadable": records.unreadable,
            "not_recorded": records.not_whole,
        }))?;
    } else {
        console::print_bytes(learnt.text.as_bytes())?;
        if !global.quiet {
            let (rules, covered) = (learnt.rules, learnt.covered);
            let left_out = learnt.left_out.len();
            console::notice(&format!(
                "{rules} rules for {covered} different requests; {left_out} left out\n"
            ));
        }
        unreadable(&records);
    }
    Ok(exit::SUCCESS)
}

/// Reads logs; `wanted` chooses records.
fn read_all(logs: &[PathBuf], wanted: impl Fn(&Line) -> bool) -> Result<Records, Failure> {
    let mut records = Records::default();
    for log in logs {
        let lines = if log == Path::new("-") {
            read(io::stdin().lock(), "standard input", &wanted, &mut records)?
        } else {
            let shown = log.display().to_string();
            read(BufReader::new(local::open(log)?.0), &shown, &wanted, &mut records)?
        };
        if lines > 0 && records.unreadable == lines {
            let shown = log.display();
            return Err(Failure::Negative(format!(
                "{shown} is not an audit log: no line is a record"
            )));
        }
    }
    Ok(records)
}

/// Reads one log; tells how many lines it has.
fn read(
    mut log: impl BufRead,
    shown: &str,
    wanted: impl Fn(&Line) -> bool,
    records: &mut Records,
) -> Result<usize, Failure> {
    let (mut text, mut lines) = (Vec::new(), 0);
    loop {
        text.clear();
        let read = log.by_ref().take(MAX_LINE).read_until(b'\n', &mut text);
        if read.map_err(Failure::local(format!("cannot read {shown}")))? == 0 {
            return Ok(lines);
        }
        lines += 1;
        if text.trim_ascii().is_empty() {
            continue;
        }
        let Ok(line) = serde_json::from_slice::<Line>(&text) else {
            records.unreadable += 1;
            continue;
        };
        // Of what another line has decided: by a rule that allows it, or that asks and somebody said yes; or of
        // what no policy is asked about.
        const UNDECIDED: [&str; 5] =
            ["ended", "approved", "not_a_host_name", "look_up_not_answered", "too_many_names"];
        let decides = line.reason.as_deref().is_none_or(|reason| !UNDECIDED.contains(&reason));
        if line.kind == "suppression" && line.of.as_deref() == Some("traffic") && wanted(&line) {
            records.not_whole = records.not_whole.saturating_add(line.refused.unwrap_or(0));
        }
        if !matches!(line.kind.as_str(), "egress" | "dns") || !decides || !wanted(&line) {
            continue;
        }
        if line.path_bytes.is_some() {
            records.not_whole = records.not_whole.saturating_add(1);
            continue;
        }
        match recorded(&line) {
            Some(decision) if records.list.len() < MAX_RECORDS => records.list.push(decision),
            Some(_) => {
                let words =
                    format!("there are more than {MAX_RECORDS} decisions; choose some of them");
                return Err(Failure::Negative(words));
            }
            None => records.unreadable += 1,
        }
    }
}

fn recorded(line: &Line) -> Option<Recorded> {
    let host = line.host.as_deref()?;
    let question = if line.kind == "dns" {
        Question::LookUp(HostName::parse(host).ok()?)
    } else {
        let protocol = Protocol::from_name(line.protocol.as_deref()?)?;
        let destination = Destination { host: Host::parse(host).ok()?, port: line.port? };
        match (&line.method, &line.path) {
            (Some(method), Some(path)) => {
                let bodiless = BODILESS.contains(&method.as_str()) || line.websocket;
                let body = line.body.or(bodiless.then_some(0));
                let (method, target) = (method.clone(), path.clone());
                let websocket = line.websocket;
                Question::Request { destination, protocol, method, target, websocket, body }
            }
            _ => Question::Connect(destination, protocol),
        }
    };
    Some(Recorded {
        question,
        verdict: Verdict::from_name(line.verdict.as_deref()?)?,
        reason: line.reason.clone().unwrap_or_default(),
        session: line.session.clone().unwrap_or_default(),
    })
}

fn unreadable(records: &Records) {
    if records.unreadable > 0 {
        let count = records.unreadable;
        console::notice(&format!("{count} lines are no decisions that can be read\n"));
    }
    if records.not_whole > 0 {
        let count = records.not_whole;
        console::notice(&format!(
            "{count} decisions are not in the log one by one, or not with their whole path, and are \
             left out\n"
        ));
    }
}

fn to_json(change: &Reversal) -> Value {
    json!({
        "request": change.question.to_string(),
        "recorded": change.recorded.as_str(),
        "now": decision_to_json(&change.now),
        "times": change.times,
        "sessions": change.sessions,
    })
}

fn describe(replay: &Replay) -> String {
    let mut page = String::new();
    for change in &replay.changes {
        let Reversal { question, recorded, now, times, sessions } = change;
        let shown = question.to_string();
        page.push_str(&format!(
            "{}: {recorded} becomes {} by {}\n  {times} times in {}\n",
            terminal::name(&shown),
            now.verdict(),
            terminal::name(&now.rule().to_string()),
            list(sessions),
        ));
    }
    for rule in &replay.unused {
        page.push_str(&format!("never used: {}\n", terminal::name(&rule.to_string())));
    }
    let changed: usize = replay.changes.iter().map(|change| change.times).sum();
    page + &format!("{} decisions replayed, {changed} change\n", replay.replayed)
}

/// The sessions, a few of them by name.
fn list(sessions: &BTreeSet<String>) -> String {
    let named: Vec<_> = sessions
        .iter()
        .filter(|session| !session.is_empty())
        .take(5)
        .map(|session| terminal::name(session))
        .collect();
    match sessions.len().saturating_sub(named.len()) {
        _ if named.is_empty() => "sessions that were not recorded".to_owned(),
        0 => format!("session {}", named.join(", ")),
        more => format!("session {} and {more} more", named.join(", ")),
    }
}
