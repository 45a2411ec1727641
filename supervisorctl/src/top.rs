//! `top`: what runs and what it uses, drawn anew every few seconds.

use std::collections::HashMap;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use comfy_table::Row;
use serde::Serialize;
use supervisor_api::{ExecutionId, Stall, Top, TopLine};
use tokio::time;

use crate::backoff::retrying;
use crate::cli::{GlobalOptions, TopOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::table::{cell, table_of, text};
use crate::{console, units};

/// Between the two looks that it takes to tell how much CPU is in use.
const FIRST: Duration = Duration::from_millis(500);

/// The shortest time between two looks; the daemon reads no more often than five times a second.
const SHORTEST: Duration = Duration::from_millis(250);

/// Cursor to the upper left corner, and everything after it gone (ECMA-48: CUP, ED).
const REDRAW: &str = "\x1b[H\x1b[J";

/// CPU time in microseconds and when it was read, by execution.
type Before = HashMap<ExecutionId, (u64, u64)>;

/// A line with what only two readings tell.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    line: &'a TopLine,
    /// CPU in use in percent of one core, since the reading before.
    cpu_percent: Option<f64>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Page<'a> {
    executions: Vec<Shown<'a>>,
    waiting: u64,
    parked: u64,
    parked_memory: u64,
}

/// `top`.
pub async fn top(
    client: &Client,
    options: &TopOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let live = stdout().is_terminal() && !global.json;
    let once = options.once || !(live || global.json);
    let mut interrupts = Interrupts::install()?;
    let mut before = remember(&client.top().await?);
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = interrupts.next() => return Ok(()),
            () = time::sleep(pause) => {}
        }
        let top = retrying(async || client.top().await).await?;
        let page = page(&top, &before);
        if global.json {
            console::print_json(&page)?;
        } else {
            let redraw = if live && !once { REDRAW } else { "" };
            console::print(&format!("{redraw}{}", describe(&page)))?;
        }
        if once {
            return Ok(());
        }
        before = remember(&top);
        pause = Duration::from_millis(options.interval).max(SHORTEST);
    }
}

fn remember(top: &Top) -> Before {
    let known =
        top.executions.iter().filter_map(|line| Some((line.id, (line.cpu_us?, line.read_at_us))));
    known.collect()
}

fn page<'a>(top: &'a Top, before: &Before) -> Page<'a> {
    let shown = |line: &'a TopLine| Shown { line, cpu_percent: cpu_percent(line, before) };
    let Top { waiting, parked, parked_memory, .. } = *top;
    Page { executions: top.executions.iter().map(shown).collect(), waiting, parked, parked_memory }
}

/// Nothing for what was not there before, or when another daemon counted then.
fn cpu_percent(line: &TopLine, before: &Before) -> Option<f64> {
    let (cpu, when) = before.get(&line.id)?;
    let used = line.cpu_us?.checked_sub(*cpu)?;
    let passed = line.read_at_us.checked_sub(*when).filter(|passed| *passed > 0)?;
    Some((used as f64 * 1000.0 / passed as f64).round() / 10.0)
}

fn describe(page: &Page<'_>) -> String {
    let header = [
        "ID", "OWNER", "POLICY", "STATE", "CPU", "MEMORY", "PIDS", "PSI CPU", "PSI MEM", "PSI IO",
        "OUTPUT", "CONNS", "SENT", "RECEIVED", "REQUESTS", "REFUSED", "COMMAND",
    ];
    let mut rows = table_of(&header);
    for Shown { line, cpu_percent } in &page.executions {
        let number =
            |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
        let size = |bytes: Option<u64>| bytes.map_or("-".to_owned(), units::show_size);
        let mut row = Row::from(vec![
            cell(&line.id.to_string()),
            cell(&line.owner_uid.to_string()),
            cell(&line.policy),
            cell(line.state.name()),
            cell(&cpu_percent.map_or("-".to_owned(), |percent| format!("{percent:.1} %"))),
            cell(&size(line.memory)),
            cell(&number(line.pids)),
            cell(&stall(line.pressure.cpu)),
            cell(&stall(line.pressure.memory)),
            cell(&stall(line.pressure.io)),
            cell(&size(Some(line.output_bytes))),
            cell(&number(line.egress.map(|egress| egress.connections))),
            cell(&size(line.egress.map(|egress| egress.bytes_out))),
            cell(&size(line.egress.map(|egress| egress.bytes_in))),
            cell(&number(line.egress.map(|egress| egress.requests))),
            cell(&number(line.egress.map(|egress| egress.refused))),
            cell(&line.command),
        ]);
        row.max_height(1);
        rows.add_row(row);
    }
    let running = page.executions.len();
    let parked = match page.parked {
        0 => String::new(),
        parked => format!(", {parked} parked ({})", units::show_size(page.parked_memory)),
    };
    format!("{running} running, {} waiting{parked}\n\n{}", page.waiting, text(&rows))
}

/// Shares of the last ten seconds, some and full.
fn stall(stall: Option<Stall>) -> String {
    match stall {
        Some(Stall { some, full: Some(full) }) => format!("{some:.1}/{full:.1}"),
        Some(Stall { some, full: None }) => format!("{some:.1}"),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use supervisor_api::{Pressure, SessionId, State, TopEgress};

    use super::*;

    fn line(cpu_us: Option<u64>, read_at_us: u64) -> TopLine {
        TopLine {
            id: ExecutionId::from_bits(1),
            session: SessionId::from_bits(2),
            owner_uid: 2001,
            policy: "default".to_owned(),
            state: State::Running,
            started_at: None,
            read_at_us,
            cpu_us,
            memory: Some(3 << 20),
            memory_max: 1 << 30,
            pids: None,
            pressure: Pressure::default(),
            output_bytes: 5,
            egress: Some(TopEgress { refused: 4711, ..TopEgress::default() }),
            command: "sh\x1b[2J".to_owned(),
        }
    }

    fn of(lines: Vec<TopLine>) -> Top {
        Top { executions: lines, waiting: 7, parked: 2, parked_memory: 5 << 20 }
    }

    #[test]
    fn cpu_in_use_is_told_between_two_readings_of_one_daemon() {
        let before = remember(&of(vec![line(Some(1_000_000), 1_000_000)]));
        assert_eq!(cpu_percent(&line(Some(1_500_000), 2_000_000), &before), Some(50.0));
        assert_eq!(cpu_percent(&line(Some(4_000_000), 2_000_000), &before), Some(300.0));
        assert_eq!(cpu_percent(&line(Some(5), 10), &before), None, "another daemon's clock");
        assert_eq!(cpu_percent(&line(None, 2_000_000), &before), None);
        assert_eq!(cpu_percent(&line(Some(1), 1), &Before::new()), None);
    }

    #[test]
    fn a_page_shows_what_is_known_and_obeys_nobody() {
        let top = of(vec![line(Some(0), 1)]);
        let text = describe(&page(&top, &Before::new()));
        for words in [
            "1 running, 7 waiting, 2 parked (5.0 MiB)",
            "3.0 MiB",
            "5 B",
            "default",
            "2001",
            "4711",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("\x1b[2J"), "{text:?}");
        let json = serde_json::to_value(page(&top, &Before::new())).expect("JSON");
        assert_eq!(json["executions"][0]["owner_uid"], 2001);
        assert!(json["executions"][0]["cpu_percent"].is_null());
    }
}
