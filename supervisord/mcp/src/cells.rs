//! Tools on interpreters and their cells.

use rmcp::RoleServer;
use rmcp::model::ContentBlock;
use rmcp::service::RequestContext;
use supervisor_api::{
    Cell, CellError, CellOutcome, CellOutput, CellState, CreateInterpreter, ExecutionId,
    Interpreter, InterpreterState, Language, LimitsRequest, RunCell, SessionId, Stream, UniqueMap,
};

use crate::backoff::Backoff;
use crate::client::{Client, WAIT_MAX};
use crate::failure::Failure;

use crate::arguments::{NewCell, OneInterpreter};
use crate::attended::Work;
use crate::excerpt;
use crate::results::{CellAnswer, Excerpt, Gap};
use crate::runs::stream_words;
use crate::server::Server;
use crate::tools::{Reply, Told};

/// Pictures of one answer, and the most bytes of each in base64.
const PICTURES_MAX: usize = 4;
const PICTURE_TEXT_MAX: usize = 1 << 21;

/// Characters of one value, of a line and of the lines of an error.
const VALUE_MAX: usize = 16 << 10;
const LINE_MAX: usize = 2 << 10;
const LINES_MAX: usize = 40;

/// Values of one answer.
const VALUES_MAX: usize = 16;

/// `run_cell`.
pub async fn run(
    server: &Server,
    arguments: NewCell,
    asked: &RequestContext<RoleServer>,
) -> Result<Reply<CellAnswer>, Failure> {
    let client = &server.client;
    let session = arguments.session;
    let (interpreter, started) = choose(client, &arguments).await?;
    let id = interpreter.id;
    let wall_time = arguments.timeout_seconds.map(|seconds| seconds.saturating_mul(1000));
    let request = RunCell { source: arguments.code, wall_time, output_bytes: None, wait: false };
    let cell = client.run_cell(session, id, &request).await?;
    let work = Work::Cell(session, id, cell.number);
    let ended = end_of(client, session, id, cell.number);
    let cell = server.attended().during(work, Some(cell.wall_time), asked, ended).await?;
    let stdout = excerpt(client, id, Stream::Stdout, &cell.stdout).await?;
    let stderr = excerpt(client, id, Stream::Stderr, &cell.stderr).await?;
    let beside = pictures(&cell);
    let answer = CellAnswer {
        interpreter: id,
        language: interpreter.language,
        started,
        number: cell.number,
        outcome: cell.outcome.unwrap_or(CellOutcome::Lost),
        values: values(&cell),
        error: cell.error.map(shortened),
        exit_status: cell.exit_status,
        stdout,
        stderr,
    };
    let words = words(&answer);
    Ok(Told { beside, ..Told::new(answer, words) }.into())
}

/// `close_interpreter`.
pub async fn close(
    server: &Server,
    arguments: OneInterpreter,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Interpreter>, Failure> {
    let OneInterpreter { session, interpreter } = arguments;
    let ended = server.client.close_interpreter(session, interpreter).await?;
    let words = format!("{interpreter} has ended, and its variables with it");
    Ok(Told::new(ended, words).into())
}

/// The interpreter that is named, or the session's one that lives, or a new one.
async fn choose(client: &Client, cell: &NewCell) -> Result<(Interpreter, bool), Failure> {
    if let Some(id) = cell.interpreter {
        return Ok((client.interpreter(cell.session, id).await?, false));
    }
    let language = cell.language.unwrap_or(Language::Python);
    let mut living = client.interpreters(cell.session).await?.interpreters;
    living.retain(|each| each.language == language && each.state != InterpreterState::Ended);
    match (living.len(), living.pop()) {
        (1, Some(one)) => Ok((one, false)),
        (_, None) => {
            let request = CreateInterpreter {
                language,
                env: UniqueMap::default(),
                limits: LimitsRequest::default(),
                idle_timeout: None,
                labels: UniqueMap::default(),
            };
            Ok((client.create_interpreter(cell.session, &request).await?, true))
        }
        (_, Some(last)) => {
            living.push(last);
            let ids: Vec<_> = living.iter().map(|each| each.id.to_string()).collect();
            Err(Failure::Usage(format!("say which in `interpreter`: {}", ids.join(", "))))
        }
    }
}

/// Waits for the end, over restarts of the daemon.
async fn end_of(
    client: &Client,
    session: SessionId,
    id: ExecutionId,
    number: u64,
) -> Result<Cell, Failure> {
    let mut backoff = Backoff::default();
    loop {
        match client.cell(session, id, number, WAIT_MAX).await {
            Ok(cell) if cell.state == CellState::Done => return Ok(cell),
            Ok(_) if client.is_closing() => return Err(Failure::closing(id)),
            Ok(_) => backoff.reset(),
            Err(failure) => backoff.wait(failure).await?,
        }
    }
}

async fn excerpt(
    client: &Client,
    id: ExecutionId,
    selection: Stream,
    output: &CellOutput,
) -> Result<Excerpt, Failure> {
    let part = Gap { from: output.from, to: output.to };
    excerpt::of_part(client, id, selection, part, output.cut).await
}

fn values(cell: &Cell) -> Vec<String> {
    let texts = cell.results.iter().filter_map(|result| result.data.get("text/plain"));
    texts.take(VALUES_MAX).map(|text| cut(text, VALUE_MAX)).collect()
}

fn pictures(cell: &Cell) -> Vec<ContentBlock> {
    let pictures = cell.results.iter().filter_map(|result| {
        let (name, data) =
            ["image/png", "image/jpeg"].iter().find_map(|name| result.data.get_key_value(*name))?;
        (data.len() <= PICTURE_TEXT_MAX).then(|| ContentBlock::image(data, name))
    });
    pictures.take(PICTURES_MAX).collect()
}

/// The last lines of an error say the most.
fn shortened(error: CellError) -> CellError {
    let left_out = error.traceback.len().saturating_sub(LINES_MAX);
    let lines = error.traceback.iter().skip(left_out).map(|line| cut(line, LINE_MAX));
    CellError {
        name: cut(&error.name, LINE_MAX),
        value: cut(&error.value, VALUE_MAX),
        traceback: lines.collect(),
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}[… cut]", text.get(..end).unwrap_or_default()),
    }
}

fn words(answer: &CellAnswer) -> String {
    let mut words = match answer.started {
        true => format!("a new interpreter, {}, ran this\n", answer.interpreter),
        false => String::new(),
    };
    for (name, stream) in [("stdout", &answer.stdout), ("stderr", &answer.stderr)] {
        stream_words(&mut words, name, stream);
    }
    for value in &answer.values {
        words.push_str(&format!("{value}\n"));
    }
    if let Some(error) = &answer.error {
        for line in &error.traceback {
            words.push_str(&format!("{line}\n"));
        }
    }
    let why = match answer.outcome {
        CellOutcome::Ok => "the cell came to its end",
        CellOutcome::Error => "an error ended the cell; the variables are as it left them",
        CellOutcome::Interrupted => "the cell was interrupted; the variables are as it left them",
        CellOutcome::TimedOut => "the cell was out of time: give it more with timeout_seconds",
        CellOutcome::OutputExceeded => "the cell wrote more than it may",
        CellOutcome::Lost => {
            "the interpreter has ended, and its variables with it; the next cell starts a new one"
        }
    };
    words.push_str(why);
    words
}
