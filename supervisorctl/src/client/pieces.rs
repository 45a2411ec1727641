//! Bytes a piece at a time: of output and of artifacts.

use supervisor_api::ExecutionId;

use super::{Client, get};
use crate::cli::Selection;
use crate::connection::{Answer, Call};
use crate::failure::Failure;
use crate::{paths, terminal};

impl Client {
    /// Output from an offset, so many bytes at the most.
    pub async fn output_piece(
        &self,
        id: ExecutionId,
        selection: Selection,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        let answer = self.output(id, selection, offset, false).await?;
        take(answer, most).await
    }

    /// Bytes of an artifact from an offset, so many at the most.
    pub async fn artifact_piece(
        &self,
        id: ExecutionId,
        path: &str,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        let target = format!("/v1/executions/{id}/artifacts/{}", paths::percent_encoded(path));
        let call = get(format!("fetch {} of {id}", terminal::name(path)), target);
        self.piece(call, offset, most).await
    }

    async fn piece(&self, call: Call, offset: u64, most: u64) -> Result<Vec<u8>, Failure> {
        let last = offset.saturating_add(most).saturating_sub(1);
        self.bytes(Call { range: Some((offset, last)), ..call }, most).await
    }

    /// The beginning of an answer.
    pub(crate) async fn bytes(&self, call: Call, most: u64) -> Result<Vec<u8>, Failure> {
        take(self.send(call).await?, most).await
    }
}

/// The beginning of an answer; what comes after is left on the connection, which ends with it.
async fn take(mut answer: Answer, most: u64) -> Result<Vec<u8>, Failure> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    while bytes.len() < most {
        let Some(more) = answer.bytes().await? else { break };
        bytes.extend_from_slice(more.get(..more.len().min(most - bytes.len())).unwrap_or_default());
    }
    Ok(bytes)
}
