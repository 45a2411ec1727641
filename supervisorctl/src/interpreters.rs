//! `interpreter` and `cell`: interpreters are started, given cells, looked at, interrupted and closed.

use std::io::IsTerminal as _;

use supervisor_api::{
    Cell, CellOutcome, CellOutput, CellState, Content, CreateInterpreter, ExecutionId, Interpreter,
    InterpreterState, Language, LimitsRequest, RunCell, SessionId, UniqueMap,
};

use crate::cli::{CellOptions, GlobalOptions, InterpreterCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::table::{cell as column, table_of, text};
use crate::{console, exit, submission, terminal};

/// `interpreter …`.
pub async fn interpreter(
    client: &Client,
    command: &InterpreterCommand,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    match command {
        InterpreterCommand::Create(options) => {
            let request = CreateInterpreter {
                language: options.language,
                env: UniqueMap(options.env.iter().cloned().collect()),
                limits: options.limits.request(),
                idle_timeout: options.idle_timeout,
                labels: UniqueMap(options.labels.iter().cloned().collect()),
            };
            let made = client.create_interpreter(options.session, &request).await?;
            if global.json {
                return console::print_json(&made);
            }
            console::print(&format!("{}\n", made.id))
        }
        InterpreterCommand::List(options) => {
            let list = client.interpreters(options.session).await?;
            if global.json {
                return console::print_json(&list);
            }
            if global.quiet {
                let ids = list.interpreters.iter().map(|each| format!("{}\n", each.id));
                return console::print(&ids.collect::<String>());
            }
            console::print(&table(&list.interpreters))
        }
        InterpreterCommand::Show(options) => {
            show(&client.interpreter(options.session, options.id).await?, global)
        }
        InterpreterCommand::Cells(options) => {
            let list = client.cells(options.session, options.id).await?;
            if global.json {
                return console::print_json(&list);
            }
            let mut rows = table_of(&["CELL", "STATE", "OUTCOME", "TOOK", "SOURCE"]);
            for each in &list.cells {
                rows.add_row(vec![
                    column(&each.number.to_string()),
                    column(&word(&each.state)),
                    column(&each.outcome.map(|outcome| word(&outcome)).unwrap_or_default()),
                    column(&each.took_us.map(took).unwrap_or_default()),
                    column(each.source.lines().next().unwrap_or_default()),
                ]);
            }
            console::print(&text(&rows))
        }
        InterpreterCommand::Interrupt(options) => {
            show(&client.interrupt(options.session, options.id).await?, global)
        }
        InterpreterCommand::Close(options) => {
            let closed = client.close_interpreter(options.session, options.id).await?;
            if global.json { console::print_json(&closed) } else { Ok(()) }
        }
    }
}

/// `cell`; the exit status tells how it ended.
pub async fn cell(
    client: &Client,
    options: &CellOptions,
    global: &GlobalOptions,
) -> Result<u8, Failure> {
    let source = match (&options.code, &options.file) {
        (Some(code), _) => code.clone(),
        (None, Some(file)) => submission::source(file)?,
        (None, None) => return Err(Failure::Usage("give --code or a file".to_owned())),
    };
    let session = options.session;
    let mut interrupts = Interrupts::install()?;
    let id = match options.interpreter {
        Some(id) => id,
        None => choose(client, session, options.language, global).await?,
    };
    let request = RunCell { source, wall_time: options.time, output_bytes: None, wait: false };
    let mut cell = client.run_cell(session, id, &request).await?;
    while cell.state != CellState::Done {
        let ended = client.cell(session, id, cell.number);
        tokio::pin!(ended);
        cell = tokio::select! {
            ended = &mut ended => ended?,
            () = interrupts.next() => {
                client.interrupt(session, id).await?;
                ended.await?
            }
        };
    }
    if global.json {
        console::print_json(&cell)?;
    } else {
        tell(&cell, id, global)?;
    }
    Ok(status(&cell))
}

/// The session's one living interpreter of a language; a new one if there is none, which is said.
async fn choose(
    client: &Client,
    session: SessionId,
    language: Language,
    global: &GlobalOptions,
) -> Result<ExecutionId, Failure> {
    let all = client.interpreters(session).await?.interpreters;
    let lives = |each: &&Interpreter| each.state != InterpreterState::Ended;
    let of_it: Vec<_> = all.iter().filter(|each| each.language == language).collect();
    let living: Vec<_> = of_it.iter().copied().filter(lives).collect();
    match living.as_slice() {
        [one] => Ok(one.id),
        [] => {
            let request = CreateInterpreter {
                language,
                env: UniqueMap::default(),
                limits: LimitsRequest::default(),
                idle_timeout: None,
                labels: UniqueMap::default(),
            };
            let id = client.create_interpreter(session, &request).await?.id;
            let gone = match of_it.last() {
                Some(_) => "; the variables of those that have ended are gone",
                None => "",
            };
            if !global.quiet {
                console::notice(&format!("started interpreter {id}{gone}\n"));
            }
            Ok(id)
        }
        several => {
            let ids: Vec<_> = several.iter().map(|each| each.id.to_string()).collect();
            let words = format!("say which with --interpreter: {}", ids.join(", "));
            Err(Failure::Usage(words))
        }
    }
}

/// What a cell wrote, what it has to show, and what went wrong.
fn tell(cell: &Cell, id: ExecutionId, global: &GlobalOptions) -> Result<(), Failure> {
    let stdout = written(&cell.stdout);
    match std::io::stdout().is_terminal() {
        true => console::print(&terminal::words(&String::from_utf8_lossy(&stdout)))?,
        false => console::print_bytes(&stdout)?,
    }
    let stderr = written(&cell.stderr);
    console::notice(&terminal::words(&String::from_utf8_lossy(&stderr)));
    for result in &cell.results {
        if let Some(plain) = result.data.get("text/plain") {
            console::print(&format!("{}\n", terminal::words(plain)))?;
        }
        let others: Vec<_> = result
            .data
            .keys()
            .filter(|name| *name != "text/plain")
            .map(|name| terminal::name(name))
            .collect();
        if !others.is_empty() && !global.quiet && std::io::stderr().is_terminal() {
            console::notice(&format!("(as {} too: --json has it)\n", others.join(", ")));
        }
    }
    for line in cell.error.iter().flat_map(|error| &error.traceback) {
        console::notice(&format!("{}\n", terminal::words(line)));
    }
    let why = match cell.outcome {
        Some(CellOutcome::TimedOut) => "the cell was out of time",
        Some(CellOutcome::OutputExceeded) => "the cell wrote more than it may",
        Some(CellOutcome::Lost) => "the interpreter has ended, and its variables with it",
        _ => "",
    };
    if !why.is_empty() {
        console::notice(&format!("{why}; see supervisorctl interpreter show\n"));
    }
    for (stream, output) in [("stdout", &cell.stdout), ("stderr", &cell.stderr)] {
        let shown = output.text.as_ref().map_or(0, |text| text.0.len() as u64);
        if output.to - output.from > shown {
            let rest = output.to - output.from - shown;
            let from = output.from + shown;
            console::notice(&format!(
                "({rest} bytes more: supervisorctl output --stream {stream} --offset {from} {id})\n"
            ));
        }
    }
    Ok(())
}

fn written(output: &CellOutput) -> Vec<u8> {
    output.text.clone().map(|Content(bytes)| bytes).unwrap_or_default()
}

/// 0 for a cell that came to its end, or the status of its last command.
fn status(cell: &Cell) -> u8 {
    match cell.outcome {
        Some(CellOutcome::Ok) => cell.exit_status.unwrap_or(exit::SUCCESS),
        Some(CellOutcome::Interrupted) => exit::INTERRUPTED,
        Some(CellOutcome::TimedOut) => exit::TIMED_OUT,
        Some(CellOutcome::Lost | CellOutcome::OutputExceeded) => exit::KILLED,
        Some(CellOutcome::Error) | None => exit::FAILED,
    }
}

fn show(shown: &Interpreter, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(shown);
    }
    if global.quiet {
        return console::print(&format!("{}\n", word(&shown.state)));
    }
    console::print(&table(std::slice::from_ref(shown)))
}

fn table(interpreters: &[Interpreter]) -> String {
    let mut rows = table_of(&["ID", "LANGUAGE", "STATE", "END", "CELLS", "WAITING", "CREATED"]);
    for each in interpreters {
        rows.add_row(vec![
            column(&each.id.to_string()),
            column(&word(&each.language)),
            column(&word(&each.state)),
            column(&each.end.map(|end| word(&end)).unwrap_or_default()),
            column(&each.cells.to_string()),
            column(&each.waiting.to_string()),
            column(&each.created_at),
        ]);
    }
    text(&rows)
}

/// A word as it stands in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).ok();
    value.as_ref().and_then(|value| value.as_str()).unwrap_or_default().to_owned()
}

fn took(microseconds: u64) -> String {
    match microseconds {
        0..1000 => format!("{microseconds} us"),
        _ => crate::units::show_time(microseconds / 1000),
    }
}
