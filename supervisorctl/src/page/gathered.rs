//! What a report is made of, as far as one page goes.

use supervisor_api::{
    Artifact, AuditRecord, Envelope, ErrorCode, Execution, RefusedArtifact, SampleList, SessionId,
    State,
};

use crate::cli::Selection;
use crate::client::{Client, Page};
use crate::failure::Failure;

/// Bytes of each stream that are shown: so many of its beginning.
pub const OUTPUT_SHOWN: u64 = 64 << 10;

/// Bytes of a picture, and of all pictures of an execution.
pub const PICTURE_MAX: u64 = 1 << 20;
const PICTURES_MAX: u64 = 8 << 20;

/// Records of what was decided.
pub const RECORDS_MAX: usize = 2000;

/// Executions of a session: the newest.
const EXECUTIONS_MAX: usize = 50;

/// Executions on a page of the list.
const PAGE: u16 = 200;

/// Media types that a browser shows as an image, in which nothing runs and from which nothing is fetched.
const PICTURES: [&str; 5] = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"];

/// What is known of one execution.
#[derive(Debug)]
pub struct Gathered {
    /// Its record.
    pub execution: Execution,
    /// What it used over time.
    pub samples: SampleList,
    /// The beginnings of its streams.
    pub stdout: Vec<u8>,
    /// Of standard error as well.
    pub stderr: Vec<u8>,
    /// What was kept, pictures with their bytes.
    pub artifacts: Vec<(Artifact, Option<Vec<u8>>)>,
    /// What was not.
    pub refused: Vec<RefusedArtifact>,
    /// What was decided.
    pub records: Vec<AuditRecord>,
    /// Whether there are more records.
    pub more_records: bool,
    /// Its receipt, once it has one.
    pub receipt: Option<Envelope>,
}

impl Gathered {
    /// All of it.
    pub async fn of(client: &Client, execution: Execution) -> Result<Self, Failure> {
        let id = execution.id;
        let stdout = client.output_piece(id, Selection::Stdout, 0, OUTPUT_SHOWN).await?;
        let stderr = client.output_piece(id, Selection::Stderr, 0, OUTPUT_SHOWN).await?;
        let samples = client.samples(id).await?;
        let (mut records, mut after, mut more_records) = (Vec::new(), 0, false);
        loop {
            let page = client.decisions(id, after).await?;
            records.extend(page.records);
            match page.next {
                Some(_) if records.len() >= RECORDS_MAX => {
                    more_records = true;
                    break;
                }
                Some(next) => after = next,
                None => break,
            }
        }
        let mut one = Self {
            execution,
            samples,
            stdout,
            stderr,
            artifacts: Vec::new(),
            refused: Vec::new(),
            records,
            more_records,
            receipt: None,
        };
        if one.execution.state == State::Finished {
            one.add_artifacts(client).await?;
            one.receipt = match client.receipt(id).await {
                Ok(receipt) => Some(receipt),
                // One of another time may have none.
                Err(failure) if failure.code() == Some(ErrorCode::NotFound) => None,
                Err(failure) => return Err(failure),
            };
        }
        Ok(one)
    }

    async fn add_artifacts(&mut self, client: &Client) -> Result<(), Failure> {
        let id = self.execution.id;
        let list = client.artifacts(id).await?;
        self.refused = list.refused;
        let mut left = PICTURES_MAX;
        for artifact in list.artifacts {
            let size = artifact.size;
            let is_picture = PICTURES.contains(&artifact.media_type.as_str());
            let picture = match is_picture && size > 0 && size <= PICTURE_MAX.min(left) {
                true => Some(client.artifact_piece(id, &artifact.path, 0, size).await?),
                false => None,
            };
            left -= picture.as_ref().map_or(0, |_| size);
            self.artifacts.push((artifact, picture));
        }
        Ok(())
    }
}

/// Those of a session, newest first.
pub async fn of_session(client: &Client, id: SessionId) -> Result<Vec<Gathered>, Failure> {
    client.session(id).await?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = client.list(Page { limit: PAGE, after, state: None, all: true }).await;
        let page = match page {
            // Everybody's are for administrators; others have their own.
            Err(failure) if failure.code() == Some(ErrorCode::PermissionDenied) => {
                client.list(Page { limit: PAGE, after, state: None, all: false }).await?
            }
            page => page?,
        };
        for execution in page.executions.into_iter().filter(|each| each.session == id) {
            all.push(Gathered::of(client, execution).await?);
            if all.len() >= EXECUTIONS_MAX {
                return Ok(all);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}
