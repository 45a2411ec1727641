//! Workspaces as a whole, followed and copied: what the front end calls, and the operations as HTTP.

use std::future::Future;

use axum::http::{HeaderValue, StatusCode, header};
use supervisor_api::{
    ApiError, CreateSnapshot, FileChange, NDJSON, Session, SessionId, SessionList,
};

use super::answer::{Answer, Problem, json, with_type};
use super::calls::{Call, to_the_end};
use super::operations::{Follow, Operations};
use super::sessions::read;
use super::streaming;
use crate::session::FileChanges;
use crate::supervisor::{Caller, Supervisor};

/// The operations on workspaces as a whole.
pub trait Workspaces: Send + Sync + 'static {
    /// Tells of changes.
    type FileChanges: Follow<Item = FileChange>;

    /// Follows the changes in a workspace.
    fn watch_files(
        &self,
        caller: &Caller,
        id: SessionId,
        since: Option<u64>,
    ) -> impl Future<Output = Result<Self::FileChanges, ApiError>> + Send;

    /// Keeps a workspace as it is now.
    fn create_snapshot(
        &self,
        caller: &Caller,
        id: SessionId,
        request: CreateSnapshot,
    ) -> impl Future<Output = Result<Session, ApiError>> + Send;

    /// The snapshots of a session.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    fn snapshots(&self, caller: &Caller, id: SessionId) -> Result<SessionList, ApiError>;
}

impl Follow for FileChanges {
    type Item = FileChange;

    async fn next(&mut self) -> Option<FileChange> {
        FileChanges::next(self).await
    }
}

impl Workspaces for Supervisor {
    type FileChanges = FileChanges;

    async fn watch_files(
        &self,
        caller: &Caller,
        id: SessionId,
        since: Option<u64>,
    ) -> Result<FileChanges, ApiError> {
        Supervisor::watch_files(self, caller, id, since).await
    }

    async fn create_snapshot(
        &self,
        caller: &Caller,
        id: SessionId,
        request: CreateSnapshot,
    ) -> Result<Session, ApiError> {
        Supervisor::create_snapshot(self, caller, id, request).await
    }

    fn snapshots(&self, caller: &Caller, id: SessionId) -> Result<SessionList, ApiError> {
        Supervisor::snapshots(self, caller, id)
    }
}

/// `GET /v1/sessions/{id}/watch`
pub async fn watch<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let since = call.query.value("since")?;
    let changes = call.front.operations.watch_files(&call.caller, call.session(), since).await?;
    Ok(with_type(StatusCode::OK, NDJSON, streaming::changes(changes)))
}

/// `POST /v1/sessions/{id}/snapshots`
pub async fn snapshot<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    let (front, caller, id) = (call.front.clone(), call.caller, call.session());
    let request = read(call).await?;
    let made = async move { front.operations.create_snapshot(&caller, id, request).await };
    let session = to_the_end(made).await?;
    let location = HeaderValue::from_str(&format!("/v1/sessions/{}", session.id));
    let mut response = json(StatusCode::CREATED, session)?;
    if let Ok(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// `GET /v1/sessions/{id}/snapshots`
pub async fn snapshots<O: Operations>(call: Call<O>) -> Result<Answer, Problem> {
    json(StatusCode::OK, call.front.operations.snapshots(&call.caller, call.session())?)
}
