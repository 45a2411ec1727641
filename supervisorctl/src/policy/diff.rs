//! `policy diff`: what changes from one policy to another, in requests and in what may be asked for.

use serde_json::{Value, json};
use supervisor_policy::Resolved;
use supervisor_policy::egress::{Change, Decision, Difference, Verdict};

use crate::cli::{DiffOptions, GlobalOptions, Subject};
use crate::failure::Failure;
use crate::policy::explain::{decision_to_json, treatment_name};
use crate::policy::files;
use crate::units::show_time;
use crate::{console, exit, terminal};

/// `policy diff`.
pub fn diff(options: &DiffOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let find = |policy: &str, directory: &Option<std::path::PathBuf>| {
        files::find(&Subject { policy: policy.to_owned(), directory: directory.clone() })
    };
    let (old, new) = match (
        find(&options.old, &options.old_directory),
        find(&options.new, &options.new_directory),
    ) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(unloaded), _) | (_, Err(unloaded)) => return unloaded.say(global.json),
    };
    let difference = old.egress().difference(new.egress());
    let settings = settings(&old, &new);
    if global.json {
        let changes: Vec<Value> = difference.changes.iter().map(to_json).collect();
        console::print_json(&json!({
            "requests": changes,
            "settings": settings,
            "compared": difference.compared,
            "complete": difference.complete,
        }))?;
    } else {
        console::print(&describe(&difference, &settings))?;
    }
    // What could not be compared may differ.
    let same = difference.changes.is_empty() && settings.is_empty() && difference.complete;
    Ok(if same { exit::SUCCESS } else { exit::FAILED })
}

/// What else changes: limits, controls, files, variables, budgets.
fn settings(old: &Resolved, new: &Resolved) -> Vec<String> {
    let lines = |policy: &Resolved| -> Vec<String> {
        let text = policy.canonical();
        let plain = text.lines().take_while(|line| !line.starts_with("[["));
        // The first line names the form, the second one the policy.
        plain.skip(2).map(str::to_owned).collect()
    };
    let (before, after) = (lines(old), lines(new));
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let come = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    let mut found: Vec<String> = gone.chain(come).collect();
    found.sort_by_key(|line| {
        line.get(2..).unwrap_or_default().split(" = ").next().map(str::to_owned)
    });
    found
}

fn to_json(change: &Change) -> Value {
    let examples: Vec<String> = change.examples.iter().map(ToString::to_string).collect();
    json!({
        "examples": examples,
        "count": change.count,
        "old": decision_to_json(&change.old),
        "new": decision_to_json(&change.new),
        "uses": (uses(&change.old) != uses(&change.new))
            .then(|| json!({ "old": uses(&change.old), "new": uses(&change.new) })),
        "tls": treatments(change).map(|(old, new)| json!({ "old": old, "new": new })),
    })
}

/// The credentials that go into what is decided, each with its place, its placeholder and its budgets.
fn uses(decision: &Decision) -> Vec<String> {
    let bindings = decision.prospect().map(|permit| permit.bindings()).unwrap_or_default();
    let mut uses: Vec<String> = bindings.iter().map(|binding| binding.in_words()).collect();
    uses.sort_unstable();
    uses
}

/// What becomes of TLS, where that is the difference.
fn treatments(change: &Change) -> Option<(&'static str, &'static str)> {
    let (old, new) = (&change.old, &change.new);
    let (before, after) = (old.treatment()?, new.treatment()?);
    (old.verdict() == new.verdict() && before != after)
        .then(|| (treatment_name(before), treatment_name(after)))
}

fn describe(difference: &Difference, settings: &[String]) -> String {
    let mut page = String::new();
    let verdicts = [
        (Verdict::Allow, "Becomes allowed"),
        (Verdict::Ask, "A person becomes asked"),
        (Verdict::Deny, "Becomes denied"),
    ];
    for (verdict, title) in verdicts {
        let becomes =
            |change: &&Change| change.new.verdict() == verdict && change.old.verdict() != verdict;
        section(&mut page, title, difference.changes.iter().filter(becomes));
    }
    let same = |change: &&Change| change.new.verdict() == change.old.verdict();
    let others = |change: &&Change| same(change) && uses(&change.new) != uses(&change.old);
    section(
        &mut page,
        "Gets other credentials, or gets them otherwise",
        difference.changes.iter().filter(others),
    );
    let seen = |change: &&Change| !others(change) && treatments(change).is_some();
    section(&mut page, "TLS is treated otherwise", difference.changes.iter().filter(seen));
    let waits = |change: &&Change| same(change) && !others(change) && !seen(change);
    section(&mut page, "Waits otherwise for a person", difference.changes.iter().filter(waits));
    if !settings.is_empty() {
        page.push_str("Limits and settings:\n");
        for line in settings {
            page.push_str(&format!("  {}\n", terminal::name(line)));
        }
    }
    if page.is_empty() {
        page.push_str("no difference\n");
    }
    let compared = difference.compared;
    page.push_str(&format!(
        "({compared} requests compared, one of each part that the rules cut)\n"
    ));
    if !difference.complete {
        page.push_str("There were more than are compared: this is not all.\n");
    }
    page
}

fn section<'a>(page: &mut String, title: &str, changes: impl Iterator<Item = &'a Change>) {
    for (number, change) in changes.enumerate() {
        if number == 0 {
            page.push_str(&format!("{title}:\n"));
        }
        for example in &change.examples {
            page.push_str(&format!("  {}\n", terminal::name(&example.to_string())));
        }
        let more = change.count.saturating_sub(change.examples.len());
        if more > 0 {
            page.push_str(&format!("  and {more} alike\n"));
        }
        let (before, after) = treatments(change).unzip();
        page.push_str(&format!("    before: {}\n", by(&change.old, before)));
        page.push_str(&format!("    after:  {}\n", by(&change.new, after)));
    }
}

/// Who says so, and what comes with it; what becomes of TLS where that is the difference.
fn by(decision: &Decision, tls: Option<&str>) -> String {
    let rule = decision.rule().to_string();
    let with = match uses(decision).as_slice() {
        [] => String::new(),
        names => format!(" with {}", names.join(", ")),
    };
    let wait = match decision.patience() {
        Some(wait) => format!(", who has {}", show_time(millis(wait))),
        None => String::new(),
    };
    let treatment = tls.map(|treatment| format!(", tls {treatment}")).unwrap_or_default();
    let (verdict, reason) = (decision.verdict(), decision.reason());
    let text = format!("{verdict} by {rule}: {reason}{with}{wait}{treatment}");
    terminal::name(&text).into_owned()
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
