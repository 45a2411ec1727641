//! Code contexts: interpreters under names that stay when one takes another's place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::body::Body;
use hyper::{Method, StatusCode};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{
    CellOutcome, CellState, CreateInterpreter, ExecutionId, InterpreterState, Language,
    LimitsRequest, RunCell, Session, SessionId, UniqueMap,
};
use tokio::sync::Mutex;

use super::answer::{Kind, Refusal, Reply, empty, json as answer_json};
use super::endpoint::Endpoint;
use super::paths;
use super::request::json as read_json;
use crate::client::Client;
use crate::failure::Failure;

/// The label of a context's interpreter.
const CONTEXT: &str = "e2b:context";

/// What names of the contexts that nobody asked for begin with.
const DEFAULT: &str = "default-";

/// Seconds that an interpreter waits for a cell: it stays as long as its sandbox, or this.
const IDLE: u64 = 86_400;

/// Contexts of a sandbox; the daemon bounds those that live.
const CONTEXTS: usize = 64;

/// The contexts of a sandbox.
#[derive(Default)]
pub struct Contexts {
    all: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Whether those that another process made were looked for.
    recovered: bool,
    contexts: BTreeMap<String, Arc<Context>>,
}

/// A context.
pub struct Context {
    /// Its name.
    pub id: String,
    /// Its language.
    pub language: Language,
    /// Where it works, relative to the workspace.
    cwd: Option<String>,
    /// Held by who runs code in it.
    pub turn: Mutex<Turn>,
}

/// What whoever runs code in a context has to know.
#[derive(Default)]
pub struct Turn {
    /// Its interpreter, once there is one.
    pub interpreter: Option<ExecutionId>,
    /// How much code was run.
    pub runs: u64,
    /// Where the output of the next cell begins.
    pub offset: u64,
    /// Milliseconds that a cell may take.
    pub wall_time: u64,
}

#[derive(Debug, Deserialize)]
struct NewContext {
    language: Option<String>,
    cwd: Option<String>,
}

/// Answers what is asked of contexts.
pub async fn answer(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    method: &Method,
    rest: &[&str],
    body: Body,
) -> Result<Reply, Refusal> {
    let contexts = endpoint.with(session.id, |kept| Arc::clone(&kept.contexts));
    match (method.as_str(), rest) {
        ("GET", []) => {
            let known = contexts.known(endpoint, session.id).await?;
            let told: Vec<Value> = known.values().map(|context| context.told()).collect();
            Ok(answer_json(StatusCode::OK, &told))
        }
        ("POST", []) => {
            let asked: NewContext = read_json(body).await?;
            let language = language(asked.language.as_deref())?;
            let cwd = asked.cwd.as_deref().map(paths::inside).transpose()?.flatten();
            let context = Arc::new(Context::new(made_up()?, language, cwd));
            let mut turn = context.turn.lock().await;
            context.begin(endpoint, session, &mut turn).await?;
            drop(turn);
            contexts.keep(endpoint, session.id, &context).await?;
            Ok(answer_json(StatusCode::OK, &context.told()))
        }
        ("DELETE", [id]) => {
            let context = contexts.named(endpoint, session.id, id).await?;
            context.end(endpoint, session.id).await?;
            contexts.all.lock().await.contexts.remove(&context.id);
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("POST", [id, "restart"]) => {
            let context = contexts.named(endpoint, session.id, id).await?;
            context.end(endpoint, session.id).await?;
            let mut turn = context.turn.lock().await;
            context.begin(endpoint, session, &mut turn).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => Err(Refusal::unimplemented("contexts are made, listed, removed and restarted")),
    }
}

/// The language with a name; Python if there is none.
pub fn language(name: Option<&str>) -> Result<Language, Refusal> {
    match name.map(str::to_ascii_lowercase).as_deref() {
        None | Some("" | "python" | "python3") => Ok(Language::Python),
        Some("javascript" | "js" | "node") => Ok(Language::Node),
        Some("bash" | "sh") => Ok(Language::Bash),
        Some(other) => Err(Refusal::unimplemented(format!(
            "{other:?} is not run here; python, javascript and bash are"
        ))),
    }
}

impl Contexts {
    /// The context that code is to run in.
    pub async fn chosen(
        &self,
        endpoint: &Endpoint,
        session: SessionId,
        id: Option<&str>,
        language_name: Option<&str>,
    ) -> Result<Arc<Context>, Refusal> {
        if let Some(id) = id {
            return self.named(endpoint, session, id).await;
        }
        let language = language(language_name)?;
        let id = format!("{DEFAULT}{}", word(language));
        let known = self.known(endpoint, session).await?;
        if let Some(context) = known.get(&id) {
            return Ok(Arc::clone(context));
        }
        self.keep(endpoint, session, &Arc::new(Context::new(id, language, None))).await
    }

    async fn named(
        &self,
        endpoint: &Endpoint,
        session: SessionId,
        id: &str,
    ) -> Result<Arc<Context>, Refusal> {
        let known = self.known(endpoint, session).await?;
        let missing = || Refusal::new(Kind::NotFound, format!("Context {id} not found"));
        known.get(id).map(Arc::clone).ok_or_else(missing)
    }

    async fn keep(
        &self,
        endpoint: &Endpoint,
        session: SessionId,
        context: &Arc<Context>,
    ) -> Result<Arc<Context>, Refusal> {
        self.known(endpoint, session).await?;
        let mut all = self.all.lock().await;
        if all.contexts.len() >= CONTEXTS {
            return Err(Refusal::new(
                Kind::Busy,
                format!("a sandbox has {CONTEXTS} contexts at the most"),
            ));
        }
        // Two who need the default one at once get the same.
        let kept = all.contexts.entry(context.id.clone()).or_insert_with(|| Arc::clone(context));
        Ok(Arc::clone(kept))
    }

    /// The contexts, with those that were made by a process before this one.
    async fn known(
        &self,
        endpoint: &Endpoint,
        session: SessionId,
    ) -> Result<BTreeMap<String, Arc<Context>>, Refusal> {
        let mut all = self.all.lock().await;
        if !all.recovered {
            let interpreters = endpoint.client.interpreters(session).await?.interpreters;
            for interpreter in interpreters {
                let labels = endpoint.client.status(interpreter.id, 0).await?.labels.0;
                let Some(id) = labels.get(CONTEXT) else { continue };
                if interpreter.state == InterpreterState::Ended {
                    continue;
                }
                let context = Context::new(id.clone(), interpreter.language, None);
                context.take_up(&endpoint.client, session, interpreter.id).await?;
                all.contexts.insert(id.clone(), Arc::new(context));
            }
            all.recovered = true;
        }
        Ok(all.contexts.clone())
    }
}

impl Context {
    fn new(id: String, language: Language, cwd: Option<String>) -> Self {
        Self { id, language, cwd, turn: Mutex::default() }
    }

    fn told(&self) -> Value {
        let cwd = paths::absolute(self.cwd.as_deref().unwrap_or_default());
        json!({"id": self.id, "language": word(self.language), "cwd": cwd})
    }

    /// Sees to it that there is an interpreter.
    pub async fn begin(
        &self,
        endpoint: &Endpoint,
        session: &Session,
        turn: &mut Turn,
    ) -> Result<ExecutionId, Refusal> {
        if let Some(id) = turn.interpreter {
            return Ok(id);
        }
        let client = &endpoint.client;
        let request = CreateInterpreter {
            language: self.language,
            env: UniqueMap(endpoint.variables(session)?),
            limits: LimitsRequest::default(),
            idle_timeout: Some(IDLE),
            labels: UniqueMap(BTreeMap::from([(CONTEXT.to_owned(), self.id.clone())])),
        };
        let id = client.create_interpreter(session.id, &request).await?.id;
        let wall_time = client.status(id, 0).await?.limits.wall_time;
        *turn = Turn { interpreter: Some(id), wall_time, ..Turn::default() };
        if let Some(cwd) = &self.cwd {
            let source = go_to(self.language, &paths::absolute(cwd))?;
            if let Err(refusal) = hidden(client, session.id, id, source, turn).await {
                self.forget(client, session.id, turn).await?;
                return Err(refusal);
            }
        }
        Ok(id)
    }

    async fn take_up(
        &self,
        client: &Client,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<(), Failure> {
        let cells = client.cells(session, id).await?;
        let ended = cells.cells.iter().rfind(|cell| cell.state == CellState::Done);
        let offset = ended.map_or(0, |cell| cell.stdout.to.saturating_add(cell.stderr.to));
        let wall_time = client.status(id, 0).await?.limits.wall_time;
        let runs = ended.map_or(0, |cell| cell.number);
        *self.turn.lock().await = Turn { interpreter: Some(id), runs, offset, wall_time };
        Ok(())
    }

    /// Ends the interpreter, with what runs in it.
    async fn end(&self, endpoint: &Endpoint, session: SessionId) -> Result<(), Refusal> {
        let client = &endpoint.client;
        // Code that runs holds the turn: it is interrupted first, by the end of its interpreter.
        for interpreter in client.interpreters(session).await?.interpreters {
            let labels = client.status(interpreter.id, 0).await?.labels.0;
            if labels.get(CONTEXT) == Some(&self.id) && interpreter.state != InterpreterState::Ended
            {
                client.close_interpreter(session, interpreter.id).await?;
            }
        }
        let mut turn = self.turn.lock().await;
        self.forget(client, session, &mut turn).await
    }

    async fn forget(
        &self,
        client: &Client,
        session: SessionId,
        turn: &mut Turn,
    ) -> Result<(), Refusal> {
        let Some(id) = std::mem::take(turn).interpreter else { return Ok(()) };
        match client.close_interpreter(session, id).await.map_err(Refusal::from) {
            Err(refusal) if !matches!(refusal.kind, Kind::NotFound | Kind::Conflict) => {
                Err(refusal)
            }
            _ => Ok(()),
        }
    }
}

/// Runs a cell that no client asked for and whose output no one is told.
pub async fn hidden(
    client: &Client,
    session: SessionId,
    id: ExecutionId,
    source: String,
    turn: &mut Turn,
) -> Result<(), Refusal> {
    let request = RunCell { source, wall_time: None, output_bytes: None, wait: true };
    let mut cell = client.run_cell(session, id, &request).await?;
    while cell.state != CellState::Done {
        cell = client.cell(session, id, cell.number).await?;
    }
    turn.offset = cell.stdout.to.saturating_add(cell.stderr.to);
    let words = match (cell.outcome, cell.exit_status.unwrap_or(0)) {
        (Some(CellOutcome::Ok), 0) => return Ok(()),
        (Some(CellOutcome::Error), _) => cell.error.map(|error| error.value).unwrap_or_default(),
        (_, status) => format!("it ended with {status}"),
    };
    Err(Refusal::invalid(format!("the context can't be made so: {words}")))
}

fn go_to(language: Language, directory: &str) -> Result<String, Refusal> {
    let quoted = quoted(directory)?;
    Ok(match language {
        Language::Python => format!("__import__('os').chdir({quoted})"),
        Language::Node => format!("process.chdir({quoted})"),
        Language::Bash => format!("cd -- {}", shell_quoted(directory)),
    })
}

/// A string as JSON has it, which Python and JavaScript read alike.
pub fn quoted(text: &str) -> Result<String, Refusal> {
    serde_json::to_string(text).map_err(|error| Refusal::invalid(error.to_string()))
}

/// A string as a shell reads it.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

fn word(language: Language) -> &'static str {
    match language {
        Language::Python => "python",
        Language::Node => "javascript",
        Language::Bash => "bash",
    }
}

fn made_up() -> Result<String, Refusal> {
    let mut bytes = [0; 16];
    let failed = |_| Refusal::new(Kind::Internal, "the kernel gives no random bytes");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
