//! Resources: artifacts, output and receipts of executions and files of sessions, by their own addresses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{
    ErrorData, ListResourcesResult, ReadResourceResult, Resource, ResourceContents,
    ResourceTemplate,
};
use serde_json::json;
use supervisor_api::{ErrorCode, ExecutionId, SessionId, Stream, percent_encoded};

use crate::client::Client;
use crate::failure::Failure;

use crate::{artifacts, long_runs};

/// Executions whose artifacts are on one page.
const EXECUTIONS_A_PAGE: u16 = 20;

/// The most bytes of a resource that is read; tools read more by pieces.
const RESOURCE_MAX: u64 = 4 << 20;

/// What our addresses begin with.
const SCHEME: &str = "supervisord://";

const OCTETS: &str = "application/octet-stream";
const TEXT: &str = "text/plain";

/// Something that can be read.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Artifact(ExecutionId, String),
    Output(ExecutionId, Stream),
    Receipt(ExecutionId),
    File(SessionId, String),
}

/// The address of an artifact.
pub fn of_artifact(id: ExecutionId, path: &str) -> String {
    format!("{SCHEME}executions/{id}/artifacts/{}", percent_encoded(path))
}

/// The kinds of address.
pub fn templates() -> Vec<ResourceTemplate> {
    let template = |path: &str, name: &str, words: &str, media_type: &str| {
        ResourceTemplate::new(format!("{SCHEME}{path}"), name)
            .with_description(words)
            .with_mime_type(media_type)
    };
    let receipt = "The signed statement about a finished execution: in-toto, in a DSSE envelope";
    vec![
        template(
            "executions/{execution}/artifacts/{+path}",
            "artifact",
            "A file that was kept of an execution",
            OCTETS,
        ),
        template(
            "executions/{execution}/stdout",
            "stdout",
            "Standard output of an execution",
            TEXT,
        ),
        template("executions/{execution}/stderr", "stderr", "Its standard error", TEXT),
        template("executions/{execution}/receipt", "receipt", receipt, "application/json"),
        template(
            "sessions/{session}/files/{+path}",
            "file",
            "A file of a session's workspace",
            OCTETS,
        ),
    ]
}

/// A page of artifacts, those of the newest executions first.
pub async fn list(
    client: &Client,
    cursor: Option<String>,
) -> Result<ListResourcesResult, ErrorData> {
    let after = match cursor {
        None => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| {
            ErrorData::invalid_params(format!("no page begins at {cursor:?}"), None)
        })?),
    };
    let found = client.finished(EXECUTIONS_A_PAGE, after).await;
    let found = found.map_err(|failure| long_runs::told(&failure))?;
    let mut resources = Vec::new();
    for execution in found.executions.iter().filter(|each| each.artifact_count > 0) {
        let kept = artifacts::kept(client, execution.id).await;
        for each in kept.map_err(|failure| long_runs::told(&failure))?.artifacts {
            resources.push(
                Resource::new(each.uri, each.path)
                    .with_description(format!("Artifact of {}", execution.id))
                    .with_mime_type(each.media_type)
                    .with_size(each.size),
            );
        }
    }
    let mut list = ListResourcesResult::with_all_items(resources);
    list.next_cursor = found.next.map(|id| id.to_string());
    Ok(list)
}

/// The bytes behind an address.
pub async fn read(client: &Client, uri: &str) -> Result<ReadResourceResult, ErrorData> {
    let missing = || {
        let words = format!("there is no resource {uri:?}");
        ErrorData::resource_not_found(words, Some(json!({"uri": uri})))
    };
    let place = parsed(uri).ok_or_else(missing)?;
    let (bytes, media_type) = match fetch(client, &place).await {
        Ok(found) => found,
        Err(failure) if failure.code() == Some(ErrorCode::NotFound) => return Err(missing()),
        Err(failure) => return Err(long_runs::told(&failure)),
    };
    let contents = match String::from_utf8(bytes) {
        Ok(text) => ResourceContents::text(text, uri),
        Err(error) => ResourceContents::blob(STANDARD.encode(error.as_bytes()), uri),
    };
    Ok(ReadResourceResult::new(vec![contents.with_mime_type(media_type)]))
}

async fn fetch(client: &Client, place: &Place) -> Result<(Vec<u8>, String), Failure> {
    match place {
        Place::Artifact(id, path) => {
            let artifact = artifacts::find(client, *id, path).await?;
            bounded(artifact.size, "read_artifact")?;
            let bytes = match artifact.size {
                0 => Vec::new(),
                size => client.artifact_piece(*id, path, 0, size).await?,
            };
            Ok((bytes, artifact.media_type))
        }
        Place::Output(id, selection) => {
            let output = client.status(*id, 0).await?.output;
            let stream = match selection {
                Stream::Stderr => output.stderr,
                Stream::Stdout => output.stdout,
            };
            bounded(stream.kept, "read_output")?;
            let bytes = client.output_piece(*id, *selection, 0, stream.kept).await?;
            Ok((bytes, TEXT.to_owned()))
        }
        Place::Receipt(id) => {
            let receipt = client.receipt(*id).await?;
            let bytes = serde_json::to_vec(&receipt);
            let bytes = bytes.map_err(Failure::misunderstood("read the receipt"))?;
            Ok((bytes, "application/json".to_owned()))
        }
        Place::File(id, path) => {
            let size = client.stat_file(*id, path).await?.size;
            bounded(size, "read_file")?;
            let bytes = match size {
                0 => Vec::new(),
                size => client.file_piece(*id, path, 0, size).await?,
            };
            Ok((bytes, OCTETS.to_owned()))
        }
    }
}

fn bounded(size: u64, tool: &str) -> Result<(), Failure> {
    if size <= RESOURCE_MAX {
        return Ok(());
    }
    let words =
        format!("it has {size} bytes, and {RESOURCE_MAX} are the most: use the tool {tool}");
    Err(Failure::Usage(words))
}

fn parsed(uri: &str) -> Option<Place> {
    let (kind, rest) = uri.strip_prefix(SCHEME)?.split_once('/')?;
    let (id, rest) = rest.split_once('/')?;
    match (kind, rest.split_once('/')) {
        ("executions", Some(("artifacts", path))) => {
            Some(Place::Artifact(id.parse().ok()?, decoded(path)?))
        }
        ("executions", None) => {
            let id = id.parse().ok()?;
            match rest {
                "stdout" => Some(Place::Output(id, Stream::Stdout)),
                "stderr" => Some(Place::Output(id, Stream::Stderr)),
                "receipt" => Some(Place::Receipt(id)),
                _ => None,
            }
        }
        ("sessions", Some(("files", path))) => Some(Place::File(id.parse().ok()?, decoded(path)?)),
        _ => None,
    }
}

/// A path as it is without percent-encoding (RFC 3986 §2.1); `None` if it is none then.
fn decoded(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_address_of_an_artifact_leads_back_to_it(path in "[^\0]{1,40}", bits: u128) {
            let id = ExecutionId::from_bits(bits);
            prop_assert_eq!(parsed(&of_artifact(id, &path)), Some(Place::Artifact(id, path)));
        }
    }

    #[test]
    fn what_is_no_address_of_ours_leads_nowhere() {
        let id = ExecutionId::from_bits(1);
        for wrong in [
            "file:///etc/passwd".to_owned(),
            format!("{SCHEME}executions/{id}"),
            format!("{SCHEME}executions/{id}/artifacts/"),
            format!("{SCHEME}executions/{id}/artifacts/%zz"),
            format!("{SCHEME}executions/x/stdout"),
            format!("{SCHEME}sessions/{id}/files/a"),
        ] {
            assert_eq!(parsed(&wrong), None, "{wrong}");
        }
    }
}
