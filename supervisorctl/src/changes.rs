//! `changes`: what an execution changed in its workspace, and what about it deserves a look.

use supervisor_api::{
    ChangeKind, ChangeSet, ChangeSummary, ChangesState, FileFacts, FileKind, PathChange,
};

use crate::cli::{ChangesOptions, GlobalOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::table::{cell, table, text};
use crate::units::show_size;
use crate::{console, terminal};

/// `changes`.
pub async fn changes(
    client: &Client,
    options: &ChangesOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let set = if options.apply {
        client.apply_changes(options.id).await?
    } else if options.discard {
        client.discard_changes(options.id).await?
    } else {
        client.changes(options.id).await?
    };
    if global.json {
        return console::print_json(&set);
    }
    console::print(&describe(&set, global.quiet))?;
    if !global.quiet {
        console::notice(&closing(&set));
    }
    Ok(())
}

fn describe(set: &ChangeSet, quiet: bool) -> String {
    if quiet {
        let paths = set.changes.iter().map(|each| terminal::name(&each.path).into_owned() + "\n");
        return paths.collect();
    }
    if set.changes.is_empty() {
        return String::new();
    }
    let mut rows = table(&["", "SIZE", "PATH", "HAZARDS"]);
    for change in &set.changes {
        let now = change.after.as_ref().or(change.before.as_ref());
        let size = now.filter(|facts| facts.kind == FileKind::File);
        let size = size.map(|facts| show_size(facts.size)).unwrap_or_default();
        let hazards: Vec<String> = change.hazards.iter().map(|hazard| word(*hazard)).collect();
        rows.add_row([sign(change.change), &size, &shown(change), &hazards.join(", ")].map(cell));
    }
    text(&rows)
}

/// A directory with the slash that tells it from a file, a link with where it leads.
fn shown(change: &PathChange) -> String {
    let facts: Option<&FileFacts> = change.after.as_ref().or(change.before.as_ref());
    match facts {
        Some(FileFacts { kind: FileKind::Directory, .. }) => format!("{}/", change.path),
        Some(FileFacts { target: Some(target), .. }) => format!("{} -> {target}", change.path),
        _ => change.path.clone(),
    }
}

fn sign(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Added => "+",
        ChangeKind::Modified => "~",
        ChangeKind::Deleted => "-",
    }
}

/// A hazard as JSON spells it.
fn word(hazard: supervisor_api::Hazard) -> String {
    let spelt = serde_json::to_value(hazard).ok();
    spelt.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn closing(set: &ChangeSet) -> String {
    let ChangeSummary { added, modified, deleted, hazardous, complete, .. } = set.summary;
    let state = match set.state {
        ChangesState::Recorded => "",
        ChangesState::Held => "; held back: --apply or --discard",
        ChangesState::Applying => "; being applied: --apply goes on with it",
        ChangesState::Applied => "; applied",
        ChangesState::Discarded => "; discarded",
        ChangesState::Gone => "; the copy that held them is gone",
    };
    let mut words = format!(
        "{added} added, {modified} modified, {deleted} deleted; {hazardous} deserve a look{state}\n"
    );
    match (complete, set.unnamed) {
        (true, 0) => {}
        (false, 0) => {
            words.push_str("this is not all: the workspace holds more than is looked at\n")
        }
        // As they were before it ran.
        (true, unnamed) => {
            words.push_str(&format!("{unnamed} more have names that can't be paths here\n"));
        }
        (false, unnamed) => words.push_str(&format!(
            "this is not all: {unnamed} entries have names that can't be paths here\n"
        )),
    }
    words
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(complete: bool, unnamed: u64) -> String {
        let set = json!({
            "execution": "ex-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "session": "se-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "state": "recorded",
            "summary": {"mode": "record", "added": 1, "modified": 0, "deleted": 0, "hazardous": 0,
                        "complete": complete},
            "changes": [],
            "unnamed": unnamed,
        });
        let words = closing(&serde_json::from_value(set).unwrap());
        words.lines().skip(1).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_is_not_told_is_said_with_its_reason() {
        assert_eq!(told(true, 0), "");
        assert!(told(false, 0).contains("holds more than is looked at"));
        assert_eq!(told(true, 2), "2 more have names that can't be paths here");
        assert_eq!(
            told(false, 2),
            "this is not all: 2 entries have names that can't be paths here"
        );
    }
}
