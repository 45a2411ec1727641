//! Tools that run a program, look at it and end it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::RoleServer;
use rmcp::service::RequestContext;
use supervisor_api::{
    ArtifactRequest, Content, Execution, ExecutionId, InputFile, Limit, LimitsRequest, Outcome,
    State, Stream, SubmitRequest, UniqueMap, show_time,
};
use tokio::time;

use crate::backoff::Backoff;
use crate::client::{Client, WAIT_MAX};
use crate::failure::Failure;

use crate::arguments::{NewFile, OneExecution, ReadOutput, Run, Status, StreamName};
use crate::attended::Work;
use crate::results::{Excerpt, Piece, Refusal, RunResult};
use crate::server::Server;
use crate::tools::{Reply, Told};
use crate::{artifacts, excerpt, refusals};

/// How long a client that knows how to ask for what goes on is let wait for it first.
const INLINE: Duration = Duration::from_secs(5);

/// Pause between two questions when the daemon answers before the time is up.
const PAUSE: Duration = Duration::from_millis(100);

/// Refusals that come with a result; `why` has more.
const REFUSALS: usize = 20;

/// `run`.
pub async fn run(
    server: &Server,
    arguments: Run,
    asked: &RequestContext<RoleServer>,
) -> Result<Reply<RunResult>, Failure> {
    let detach = arguments.detach;
    let request = submission(arguments)?;
    let execution = server.client.submit(&request).await?;
    if detach {
        return told(&server.client, &execution).await.map(Reply::Told);
    }
    let tasks = asked.client_capabilities().is_some_and(|client| client.supports_tasks());
    let limit = Some(execution.limits.wall_time);
    let work = Work::Execution(execution.id);
    let attended = server.attended();
    let ended = async {
        let mut ended = std::pin::pin!(end_of(&server.client, execution.id));
        if tasks {
            match time::timeout(INLINE, &mut ended).await {
                Ok(ended) => return ended.map(Some),
                // Of what is handed out to nobody, nobody would ever ask.
                Err(_) if !attended.is_alone() => return Ok(None),
                Err(_) => {}
            }
        }
        ended.await.map(Some)
    };
    match attended.during(work, limit, asked, ended).await? {
        Some(execution) => told(&server.client, &execution).await.map(Reply::Told),
        None => Ok(Reply::GoesOn(Box::new(server.client.status(execution.id, 0).await?))),
    }
}

/// `status`.
pub async fn status(
    server: &Server,
    arguments: Status,
    asked: &RequestContext<RoleServer>,
) -> Result<Reply<RunResult>, Failure> {
    let execution = tokio::select! {
        execution = server.client.status(arguments.execution, arguments.wait_seconds) => execution?,
        () = asked.ct.cancelled() => {
            return Err(Failure::Interrupted("the request was cancelled".to_owned()));
        }
    };
    told(&server.client, &execution).await.map(Reply::Told)
}

/// `cancel`.
pub async fn cancel(
    server: &Server,
    arguments: OneExecution,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<RunResult>, Failure> {
    let execution = server.client.cancel(arguments.execution).await?;
    told(&server.client, &execution).await.map(Reply::Told)
}

/// `read_output`.
pub async fn read_output(
    server: &Server,
    arguments: ReadOutput,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Piece>, Failure> {
    let ReadOutput { execution: id, stream, offset, length } = arguments;
    let output = server.client.status(id, 0).await?.output;
    let (selection, kept) = match stream {
        StreamName::Stdout => (Stream::Stdout, output.stdout.kept),
        StreamName::Stderr => (Stream::Stderr, output.stderr.kept),
    };
    let bytes = match offset < kept {
        true => server.client.output_piece(id, selection, offset, excerpt::length(length)).await?,
        false => Vec::new(),
    };
    let piece = excerpt::piece(bytes, offset, kept);
    Ok(Told::new(piece, format!("{kept} bytes in all; these begin at {offset}")).with_text().into())
}

/// Waits for the end, over restarts of the daemon.
async fn end_of(client: &Client, id: ExecutionId) -> Result<Execution, Failure> {
    let mut backoff = Backoff::default();
    loop {
        match client.status(id, WAIT_MAX).await {
            Ok(execution) if execution.state == State::Finished => return Ok(execution),
            Ok(_) if client.is_closing() => return Err(Failure::closing(id)),
            Ok(_) => {
                backoff.reset();
                time::sleep(PAUSE).await;
            }
            Err(failure) => backoff.wait(failure).await?,
        }
    }
}

fn submission(run: Run) -> Result<SubmitRequest, Failure> {
    let (argv, args) = match &run.code {
        Some(_) => (Vec::new(), run.argv),
        None => (run.argv, Vec::new()),
    };
    match (run.language, &run.code, argv.is_empty()) {
        (Some(_), Some(_), _) | (None, None, false) => {}
        (None, Some(_), _) => {
            let words = "`code` needs `language`: python, bash or node";
            return Err(Failure::Usage(words.to_owned()));
        }
        _ => {
            let words = "give `language` and `code`, or `argv`";
            return Err(Failure::Usage(words.to_owned()));
        }
    }
    let mut limits = LimitsRequest::default();
    if let Some(seconds) = run.timeout_seconds {
        limits.set(Limit::WallTime, seconds.saturating_mul(1000));
    }
    if let Some(bytes) = run.memory_bytes {
        limits.set(Limit::MemoryMax, bytes);
    }
    Ok(SubmitRequest {
        argv,
        language: run.language,
        source: run.code,
        args,
        env: UniqueMap(run.env),
        cwd: run.cwd,
        stdin: run.stdin.map(|text| Content(text.into_bytes())),
        files: run.files.into_iter().map(input_file).collect::<Result<_, _>>()?,
        limits,
        artifacts: ArtifactRequest { globs: run.artifacts },
        session: run.session,
        policy: run.policy,
        image: run.image,
        ..SubmitRequest::default()
    })
}

fn input_file(file: NewFile) -> Result<InputFile, Failure> {
    let content = Content(content(&file.path, file.text, file.base64)?);
    Ok(InputFile { path: file.path, content, executable: file.executable })
}

/// The bytes that are given as text or in base64.
pub fn content(
    path: &str,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Vec<u8>, Failure> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(encoded)) => STANDARD.decode(encoded).map_err(|error| {
            Failure::Usage(format!("what stands for {path} is not base64: {error}"))
        }),
        _ => Err(Failure::Usage(format!("give either `text` or `base64` for {path}"))),
    }
}

/// An execution as a tool tells of it.
pub async fn told(client: &Client, execution: &Execution) -> Result<Told<RunResult>, Failure> {
    let output = &execution.output;
    let stdout = excerpt::of_stream(client, execution.id, Stream::Stdout, output.stdout).await?;
    let stderr = excerpt::of_stream(client, execution.id, Stream::Stderr, output.stderr).await?;
    let finished = execution.state == State::Finished;
    let kept = match finished && (execution.artifact_count > 0 || execution.artifacts_truncated) {
        true => artifacts::kept(client, execution.id).await?,
        false => artifacts::none(),
    };
    let mut refused = refusals::of(client, execution.id).await?.refusals;
    refused.truncate(REFUSALS);
    let result = RunResult {
        execution: execution.id,
        session: execution.session,
        state: execution.state,
        outcome: execution.outcome.clone(),
        summary: summary(execution),
        stdout,
        stderr,
        artifacts: kept.artifacts,
        artifacts_refused: kept.refused,
        refusals: refused,
        policy: execution.policy.name.clone(),
        weaker_controls: weaker(execution),
        usage: execution.usage,
    };
    let words = words(&result);
    let beside = artifacts::links(&result.artifacts);
    let failed = matches!(result.outcome, Some(Outcome::SetupFailed { .. } | Outcome::Lost { .. }));
    Ok(Told { data: result, words, beside, failed })
}

fn summary(execution: &Execution) -> String {
    let how = execution.in_words();
    match &execution.started_at {
        Some(_) => format!("{how} after {}", show_time(execution.usage.wall_ms)),
        None => how,
    }
}

fn weaker(execution: &Execution) -> Vec<String> {
    let weaker = execution.controls.iter().filter(|each| each.status.falls_short());
    weaker.map(|each| each.control.clone()).collect()
}

fn words(result: &RunResult) -> String {
    let mut words = format!("{} {}\n", result.execution, result.summary);
    for (name, stream) in [("stdout", &result.stdout), ("stderr", &result.stderr)] {
        stream_words(&mut words, name, stream);
    }
    for refusal in &result.refusals {
        words.push_str(&refusal_words(refusal));
    }
    for refused in &result.artifacts_refused {
        words.push_str(&format!("not kept: {}: {}\n", refused.path, refused.reason));
    }
    words
}

/// A stream in words, if it holds anything.
pub fn stream_words(words: &mut String, name: &str, stream: &Excerpt) {
    if stream.size > 0 {
        words.push_str(&format!("{name} ({} bytes):\n{}\n", stream.size, stream.text));
    }
    if stream.cut > 0 {
        words.push_str(&format!("{} more bytes of {name} were cut by output_bytes\n", stream.cut));
    }
}

/// A refusal in words.
pub fn refusal_words(refusal: &Refusal) -> String {
    let mut words = format!("{}\n", refusal.what);
    for (name, value) in
        [("rule", &refusal.rule), ("why", &refusal.cause), ("to allow it", &refusal.remedy)]
    {
        if let Some(value) = value {
            words.push_str(&format!("  {name}: {value}\n"));
        }
    }
    words
}

impl Told<Piece> {
    /// The same with the piece's text in the words, for whoever reads no data.
    pub fn with_text(mut self) -> Self {
        if let Some(text) = &self.data.text {
            self.words = match self.data.next_offset {
                Some(next) => {
                    let size = self.data.size;
                    format!("{text}\n[… {size} bytes in all; the next begin at {next}]")
                }
                None => text.clone(),
            };
        }
        self
    }
}
