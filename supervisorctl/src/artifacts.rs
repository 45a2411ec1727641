//! `artifacts list` and `artifacts get`, and the fetching that `run` does at the end.

use serde::Serialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use supervisor_api::{Artifact, ArtifactList, ExecutionId};

use crate::backoff::retrying;
use crate::cli::{GetOptions, GlobalOptions, IdOption};
use crate::client::Client;
use crate::failure::Failure;
use crate::save::Destination;
use crate::summary::DIGEST_SHOWN;
use crate::table::{cell, table, text};
use crate::units::show_size;
use crate::{console, exit, progress, terminal};

/// An artifact that is on this machine's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Saved {
    /// Path in the workspace.
    pub path: String,
    /// Path here.
    pub to: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, checked.
    pub sha256: String,
}

/// An artifact that could not be saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unsaved {
    /// Path in the workspace.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What became of several artifacts.
#[derive(Debug, Default)]
pub struct Fetched {
    /// Those that are here.
    pub saved: Vec<Saved>,
    /// Those that are not.
    pub unsaved: Vec<Unsaved>,
}

impl Fetched {
    /// A failure if one artifact was not saved.
    pub fn check(&self) -> Result<(), Failure> {
        match self.unsaved.len() {
            0 => Ok(()),
            1 => Err(Failure::Negative("one artifact was not saved".to_owned())),
            count => Err(Failure::Negative(format!("{count} artifacts were not saved"))),
        }
    }
}

/// `artifacts list`.
pub async fn list(
    client: &Client,
    options: &IdOption,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let list = client.artifacts(options.id).await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let paths = list.artifacts.iter().map(|artifact| terminal::name(&artifact.path) + "\n");
        return console::print(&paths.collect::<String>());
    }
    let mut rows = table(&["PATH", "SIZE", "TYPE", "SHA256"]);
    for artifact in &list.artifacts {
        let digest: String = artifact.sha256.chars().take(DIGEST_SHOWN).collect();
        let size = show_size(artifact.size);
        rows.add_row([&artifact.path, &size, &artifact.media_type, &digest].map(|text| cell(text)));
    }
    console::print(&text(&rows))?;
    console::notice(&left_out(&list));
    Ok(())
}

/// `artifacts get`.
pub async fn get(
    client: &Client,
    options: &GetOptions,
    global: &GlobalOptions,
) -> Result<u8, Failure> {
    let list = client.artifacts(options.id).await?;
    let wanted = select(&list, &options.paths)?;
    let destination = match &options.to {
        Some(directory) => Destination::create_or_open(directory.clone(), options.force)?,
        None => Destination::create(default_directory(options.id).into(), options.force)?,
    };
    let show = !(global.json || global.quiet);
    let fetched = fetch(client, options.id, &wanted, &destination, show).await?;
    if global.json {
        let mut result = json!({"id": options.id, "saved": fetched.saved});
        if let (false, Some(fields)) = (fetched.unsaved.is_empty(), result.as_object_mut()) {
            fields.insert("unsaved".to_owned(), json!(fetched.unsaved));
        }
        console::print_json(&result)?;
    } else if global.quiet {
        let paths = fetched.saved.iter().map(|saved| terminal::name(&saved.to) + "\n");
        console::print(&paths.collect::<String>())?;
    } else {
        console::print(&describe(&fetched, ""))?;
    }
    // The result has been told, so this goes beside it and not in its place.
    Ok(fetched.check().err().map_or(exit::SUCCESS, |failure| {
        console::failure(&failure);
        exit::FAILED
    }))
}

/// Where artifacts go when the operator names no directory.
pub fn default_directory(id: ExecutionId) -> String {
    format!("./artifacts-{id}")
}

/// Fetches these artifacts; one that fails does not keep the others back.
pub async fn fetch(
    client: &Client,
    id: ExecutionId,
    artifacts: &[&Artifact],
    destination: &Destination,
    show_progress: bool,
) -> Result<Fetched, Failure> {
    let mut fetched = Fetched::default();
    for artifact in artifacts {
        match retrying(async || fetch_one(client, id, artifact, destination, show_progress).await)
            .await
        {
            Ok(saved) => fetched.saved.push(saved),
            Err(failure @ Failure::Unreachable { .. }) => return Err(failure),
            Err(failure) => {
                let (path, reason) = (artifact.path.clone(), failure.chain());
                fetched.unsaved.push(Unsaved { path, reason });
            }
        }
    }
    Ok(fetched)
}

/// One line for each artifact, with this before it.
pub fn describe(fetched: &Fetched, indent: &str) -> String {
    let mut text = String::new();
    for saved in &fetched.saved {
        let digest: String = saved.sha256.chars().take(DIGEST_SHOWN).collect();
        let (to, size) = (terminal::name(&saved.to), show_size(saved.size));
        text.push_str(&format!("{indent}{to}  {size}  sha256 {}\n", terminal::name(&digest)));
    }
    for unsaved in &fetched.unsaved {
        let (path, reason) = (terminal::name(&unsaved.path), terminal::name(&unsaved.reason));
        text.push_str(&format!("{indent}not saved: {path}: {reason}\n"));
    }
    text
}

/// One line for each path that matched and was not kept.
pub fn left_out(list: &ArtifactList) -> String {
    let mut text = String::new();
    for refused in &list.refused {
        let (path, reason) = (terminal::name(&refused.path), terminal::name(&refused.reason));
        text.push_str(&format!("not kept: {path}: {reason}\n"));
    }
    if list.truncated {
        text.push_str("artifacts were left out because of a limit\n");
    }
    text
}

fn select<'a>(list: &'a ArtifactList, paths: &[String]) -> Result<Vec<&'a Artifact>, Failure> {
    if paths.is_empty() {
        return Ok(list.artifacts.iter().collect());
    }
    let find = |path: &String| {
        list.artifacts.iter().find(|artifact| artifact.path == *path).ok_or_else(|| {
            Failure::Negative(format!("there is no artifact {}", terminal::name(path)))
        })
    };
    paths.iter().map(find).collect()
}

async fn fetch_one(
    client: &Client,
    id: ExecutionId,
    artifact: &Artifact,
    destination: &Destination,
    show_progress: bool,
) -> Result<Saved, Failure> {
    let mut pending = destination.begin(&artifact.path)?;
    let mut answer = client.artifact(id, &artifact.path).await?;
    let bar = progress::bar(&artifact.path, artifact.size, show_progress);
    let mut digest = Sha256::new();
    let mut size = 0u64;
    while let Some(bytes) = answer.bytes().await? {
        size = size.saturating_add(bytes.len() as u64);
        if size > artifact.size {
            break; // more than was listed: wrong, and no reason to fill the disk with it
        }
        digest.update(&bytes);
        pending.write(&bytes)?;
        bar.inc(bytes.len() as u64);
    }
    bar.finish_and_clear();
    let sha256: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if size != artifact.size || sha256 != artifact.sha256 {
        let words = "what arrived is not what was listed (size or digest differ)";
        return Err(Failure::Negative(words.to_owned()));
    }
    let to = pending.commit()?.to_string_lossy().into_owned();
    Ok(Saved { path: artifact.path.clone(), to, size, sha256 })
}
