//! Receipts: made when they are asked for, of what is on disk. Two that are asked for are the same to the
//! byte as long as the audit log reaches back to the execution's submission.

use supervisor_api::{
    ARTIFACTS, ApiError, AuditFilter, Decisions, DecisionsRoot, Digest32, Envelope, ErrorCode,
    Execution, ExecutionId, Predicate, ReceiptSubject, STDERR, STDOUT, Statement, Stream,
};

use super::results::span;
use super::{Caller, Supervisor, internal, storage};

/// Records a page of the audit log; each is about half a kilobyte.
const PAGE: usize = 4096;

impl Supervisor {
    /// A signed statement about a finished execution.
    pub async fn receipt(&self, caller: &Caller, id: ExecutionId) -> Result<Envelope, ApiError> {
        let artifacts = self.artifacts(caller, id).await?;
        let execution = self.recorded(caller, id).await?;
        self.note_administration(caller, &execution, "receipt")?;
        let capture = self.kept(&execution).await?;
        let mut subjects = Vec::with_capacity(2 + artifacts.artifacts.len());
        for (name, stream) in [(STDOUT, Stream::Stdout), (STDERR, Stream::Stderr)] {
            let digest = match capture.file(stream) {
                Some(file) => {
                    let digest = self.inner.digests.of(execution.owner_uid, file).await;
                    digest.map_err(storage)?
                }
                None => Digest32::of(b""),
            };
            subjects.push(ReceiptSubject::new(name, digest.to_string()));
        }
        let of_artifact = |path: &str| format!("{ARTIFACTS}{path}");
        let artifacts = artifacts.artifacts.into_iter();
        subjects.extend(artifacts.map(|it| ReceiptSubject::new(of_artifact(&it.path), it.sha256)));
        // From here on: what is waited for before is the owner's own line, and nobody else waits in it.
        let search = self.inner.threads.search(caller).await?;
        let decisions = self.decided(&execution).await?;
        drop(search);
        let predicate = Predicate::new(execution, decisions, env!("CARGO_PKG_VERSION"));
        let unfinished = || {
            ApiError::new(ErrorCode::Conflict, "there is a receipt when the execution has finished")
                .with_hint("ask for the status with wait first")
        };
        let statement = Statement::new(subjects, predicate.ok_or_else(unfinished)?);
        self.inner.audit.sign(&statement).map_err(internal)
    }

    /// What the audit log has about an execution, from its submission to its outcome.
    async fn decided(&self, execution: &Execution) -> Result<Option<Decisions>, ApiError> {
        let filter = AuditFilter { execution: Some(execution.id), ..AuditFilter::default() };
        let (mut root, mut after) = (DecisionsRoot::new(execution.id), 0);
        loop {
            let page =
                self.inner.audit.search_span(filter.clone(), span(execution), after, PAGE).await;
            let page = page.map_err(internal)?;
            page.records.iter().for_each(|record| root.take(record));
            match page.next {
                Some(next) if !root.is_complete() => after = next,
                _ => return Ok(root.finish()),
            }
        }
    }
}
