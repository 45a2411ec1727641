//! Following the files of a directory: as a stream, or by asking now and then.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::body::Body;
use hyper::{HeaderMap, StatusCode};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{FileChange, FileChangeKind, FileKind, Session, SessionId};
use tokio::task::JoinHandle;
use tokio::time::{self, MissedTickBehavior};

use super::answer::{Kind, Pieces, Refusal, Reply, json as answer_json, streamed};
use super::connect;
use super::endpoint::Endpoint;
use super::paths;
use super::request::{field, json as read_json, only_message};
use crate::backoff::Backoff;
use crate::client::Client;
use crate::connection::Answer;
use crate::reader::{Lines, next_of};

/// Seconds between two signs of life in a stream, where a client asks for none.
const KEEPALIVE: u64 = 50;

/// Changes that wait for a client that doesn't ask.
const WAITING: usize = 4096;

/// What asks now and then, of one sandbox.
const WATCHERS: usize = 16;

/// What follows the files of a sandbox and waits to be asked, by its id.
pub type Watchers = HashMap<String, Watcher>;

/// One of them. Dropped, it follows no more.
pub struct Watcher {
    waiting: Arc<Mutex<Waiting>>,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What has happened and was not asked for yet.
#[derive(Default)]
struct Waiting {
    changes: VecDeque<Value>,
    /// Why there is no more to come, or something is missing.
    failed: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Watch {
    #[serde(default)]
    path: String,
    #[serde(default)]
    recursive: bool,
}

#[derive(Debug, Deserialize)]
struct OneWatcher {
    #[serde(alias = "watcher_id", rename = "watcherId")]
    id: String,
}

/// Tells changes as they come.
pub async fn stream(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    headers: &HeaderMap,
    body: Body,
) -> Result<Reply, Refusal> {
    let asked: Watch = only_message(body).await?;
    let asked_keepalive =
        field(headers, "keepalive-ping-interval").and_then(|text| text.parse().ok());
    let keepalive = Duration::from_secs(asked_keepalive.unwrap_or(KEEPALIVE).clamp(1, 3600));
    let follower = Follower::new(endpoint, session.id, &asked).await?;
    let (pieces, reply) = streamed(connect::STREAM_TYPE);
    tokio::spawn(async move {
        let told = tell(follower, keepalive, &pieces).await;
        connect::end(&pieces, told).await;
    });
    Ok(reply)
}

async fn tell(mut follower: Follower, keepalive: Duration, pieces: &Pieces) -> Result<(), Refusal> {
    let mut there = connect::send(pieces, &json!({"start": {}})).await?;
    let mut signs = time::interval(keepalive);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    signs.reset();
    while there {
        tokio::select! {
            changes = follower.next() => {
                for change in changes? {
                    there = connect::send(pieces, &json!({"filesystem": change})).await?;
                }
            }
            _ = signs.tick() => there = connect::send(pieces, &json!({"keepalive": {}})).await?,
            () = pieces.closed() => there = false,
        }
    }
    Ok(())
}

/// Makes, asks and removes what follows without a stream.
pub async fn answer(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    call: &str,
    body: Body,
) -> Result<Reply, Refusal> {
    let told = match call {
        "CreateWatcher" => {
            let id = create(endpoint, session, &read_json(body).await?).await?;
            json!({"watcherId": id})
        }
        "GetWatcherEvents" => {
            let OneWatcher { id } = read_json(body).await?;
            let waiting = endpoint.with(session.id, |kept| {
                kept.watchers.get(&id).map(|watcher| Arc::clone(&watcher.waiting))
            });
            let waiting = waiting.ok_or_else(|| missing(&id))?;
            let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(refusal) = waiting.failed.take() {
                return Err(refusal);
            }
            json!({"events": waiting.changes.drain(..).collect::<Vec<_>>()})
        }
        _ => {
            let OneWatcher { id } = read_json(body).await?;
            let removed = endpoint.with(session.id, |kept| kept.watchers.remove(&id));
            drop(removed.ok_or_else(|| missing(&id))?);
            json!({})
        }
    };
    Ok(answer_json(StatusCode::OK, &told))
}

async fn create(
    endpoint: &Arc<Endpoint>,
    session: &Session,
    asked: &Watch,
) -> Result<String, Refusal> {
    let mut follower = Follower::new(endpoint, session.id, asked).await?;
    let mut bytes = [0; 16];
    let failed = |_| Refusal::new(Kind::Internal, "the kernel gives no random bytes");
    SystemRandom::new().fill(&mut bytes).map_err(failed)?;
    let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let waiting = Arc::new(Mutex::new(Waiting::default()));
    let shared = Arc::clone(&waiting);
    let task = tokio::spawn(async move {
        loop {
            let changes = follower.next().await;
            let mut waiting = shared.lock().unwrap_or_else(PoisonError::into_inner);
            match changes {
                Ok(changes) => waiting.changes.extend(changes),
                Err(refusal) => {
                    waiting.failed = Some(refusal);
                    return;
                }
            }
            if waiting.changes.len() > WAITING {
                waiting.changes.clear();
                waiting.failed = Some(lost());
            }
        }
    });
    let watcher = Watcher { waiting, task };
    endpoint.with(session.id, |kept| {
        if kept.watchers.len() >= WATCHERS {
            let words = format!("a sandbox has {WATCHERS} watchers at the most");
            return Err(Refusal::new(Kind::Busy, words));
        }
        kept.watchers.insert(id.clone(), watcher);
        Ok(id)
    })
}

fn missing(id: &str) -> Refusal {
    Refusal::new(Kind::NotFound, format!("watcher {id:?} not found"))
}

fn lost() -> Refusal {
    Refusal::new(Kind::Internal, "more changed than is held for followers: list the directory")
}

/// Follows one directory.
struct Follower {
    client: Client,
    session: SessionId,
    /// The directory with a slash at its end; nothing for the workspace.
    prefix: String,
    recursive: bool,
    since: Option<u64>,
    answer: Option<Answer>,
    lines: Lines,
    backoff: Backoff,
}

impl Follower {
    /// Changes are held from now on.
    async fn new(endpoint: &Endpoint, session: SessionId, asked: &Watch) -> Result<Self, Refusal> {
        let directory = paths::inside(&asked.path)?;
        if let Some(path) = &directory {
            let entry = endpoint.client.stat_file(session, path).await?;
            if entry.kind != FileKind::Directory {
                return Err(Refusal::invalid(format!("{:?} is no directory", asked.path)));
            }
        }
        let mut follower = Self {
            client: endpoint.client.clone(),
            session,
            prefix: directory.map(|path| format!("{path}/")).unwrap_or_default(),
            recursive: asked.recursive,
            since: None,
            answer: None,
            lines: Lines::default(),
            backoff: Backoff::default(),
        };
        // The first word says that it has begun.
        follower.read().await?;
        Ok(follower)
    }

    /// The next changes; none, if what happened is none of the directory's.
    async fn next(&mut self) -> Result<Vec<Value>, Refusal> {
        let change = self.read().await?;
        Ok(match change.kind {
            FileChangeKind::Watching => Vec::new(),
            FileChangeKind::Lost => return Err(lost()),
            FileChangeKind::Created => self.told("CREATE", &change.path),
            FileChangeKind::Modified => self.told("WRITE", &change.path),
            FileChangeKind::Attributes => self.told("CHMOD", &change.path),
            FileChangeKind::Removed => self.told("REMOVE", &change.path),
            FileChangeKind::Moved => {
                let mut told = self.told("RENAME", &change.path);
                told.extend(change.to.iter().flat_map(|to| self.told("CREATE", to)));
                told
            }
        })
    }

    fn told(&self, kind: &str, path: &str) -> Vec<Value> {
        let name = path.strip_prefix(&self.prefix).filter(|name| !name.is_empty());
        let name = name.filter(|name| self.recursive || !name.contains('/'));
        name.map(|name| json!({"name": name, "type": format!("EVENT_TYPE_{kind}")}))
            .into_iter()
            .collect()
    }

    async fn read(&mut self) -> Result<FileChange, Refusal> {
        loop {
            let failure = match self.attempt().await {
                Ok(Some(change)) => {
                    self.backoff.reset();
                    self.since = Some(change.sequence);
                    return Ok(change);
                }
                Ok(None) => return Err(Refusal::gone(Some(self.session))),
                Err(failure) => failure,
            };
            (self.answer, self.lines) = (None, Lines::default());
            self.backoff.wait(failure).await?;
        }
    }

    async fn attempt(&mut self) -> Result<Option<FileChange>, crate::failure::Failure> {
        if self.answer.is_none() {
            self.answer = Some(self.client.watch_files(self.session, self.since).await?);
        }
        match &mut self.answer {
            Some(answer) => next_of(answer, &mut self.lines).await,
            None => Ok(None),
        }
    }
}
