//! Files and directories, by calls.

use std::collections::VecDeque;

use super::body::Body;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use supervisor_api::{FileEntry, FileKind, MakeDirectory, MoveFile, Session};

use super::answer::{Kind, Refusal, Reply, json as answer_json};
use super::endpoint::Endpoint;
use super::request::json as read_json;
use super::{entries, paths};

/// Entries of one list.
const ENTRIES: usize = 10_000;

/// Entries of one page of the daemon's.
const PAGE: u16 = 1000;

#[derive(Debug, Deserialize)]
struct OnPath {
    #[serde(default)]
    path: String,
    #[serde(default)]
    depth: u32,
}

#[derive(Debug, Deserialize)]
struct Move {
    #[serde(default)]
    source: String,
    #[serde(default)]
    destination: String,
}

/// Answers a call.
pub async fn answer(
    endpoint: &Endpoint,
    session: &Session,
    call: &str,
    body: Body,
) -> Result<Reply, Refusal> {
    let told = match call {
        "Stat" => {
            let asked: OnPath = read_json(body).await?;
            json!({"entry": stat(endpoint, session, &asked.path).await?})
        }
        "ListDir" => {
            let asked: OnPath = read_json(body).await?;
            json!({"entries": list(endpoint, session, &asked).await?})
        }
        "MakeDir" => {
            let asked: OnPath = read_json(body).await?;
            json!({"entry": make(endpoint, session, &asked.path).await?})
        }
        "Move" => {
            let Move { source, destination } = read_json(body).await?;
            let (from, to) = (paths::entry(&source)?, paths::entry(&destination)?);
            let request = MoveFile { from, to, replace: true };
            let entry = endpoint.client.move_file(session.id, &request).await?;
            json!({"entry": entries::told(&entry)})
        }
        "Remove" => {
            let asked: OnPath = read_json(body).await?;
            remove(endpoint, session, &asked.path).await?;
            json!({})
        }
        _ => return Err(Refusal::unimplemented(format!("there is no call {call} here"))),
    };
    Ok(answer_json(StatusCode::OK, &told))
}

async fn stat(endpoint: &Endpoint, session: &Session, path: &str) -> Result<Value, Refusal> {
    let Some(path) = paths::inside(path)? else { return Ok(entries::root(session)) };
    let entry = endpoint.client.stat_file(session.id, &path).await?;
    entries::told(&entry).ok_or_else(|| {
        Refusal::new(Kind::Conflict, format!("{path} is no file, directory or symbolic link"))
    })
}

async fn list(
    endpoint: &Endpoint,
    session: &Session,
    asked: &OnPath,
) -> Result<Vec<Value>, Refusal> {
    let depth = asked.depth.max(1); // 0 is what clients say who don't say
    let mut found = Vec::new();
    let mut left = VecDeque::from([(paths::inside(&asked.path)?, 1)]);
    while let Some((directory, level)) = left.pop_front() {
        for entry in all_of(endpoint, session, directory.as_deref()).await? {
            if entry.kind == FileKind::Directory && level < depth {
                left.push_back((Some(entry.path.clone()), level + 1));
            }
            found.extend(entries::told(&entry));
            if found.len() > ENTRIES {
                let words = format!(
                    "more than {ENTRIES} entries: list a directory beneath it, or less deep"
                );
                return Err(Refusal::new(Kind::TooLarge, words));
            }
        }
    }
    Ok(found)
}

async fn all_of(
    endpoint: &Endpoint,
    session: &Session,
    directory: Option<&str>,
) -> Result<Vec<FileEntry>, Refusal> {
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let listed =
            endpoint.client.list_files(session.id, directory, after.as_deref(), PAGE).await;
        let page = match listed.map_err(Refusal::from) {
            // E2B's word for what is no directory.
            Err(refusal) if refusal.kind == Kind::Conflict => {
                return Err(Refusal::invalid(refusal.message));
            }
            other => other?,
        };
        found.extend(page.entries);
        if page.next.is_none() || found.len() > ENTRIES {
            return Ok(found);
        }
        after = page.next;
    }
}

async fn make(
    endpoint: &Endpoint,
    session: &Session,
    path: &str,
) -> Result<Option<Value>, Refusal> {
    let exists = || Refusal::new(Kind::AlreadyExists, format!("directory already exists: {path}"));
    let Some(inside) = paths::inside(path)? else { return Err(exists()) };
    match endpoint.client.stat_file(session.id, &inside).await.map_err(Refusal::from) {
        Ok(entry) if entry.kind == FileKind::Directory => return Err(exists()),
        Ok(_) => {
            let words = format!("{path} exists and is no directory");
            return Err(Refusal::invalid(words));
        }
        Err(refusal) if refusal.kind != Kind::NotFound => return Err(refusal),
        Err(_) => {}
    }
    let made = endpoint.client.make_directory(session.id, &MakeDirectory { path: inside }).await?;
    Ok(entries::told(&made))
}

/// Removes what stands at a path, with all that is in it. That there is nothing is what was asked for.
async fn remove(endpoint: &Endpoint, session: &Session, path: &str) -> Result<(), Refusal> {
    let path = paths::entry(path)?;
    match endpoint.client.remove_file(session.id, &path, true).await.map_err(Refusal::from) {
        Err(refusal) if refusal.kind != Kind::NotFound => Err(refusal),
        _ => Ok(()),
    }
}
