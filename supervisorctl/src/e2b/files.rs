//! Files: read and written, whole.

use super::body::Body;
use hyper::header::{self, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::Value;
use supervisor_api::Session;

use super::answer::{Kind, Refusal, Reply, json as answer_json, streamed};
use super::endpoint::Endpoint;
use super::request::{field, query};
use super::upload::{self, Source, Spooled};
use super::{entries, paths};

/// Files of one request.
const FILES: usize = 1000;

/// Answers what is asked of files.
pub async fn answer(
    endpoint: &Endpoint,
    session: &Session,
    parts: &Parts,
    body: Body,
) -> Result<Reply, Refusal> {
    let path = query(&parts.uri).remove("path");
    match parts.method {
        Method::GET => {
            let path = path.ok_or_else(|| Refusal::invalid("`path` says which file is meant"))?;
            read(endpoint, session, &path).await
        }
        Method::POST => write(endpoint, session, parts, path, body).await,
        _ => Err(Refusal::unimplemented("files are read with GET and written with POST")),
    }
}

async fn read(endpoint: &Endpoint, session: &Session, path: &str) -> Result<Reply, Refusal> {
    let inside =
        paths::inside(path)?.ok_or_else(|| Refusal::invalid(format!("{path:?} is a directory")))?;
    let mut answer =
        match endpoint.client.get_file(session.id, &inside).await.map_err(Refusal::from) {
            Err(refusal) if refusal.kind == Kind::Conflict => {
                return Err(Refusal::invalid(refusal.message));
            }
            other => other?,
        };
    let (pieces, mut reply) = streamed("application/octet-stream");
    if let Some(length) = answer.length() {
        reply.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    tokio::spawn(async move {
        loop {
            let piece = match answer.bytes().await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => return,
                // The connection is broken off, so that nobody takes the beginning for the whole.
                Err(failure) => Err(std::io::Error::other(failure.chain())),
            };
            let failed = piece.is_err();
            if pieces.send(piece).await.is_err() || failed {
                return;
            }
        }
    });
    Ok(reply)
}

async fn write(
    endpoint: &Endpoint,
    session: &Session,
    parts: &Parts,
    path: Option<String>,
    body: Body,
) -> Result<Reply, Refusal> {
    let headers = &parts.headers;
    if headers.keys().any(|name| name.as_str().starts_with("x-metadata-")) {
        return Err(Refusal::unimplemented("files have no metadata here"));
    }
    let coding = field(headers, header::CONTENT_ENCODING.as_str()).unwrap_or("identity");
    let gzip = match coding {
        "gzip" => true,
        "identity" => false,
        _ => {
            return Err(Refusal::new(
                Kind::MediaType,
                format!("{coding:?} is not decoded; gzip is"),
            ));
        }
    };
    let media_type = field(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let mut written: Vec<Value> = Vec::new();
    let mut source = Source::of(media_type, body)?;
    while let Some((name, spooled)) = upload::next(&mut source, gzip).await? {
        if written.len() >= FILES {
            return Err(Refusal::new(
                Kind::TooLarge,
                format!("a request has {FILES} files at the most"),
            ));
        }
        // A query that names a file means the only one.
        let named = path.clone().or(name);
        let named = named.ok_or_else(|| Refusal::invalid("`path` says which file is meant"))?;
        let inside = paths::entry(&named)?;
        store(endpoint, session, &inside, spooled).await?;
        written.push(entries::written(&inside));
    }
    if written.is_empty() {
        return Err(Refusal::invalid("the request holds no file"));
    }
    Ok(answer_json(StatusCode::OK, &written))
}

/// Writes a file; one that was executable stays so.
async fn store(
    endpoint: &Endpoint,
    session: &Session,
    path: &str,
    spooled: Spooled,
) -> Result<(), Refusal> {
    let before = endpoint.client.stat_file(session.id, path).await;
    let executable = before.is_ok_and(|entry| entry.mode & 0o100 != 0);
    let file = spooled.rewound()?;
    endpoint.client.put_file(session.id, path, executable, file, false).await?;
    Ok(())
}
