//! What the front end calls. The trait is the [`Supervisor`]'s own methods, so that the front end
//! can be tested without one.

use std::fs::File;
use std::future::Future;
use std::io;
use std::time::Duration;

use supervisor_api::{
    ApiError, Artifact, ArtifactList, Credential, CredentialList, Doctor, Execution, ExecutionId,
    ExecutionList, OutputChunk, Reloaded, SubmitRequest,
};

use crate::supervisor::{Caller, ListQuery, OutputQuery, OutputReader, Supervisor};

/// Output, chunk by chunk.
pub trait Chunks: Send + 'static {
    /// The next bytes (at most 64 KiB), or `None` at the end. Dropping the future loses nothing but
    /// the reader's place.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<OutputChunk>>> + Send;
}

/// The operations of the interface. Each checks what the caller may do.
pub trait Operations: Send + Sync + 'static {
    /// Reads output.
    type Output: Chunks;

    /// Runs a payload in a fresh sandbox. `request.wait` is never set: the front end waits by
    /// [`Operations::status`], so that a caller who goes away leaves nothing behind.
    fn submit(
        &self,
        caller: &Caller,
        request: SubmitRequest,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// One execution, once it has finished or `wait` is up.
    fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// A page of executions, newest first.
    fn list(
        &self,
        caller: &Caller,
        query: ListQuery,
    ) -> impl Future<Output = Result<ExecutionList, ApiError>> + Send;

    /// Output from an offset.
    fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> impl Future<Output = Result<Self::Output, ApiError>> + Send;

    /// Ends an execution; returns when nothing of it runs any more.
    fn cancel(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// The artifacts of a finished execution.
    fn artifacts(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ArtifactList, ApiError>> + Send;

    /// One artifact and a descriptor to read its bytes from.
    fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> impl Future<Output = Result<(Artifact, File), ApiError>> + Send;

    /// What this host can enforce.
    ///
    /// # Errors
    ///
    /// When the daemon can't tell.
    fn doctor(&self) -> Result<Doctor, ApiError>;

    /// Reads configuration and policies anew, all or nothing.
    fn reload(&self, caller: &Caller) -> impl Future<Output = Result<Reloaded, ApiError>> + Send;

    /// All credentials, without their values.
    ///
    /// # Errors
    ///
    /// For callers who are no administrators.
    fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError>;

    /// Reads one credential's value anew.
    fn rotate_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;

    /// Lets no request have a credential any more.
    fn revoke_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;
}

impl Chunks for OutputReader {
    async fn next(&mut self) -> io::Result<Option<OutputChunk>> {
        OutputReader::next(self).await
    }
}

impl Operations for Supervisor {
    type Output = OutputReader;

    async fn submit(&self, caller: &Caller, request: SubmitRequest) -> Result<Execution, ApiError> {
        Supervisor::submit(self, caller, request).await
    }

    async fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Execution, ApiError> {
        Supervisor::status(self, caller, id, wait).await
    }

    async fn list(&self, caller: &Caller, query: ListQuery) -> Result<ExecutionList, ApiError> {
        Supervisor::list(self, caller, query).await
    }

    async fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> Result<OutputReader, ApiError> {
        Supervisor::output(self, caller, id, query).await
    }

    async fn cancel(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        Supervisor::cancel(self, caller, id).await
    }

    async fn artifacts(&self, caller: &Caller, id: ExecutionId) -> Result<ArtifactList, ApiError> {
        Supervisor::artifacts(self, caller, id).await
    }

    async fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> Result<(Artifact, File), ApiError> {
        Supervisor::artifact(self, caller, id, path).await
    }

    fn doctor(&self) -> Result<Doctor, ApiError> {
        Supervisor::doctor(self)
    }

    async fn reload(&self, caller: &Caller) -> Result<Reloaded, ApiError> {
        Supervisor::reload(self, caller).await
    }

    fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError> {
        Supervisor::credentials(self, caller)
    }

    async fn rotate_credential(&self, caller: &Caller, name: &str) -> Result<Credential, ApiError> {
        Supervisor::rotate_credential(self, caller, name).await
    }

    async fn revoke_credential(&self, caller: &Caller, name: &str) -> Result<Credential, ApiError> {
        Supervisor::revoke_credential(self, caller, name).await
    }
}
