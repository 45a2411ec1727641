//! Tools on the files that executions leave.

use rmcp::RoleServer;
use rmcp::model::{ContentBlock, Resource};
use rmcp::service::RequestContext;
use supervisor_api::{Artifact, ErrorCode, ExecutionId};

use crate::client::Client;
use crate::failure::Failure;

use crate::arguments::{OneExecution, ReadArtifact};
use crate::results::{Artifacts, KeptArtifact, Piece};
use crate::server::Server;
use crate::tools::{Reply, Told};
use crate::{excerpt, resources};

/// Artifacts of one answer.
const ARTIFACTS_MAX: usize = 200;

/// Links of one answer.
const LINKS_MAX: usize = 50;

/// `list_artifacts`.
pub async fn list(
    server: &Server,
    arguments: OneExecution,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Artifacts>, Failure> {
    let kept = kept(&server.client, arguments.execution).await?;
    let lines = kept.artifacts.iter().map(|each| {
        format!("{} ({}, {} bytes): {}\n", each.path, each.media_type, each.size, each.uri)
    });
    let words = match kept.artifacts.is_empty() {
        true => "no artifacts were kept".to_owned(),
        false => lines.collect(),
    };
    let beside = links(&kept.artifacts);
    Ok(Told { beside, ..Told::new(kept, words) }.into())
}

/// `read_artifact`.
pub async fn read(
    server: &Server,
    arguments: ReadArtifact,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Piece>, Failure> {
    let ReadArtifact { execution: id, path, offset, length } = arguments;
    let artifact = find(&server.client, id, &path).await?;
    let fetch = async |from, most| server.client.artifact_piece(id, &path, from, most).await;
    if offset >= artifact.size {
        let piece = excerpt::piece(Vec::new(), offset, artifact.size);
        return Ok(Told::new(piece, format!("{} bytes in all", artifact.size)).into());
    }
    let bytes = fetch(offset, excerpt::length(length)).await?;
    if let (0, None, Some(name)) = (offset, length, excerpt::picture(&bytes))
        && artifact.size <= excerpt::PICTURE_MAX
    {
        let (piece, picture) = excerpt::shown(&fetch(0, artifact.size).await?, name);
        return Ok(Told { beside: vec![picture], ..Told::new(piece, path.clone()) }.into());
    }
    let piece = excerpt::piece(bytes, offset, artifact.size);
    Ok(Told::new(piece, format!("{} bytes in all", artifact.size)).with_text().into())
}

/// One artifact by its path.
pub async fn find(client: &Client, id: ExecutionId, path: &str) -> Result<Artifact, Failure> {
    let list = client.artifacts(id).await?;
    list.artifacts.into_iter().find(|artifact| artifact.path == path).ok_or_else(|| {
        let error = supervisor_api::ApiError::new(
            ErrorCode::NotFound,
            format!("{id} has no artifact {path:?}"),
        );
        let error = error.with_hint("list_artifacts says what was kept");
        Failure::Refused { operation: "read it".to_owned(), error: Box::new(error) }
    })
}

/// What was kept of an execution, as far as one answer goes.
pub async fn kept(client: &Client, id: ExecutionId) -> Result<Artifacts, Failure> {
    let mut list = client.artifacts(id).await?;
    let truncated = list.truncated || list.artifacts.len() > ARTIFACTS_MAX;
    list.artifacts.truncate(ARTIFACTS_MAX);
    let artifacts = list.artifacts.into_iter().map(|each| KeptArtifact {
        uri: resources::of_artifact(id, &each.path),
        path: each.path,
        size: each.size,
        sha256: each.sha256,
        media_type: each.media_type,
    });
    Ok(Artifacts { artifacts: artifacts.collect(), refused: list.refused, truncated })
}

/// No artifacts.
pub fn none() -> Artifacts {
    Artifacts { artifacts: Vec::new(), refused: Vec::new(), truncated: false }
}

/// Links to artifacts, to stand in an answer.
pub fn links(artifacts: &[KeptArtifact]) -> Vec<ContentBlock> {
    let links = artifacts.iter().take(LINKS_MAX).map(|each| {
        ContentBlock::resource_link(
            Resource::new(each.uri.clone(), each.path.clone())
                .with_mime_type(each.media_type.clone())
                .with_size(each.size),
        )
    });
    links.collect()
}
