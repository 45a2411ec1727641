//! Copies of sandboxes: snapshots, of which others are made, and forks. They are of files, so a copy with its memory can be
//! had while there is nothing in it, and nothing runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{CreateSession, CreateSnapshot, Session, SessionId, UniqueMap};

use tokio::task::JoinError;

use crate::console;

use super::answer::{Kind, Refusal, Reply, empty, json as answer_json};
use super::control::{PAGE, handle, named};
use super::endpoint::{Endpoint, METADATA, TEMPLATE, VARIABLES};
use super::request::query;

/// The label with the name that a client gave a snapshot.
const NAME: &str = "e2b:snapshot";

/// Seconds that a snapshot is kept: as long as a session may live.
const KEPT: u64 = 30 * 24 * 3600;

/// Forks of one request, and the seconds that they live if it does not say.
const FORKS: usize = 20;
const FORK_TIMEOUT: u64 = 15;

/// A request for a snapshot.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSnapshot {
    name: Option<String>,
    memory: Option<bool>,
}

/// A request for forks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    timeout: Option<u64>,
    count: Option<usize>,
}

/// Makes a snapshot.
pub async fn create(
    endpoint: &Arc<Endpoint>,
    id: SessionId,
    asked: NewSnapshot,
) -> Result<Reply, Refusal> {
    let session = endpoint.sandbox(id).await?;
    let of_files = asked.memory == Some(false);
    if !of_files {
        check_empty(&session)?;
    }
    let template = session.labels.0.get(TEMPLATE).cloned();
    let labels = [(TEMPLATE, template), (NAME, asked.name)];
    let labels = labels.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value?)));
    let labels = UniqueMap(labels.collect());
    let request = CreateSnapshot { labels, time_to_live: Some(KEPT) };
    // A client that goes meanwhile leaves nothing that stands still for ever.
    let made = tokio::spawn(make(Arc::clone(endpoint), id, request, of_files));
    let broken =
        |error: JoinError| Refusal::new(Kind::Conflict, format!("the snapshot broke off: {error}"));
    Ok(answer_json(StatusCode::CREATED, &told(&made.await.map_err(broken)??)))
}

/// Makes a snapshot; what runs in the sandbox may have to stand still meanwhile.
async fn make(
    endpoint: Arc<Endpoint>,
    id: SessionId,
    request: CreateSnapshot,
    stands_still: bool,
) -> Result<Session, Refusal> {
    let _nobody_else_pauses = endpoint.pausing.lock().await;
    let stands_still = stands_still && !endpoint.with(id, |kept| kept.paused);
    if stands_still {
        endpoint.client.change_session(id, "pause", "pause").await?;
    }
    let made = endpoint.client.create_snapshot(id, &request).await;
    if stands_still {
        endpoint.client.change_session(id, "resume", "resume").await?;
    }
    Ok(made?)
}

/// Makes forks. A client that goes meanwhile leaves no moment that nobody lists.
pub async fn fork(endpoint: &Arc<Endpoint>, id: SessionId, asked: Fork) -> Result<Reply, Refusal> {
    let made = tokio::spawn(forks(Arc::clone(endpoint), id, asked));
    let broken =
        |error: JoinError| Refusal::new(Kind::Conflict, format!("the forks broke off: {error}"));
    made.await.map_err(broken)?
}

/// All of them are copies of the same moment.
async fn forks(endpoint: Arc<Endpoint>, id: SessionId, asked: Fork) -> Result<Reply, Refusal> {
    let count = asked.count.unwrap_or(1);
    if !(1..=FORKS).contains(&count) {
        return Err(Refusal::invalid(format!("one request makes 1 to {FORKS} forks")));
    }
    let session = endpoint.sandbox(id).await?;
    check_empty(&session)?;
    let variables = endpoint.variables(&session)?;
    let own = session.labels.0.iter().filter(|(label, _)| {
        [TEMPLATE, VARIABLES].contains(&label.as_str()) || label.starts_with(METADATA)
    });
    let labels: BTreeMap<_, _> = own.map(|(label, value)| (label.clone(), value.clone())).collect();
    let moment = make(Arc::clone(&endpoint), id, CreateSnapshot::default(), false).await?;
    let mut results = Vec::new();
    for _ in 0..count {
        let request = CreateSession {
            from: Some(moment.id),
            labels: UniqueMap(labels.clone()),
            time_to_live: Some(asked.timeout.unwrap_or(FORK_TIMEOUT)),
            ..CreateSession::default()
        };
        results.push(match endpoint.client.create_session(&request).await {
            Ok(made) => {
                endpoint.with(made.id, |kept| kept.variables = Some(variables.clone()));
                json!({"sandbox": handle(&endpoint, &made)})
            }
            Err(failure) => {
                let refusal = Refusal::from(failure);
                let code = refusal.kind.status().as_u16();
                json!({"error": {"code": code, "message": refusal.message}})
            }
        });
    }
    // The forks exist, whatever becomes of the moment; it ends by itself.
    if let Err(failure) = endpoint.client.close_session(moment.id).await {
        console::notice(&format!(
            "the moment {} of its forks stays for a while: {}",
            moment.id,
            failure.chain()
        ));
    }
    Ok(answer_json(StatusCode::CREATED, &results))
}

/// Refuses what has memory that a copy would be without.
fn check_empty(session: &Session) -> Result<(), Refusal> {
    if session.executions == 0 {
        return Ok(());
    }
    Err(Refusal::unimplemented(
        "something runs in it, and its memory is in no copy: end its commands and code contexts, or ask for a \
         snapshot of its files (mode=\"filesystem\")",
    ))
}

/// Lists them, newest first.
pub async fn list(endpoint: &Endpoint, uri: &Uri) -> Result<Reply, Refusal> {
    let asked = query(uri);
    let mut found = all(endpoint).await?;
    if let Some(id) = asked.get("sandboxID") {
        let id = named(id)?;
        found.retain(|snapshot| snapshot.snapshot_of == Some(id));
    }
    if let Some(name) = asked.get("name") {
        found.retain(|snapshot| is_called(snapshot, name));
    }
    let limit = asked.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE);
    let limit = limit.clamp(1, PAGE);
    let begin: usize = asked.get("nextToken").and_then(|token| token.parse().ok()).unwrap_or(0);
    let page: Vec<Value> = found.iter().skip(begin).take(limit).map(told).collect();
    let next = begin.saturating_add(page.len());
    let mut reply = answer_json(StatusCode::OK, &page);
    if next < found.len() {
        reply.headers_mut().insert("x-next-token", next.into());
    }
    Ok(reply)
}

/// Removes one.
pub async fn remove(endpoint: &Endpoint, name: &str) -> Result<Reply, Refusal> {
    let missing = || Refusal::new(Kind::NotFound, format!("there is no snapshot {name:?}"));
    let snapshot = find(endpoint, name).await?.ok_or_else(missing)?;
    endpoint.client.close_session(snapshot.id).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

/// The newest snapshot of this id or name.
pub async fn find(endpoint: &Endpoint, name: &str) -> Result<Option<Session>, Refusal> {
    Ok(all(endpoint).await?.into_iter().find(|snapshot| is_called(snapshot, name)))
}

/// Snapshots of sandboxes, and of no other sessions.
async fn all(endpoint: &Endpoint) -> Result<Vec<Session>, Refusal> {
    let mut sessions = endpoint.client.sessions(false).await?.sessions;
    sessions
        .retain(|session| session.snapshot_of.is_some() && session.labels.0.contains_key(TEMPLATE));
    Ok(sessions)
}

fn is_called(snapshot: &Session, name: &str) -> bool {
    snapshot.id.to_string() == name || snapshot.labels.0.get(NAME).is_some_and(|own| own == name)
}

fn told(snapshot: &Session) -> Value {
    let names: Vec<&String> = snapshot.labels.0.get(NAME).into_iter().collect();
    json!({"snapshotID": snapshot.id, "names": names})
}
