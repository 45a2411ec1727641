//! `submit`, `status`, `list`, `cancel` and `remove`.

use std::time::Instant;

use comfy_table::Row;
use supervisor_api::{Execution, ExecutionId, State};
use tokio::time;

use crate::backoff::retrying;
use crate::cli::{GlobalOptions, IdOption, ListOptions, StatusOptions, SubmitOptions};
use crate::client::{Client, Page, WAIT_MAX};
use crate::failure::Failure;
use crate::table::{cell, table_of, text};
use crate::{console, samples, submission, summary};

/// Pause between two questions when the daemon answers before the time is up, such as before it
/// restarts.
const PAUSE: time::Duration = time::Duration::from_millis(100);

/// Characters of a command line in a list; the rest of it is in `status --json`.
const COMMAND_SHOWN: usize = 60;

/// `submit`.
pub async fn submit(
    client: &Client,
    options: &SubmitOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let request = submission::request(&options.payload)?;
    let execution = client.submit(&request, !(global.quiet || global.json)).await?;
    if global.json {
        return console::print_json(&execution);
    }
    console::print(&format!("{}\n", execution.id))
}

/// `status`.
pub async fn status(
    client: &Client,
    options: &StatusOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let started = Instant::now();
    let execution = loop {
        let wait = options.wait.unwrap_or(0).saturating_sub(started.elapsed().as_secs());
        let execution = match options.wait {
            // Who waits does not want to hear of a restart of the daemon.
            Some(_) => retrying(async || client.status(options.id, wait).await).await?,
            None => client.status(options.id, 0).await?,
        };
        if execution.state == State::Finished || wait == 0 {
            break execution;
        }
        time::sleep(PAUSE).await;
    };
    if options.samples {
        let list = retrying(async || client.samples(options.id).await).await?;
        return samples::show(&list, global);
    }
    show(&execution, global)
}

/// `cancel`.
pub async fn cancel(
    client: &Client,
    options: &IdOption,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    show(&client.cancel(options.id).await?, global)
}

/// `remove`.
pub async fn remove(
    client: &Client,
    options: &IdOption,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let removed = client.remove(options.id).await?;
    if global.json {
        return console::print_json(&removed);
    }
    if !global.quiet {
        console::notice(&format!("{} is removed\n", removed.id));
    }
    Ok(())
}

/// `list`.
pub async fn list(
    client: &Client,
    options: &ListOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let page =
        Page { limit: options.limit, after: options.after, state: options.state, all: options.all };
    let list = client.list(page).await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let ids = list.executions.iter().map(|execution| format!("{}\n", execution.id));
        return console::print(&ids.collect::<String>());
    }
    console::print(&describe(&list.executions, options.all))?;
    if let Some(next) = list.next {
        console::notice(&format!("more with --after {next}\n"));
    }
    Ok(())
}

/// Waits for the end, over restarts of the daemon.
pub async fn wait_for_end(client: &Client, id: ExecutionId) -> Result<Execution, Failure> {
    loop {
        let execution = retrying(async || client.status(id, WAIT_MAX).await).await?;
        if execution.state == State::Finished {
            return Ok(execution);
        }
        time::sleep(PAUSE).await;
    }
}

/// An execution as it stands.
pub fn show(execution: &Execution, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(execution);
    }
    if global.quiet {
        return console::print(&format!("{}\n", execution.state.name()));
    }
    console::print(&summary::execution(execution, ""))
}

/// A table with one line for each; columns that would be empty are left out.
pub fn describe(executions: &[Execution], all: bool) -> String {
    let labelled = executions.iter().any(|execution| !execution.labels.is_empty());
    let mut header = vec!["ID", "OUTCOME", "CREATED"];
    header.extend(all.then_some("OWNER"));
    header.extend(labelled.then_some("LABELS"));
    header.push("COMMAND");
    let mut rows = table_of(&header);
    for execution in executions {
        let command: String = execution.argv.join(" ").chars().take(COMMAND_SHOWN).collect();
        let mut cells = vec![
            cell(&execution.id.to_string()),
            cell(&summary::short_outcome(execution)),
            cell(&execution.created_at),
        ];
        cells.extend(all.then(|| cell(&execution.owner_uid.to_string())));
        cells.extend(labelled.then(|| cell(&summary::labels(execution))));
        cells.push(cell(&command));
        let mut row = Row::from(cells);
        row.max_height(1);
        rows.add_row(row);
    }
    text(&rows)
}
