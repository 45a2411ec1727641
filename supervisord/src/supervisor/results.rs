//! What an execution leaves: output, artifacts, and what was decided about it.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use supervisor_api::{
    ApiError, Artifact, ArtifactList, AuditFilter, AuditPage, ErrorCode, Execution, ExecutionId,
};
use tokio::task::spawn_blocking;

use super::{
    Caller, OutputQuery, Role, Supervisor, damage, from_store, internal, not_found, storage,
};
use crate::audit::Span;
use crate::capture::{Capture, CaptureReader};
use crate::clock;
use crate::elsewhere;
use crate::session::OpenFile;
use crate::workspace::open_artifact;

impl Supervisor {
    /// Output from an offset.
    pub async fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> Result<CaptureReader, ApiError> {
        let capture = match self.own_live(caller, id) {
            Some(live) => {
                self.note_administration(caller, &live.snapshot(), "output")?;
                live.capture.clone()
            }
            None => {
                let execution = self.recorded(caller, id).await?;
                self.note_administration(caller, &execution, "output")?;
                self.kept(&execution).await?
            }
        };
        Ok(capture.reader(query.stream, query.offset, query.follow))
    }

    /// The output of an execution that has finished.
    pub(super) async fn kept(&self, execution: &Execution) -> Result<Arc<Capture>, ApiError> {
        let (id, limit, places) =
            (execution.id, execution.limits.output_bytes, self.inner.places.clone());
        elsewhere::admit(execution.owner_uid)?;
        let recorded = self.inner.store.output(id).await.map_err(|error| from_store(&error))?;
        let reopened = spawn_blocking(move || {
            let place = match (places.open_place(id), &recorded) {
                (Err(error), said) if error.kind() == io::ErrorKind::NotFound => match said {
                    None => return Ok(Capture::nothing(limit)), // nothing was made for it
                    Some(_) => places.make(id, &[])?,
                },
                (other, _) => other?,
            };
            if let Some(said) = recorded {
                said.restore(&place)?;
            }
            Capture::reopen(place, limit)
        });
        let reopened = reopened.await;
        let capture = reopened.map_err(internal)?.map_err(storage)?;
        capture.is_of(execution.owner_uid);
        damage::check_output(&self.inner.digests, execution, &capture).await?;
        capture.finish_as(&execution.output);
        Ok(capture)
    }

    /// The artifacts of a finished execution.
    pub async fn artifacts(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> Result<ArtifactList, ApiError> {
        if self.own_live(caller, id).is_some() {
            let problem = "artifacts are collected when the execution has finished";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint("ask for the status with wait first"));
        }
        self.recorded(caller, id).await?;
        let list = self.inner.store.artifacts(id).await.map_err(|error| from_store(&error))?;
        list.ok_or_else(not_found)
    }

    /// One artifact and a descriptor to read its bytes from.
    pub async fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> Result<(Artifact, OpenFile), ApiError> {
        let list = self.artifacts(caller, id).await?;
        let execution = self.recorded(caller, id).await?;
        elsewhere::admit(execution.owner_uid)?;
        self.note_administration(caller, &execution, "artifact")?;
        let found = list.artifacts.into_iter().enumerate().find(|(_, each)| each.path == path);
        let (index, artifact) = found.ok_or_else(not_found)?;
        let (places, owner) = (self.inner.places.clone(), execution.owner_uid);
        let turn = self.inner.threads.note(owner).await?;
        let opened = spawn_blocking(move || {
            let opened = places.artifacts(id).and_then(|store| open_artifact(store.as_fd(), index));
            drop(turn);
            opened.map(|file| OpenFile::of_uid(owner, file))
        });
        let opened = opened.await.map_err(internal)?;
        let file = opened.map_err(|error| damage::missing_artifact(&artifact, error))?;
        let digests = (&self.inner.digests, execution.owner_uid);
        damage::check_artifact(digests, file.file(), &artifact).await?;
        Ok((artifact, file))
    }

    /// What was decided about an execution, oldest first.
    pub async fn decisions(
        &self,
        caller: &Caller,
        id: ExecutionId,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, ApiError> {
        let execution = match self.own_live(caller, id) {
            Some(live) => live.snapshot(),
            None => self.recorded(caller, id).await?,
        };
        let filter = AuditFilter { execution: Some(id), ..AuditFilter::default() };
        let _search = self.inner.threads.search(caller).await?;
        let found = self.inner.audit.search_span(filter, span(&execution), after, limit).await;
        found.map_err(internal)
    }

    /// Records of the audit log, oldest first; who is no administrator sees those about what is its own.
    pub async fn audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, ApiError> {
        let uid = match caller.role {
            Role::Admin => filter.uid,
            Role::Agent if filter.uid.is_none_or(|uid| uid == caller.uid) => Some(caller.uid),
            Role::Agent => {
                let problem = "only administrators see what is recorded about others";
                return Err(ApiError::new(ErrorCode::PermissionDenied, problem).with_field("uid"));
            }
        };
        let filter = AuditFilter { uid, ..filter };
        let _search = self.inner.threads.search(caller).await?;
        self.inner.audit.search(filter, after, limit).await.map_err(internal)
    }
}

/// Where the audit log may have something of an execution. Its times are rounded, and records are written around them.
pub(super) fn span(execution: &Execution) -> Span {
    Span {
        from: clock::recorded_at(&execution.created_at, -1),
        begun: clock::recorded_at(&execution.created_at, 60),
        to: execution.finished_at.as_ref().and_then(|time| clock::recorded_at(time, 60)),
    }
}
