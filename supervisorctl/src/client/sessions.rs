//! The operations on sessions and their files.

use std::fs::File;
use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use supervisor_api::{
    CreateSession, CreateSnapshot, ExtendSession, FileEntry, FileList, MakeDirectory, MoveFile,
    Session, SessionId, SessionList, UnpackReport,
};

use super::{Client, PATIENCE, get, post};
use crate::connection::{Answer, Call, Payload};
use crate::failure::Failure;
use crate::{paths, progress, terminal};

/// How long an answer may take that comes when a whole workspace has been gone through.
pub(super) const LONG: Duration = Duration::from_secs(600);

impl Client {
    /// Makes a session.
    pub async fn create_session(&self, request: &CreateSession) -> Result<Session, Failure> {
        self.ask("make a session".to_owned(), "/v1/sessions".to_owned(), request, LONG).await
    }

    /// Keeps a session's workspace as it is.
    pub async fn create_snapshot(
        &self,
        id: SessionId,
        request: &CreateSnapshot,
    ) -> Result<Session, Failure> {
        let target = format!("/v1/sessions/{id}/snapshots");
        self.ask(format!("make a snapshot of {id}"), target, request, LONG).await
    }

    /// The snapshots of a session.
    pub async fn snapshots(&self, id: SessionId) -> Result<SessionList, Failure> {
        let target = format!("/v1/sessions/{id}/snapshots");
        self.json(get(format!("list the snapshots of {id}"), target)).await
    }

    /// Changes in a workspace, as they happen.
    pub async fn watch_files(&self, id: SessionId, since: Option<u64>) -> Result<Answer, Failure> {
        let since = since.map(|since| format!("?since={since}")).unwrap_or_default();
        let target = format!("/v1/sessions/{id}/watch{since}");
        self.send(get(format!("watch the files of {id}"), target)).await
    }

    /// The caller's sessions, or everybody's.
    pub async fn sessions(&self, all: bool) -> Result<SessionList, Failure> {
        self.json(get("list sessions".to_owned(), format!("/v1/sessions?all={all}"))).await
    }

    /// One session.
    pub async fn session(&self, id: SessionId) -> Result<Session, Failure> {
        self.json(get(format!("tell about {id}"), format!("/v1/sessions/{id}"))).await
    }

    /// Moves a session's end.
    pub async fn extend_session(
        &self,
        id: SessionId,
        request: &ExtendSession,
    ) -> Result<Session, Failure> {
        self.ask(format!("extend {id}"), format!("/v1/sessions/{id}/extend"), request, PATIENCE)
            .await
    }

    /// Closes a session; the answer comes when nothing of it is left.
    pub async fn close_session(&self, id: SessionId) -> Result<Session, Failure> {
        let call = delete(format!("close {id}"), format!("/v1/sessions/{id}"));
        self.json(Call { patience: LONG, ..call }).await
    }

    /// What a directory holds.
    pub async fn list_files(
        &self,
        id: SessionId,
        path: Option<&str>,
        after: Option<&str>,
        limit: u16,
    ) -> Result<FileList, Failure> {
        let mut target = match path {
            None => format!("/v1/sessions/{id}/tree"),
            Some(path) => format!("/v1/sessions/{id}/tree/{}", paths::percent_encoded(path)),
        };
        target.push_str(&format!("?limit={limit}"));
        if let Some(after) = after {
            target.push_str(&format!("&after={}", paths::percent_encoded(after)));
        }
        self.json(get(format!("list files of {id}"), target)).await
    }

    /// What stands at a path.
    pub async fn stat_file(&self, id: SessionId, path: &str) -> Result<FileEntry, Failure> {
        let target = format!("/v1/sessions/{id}/stat/{}", paths::percent_encoded(path));
        self.json(get(format!("look at {}", terminal::name(path)), target)).await
    }

    /// The bytes of a file.
    pub async fn get_file(&self, id: SessionId, path: &str) -> Result<Answer, Failure> {
        self.send(get(format!("read {}", terminal::name(path)), file(id, path))).await
    }

    /// Writes a file.
    pub async fn put_file(
        &self,
        id: SessionId,
        path: &str,
        executable: bool,
        from: File,
        show: bool,
    ) -> Result<FileEntry, Failure> {
        let target = format!("{}?executable={executable}", file(id, path));
        self.put(format!("write {}", terminal::name(path)), target, path, from, show).await
    }

    /// Removes a file or directory.
    pub async fn remove_file(
        &self,
        id: SessionId,
        path: &str,
        recursive: bool,
    ) -> Result<FileEntry, Failure> {
        let target = format!("{}?recursive={recursive}", file(id, path));
        let call = delete(format!("remove {}", terminal::name(path)), target);
        self.json(Call { patience: LONG, ..call }).await
    }

    /// Makes a directory.
    pub async fn make_directory(
        &self,
        id: SessionId,
        request: &MakeDirectory,
    ) -> Result<FileEntry, Failure> {
        let what = format!("make the directory {}", terminal::name(&request.path));
        self.ask(what, format!("/v1/sessions/{id}/directories"), request, PATIENCE).await
    }

    /// Moves a file or directory.
    pub async fn move_file(&self, id: SessionId, request: &MoveFile) -> Result<FileEntry, Failure> {
        let what = format!("move {}", terminal::name(&request.from));
        self.ask(what, format!("/v1/sessions/{id}/move"), request, PATIENCE).await
    }

    /// The whole workspace as an archive.
    pub async fn pack(&self, id: SessionId) -> Result<Answer, Failure> {
        self.send(get(format!("pack {id}"), format!("/v1/sessions/{id}/archive"))).await
    }

    /// Unpacks an archive.
    pub async fn unpack(
        &self,
        id: SessionId,
        from: File,
        show: bool,
    ) -> Result<UnpackReport, Failure> {
        let target = format!("/v1/sessions/{id}/archive");
        self.put("unpack the archive".to_owned(), target, "uploading", from, show).await
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        operation: String,
        target: String,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(request).map_err(Failure::misunderstood(&operation))?;
        self.json(Call { body: Payload::Json(body), patience, ..post(operation, target) }).await
    }

    async fn put<T: DeserializeOwned>(
        &self,
        operation: String,
        target: String,
        shown: &str,
        file: File,
        show: bool,
    ) -> Result<T, Failure> {
        let length = file.metadata().map(|metadata| metadata.len());
        let length = length.map_err(Failure::local("cannot tell how long the file is"))?;
        let bar = progress::bar(shown, length, show);
        let call = Call {
            method: Method::PUT,
            body: Payload::File { file, length },
            patience: LONG,
            bar: bar.clone(),
            ..get(operation, target)
        };
        let answer = self.json(call).await;
        bar.finish_and_clear();
        answer
    }
}

pub(super) fn file(id: SessionId, path: &str) -> String {
    format!("/v1/sessions/{id}/files/{}", paths::percent_encoded(path))
}

pub(crate) fn delete(operation: String, target: String) -> Call {
    Call { method: Method::DELETE, ..get(operation, target) }
}
