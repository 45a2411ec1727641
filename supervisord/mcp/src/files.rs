//! Tools on the files of a session.

use rmcp::RoleServer;
use rmcp::service::RequestContext;
use supervisor_api::{FileEntry, FileKind, MoveFile};

use crate::failure::Failure;

use crate::arguments::{ListFiles, MoveTo, ReadFile, RemoveFile, WriteFile};
use crate::results::{Files, Piece};
use crate::server::Server;
use crate::tools::{Reply, Told};
use crate::{excerpt, runs};

/// Entries of one answer.
const ENTRIES_MAX: u16 = 1000;

/// `list_files`.
pub async fn list(
    server: &Server,
    arguments: ListFiles,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Files>, Failure> {
    let ListFiles { session, path, after } = arguments;
    let client = &server.client;
    let found = client.list_files(session, path.as_deref(), after.as_deref(), ENTRIES_MAX).await?;
    let truncated = found.truncated;
    let lines = found.entries.iter().map(line).collect::<String>();
    let words = match (found.entries.is_empty(), truncated) {
        (true, _) => "the directory is empty".to_owned(),
        (false, false) => lines,
        (false, true) => match &found.next {
            Some(next) => format!("{lines}[… some were left out: go on with after {next:?}]"),
            None => format!("{lines}[… some were left out]"),
        },
    };
    Ok(Told::new(Files { entries: found.entries, truncated, next: found.next }, words).into())
}

fn line(entry: &FileEntry) -> String {
    match entry.kind {
        FileKind::Directory => format!("{}/\n", entry.path),
        FileKind::File => format!("{} ({} bytes)\n", entry.path, entry.size),
        FileKind::SymbolicLink => format!("{} (a link)\n", entry.path),
        FileKind::Other => format!("{} (no file)\n", entry.path),
    }
}

/// `read_file`.
pub async fn read(
    server: &Server,
    arguments: ReadFile,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<Piece>, Failure> {
    let ReadFile { session, path, offset, length } = arguments;
    let size = server.client.stat_file(session, &path).await?.size;
    let fetch = async |from, most| server.client.file_piece(session, &path, from, most).await;
    // One whose end was passed is asked for all the same if it has none: it may be a directory.
    if offset >= size && size > 0 {
        let piece = excerpt::piece(Vec::new(), offset, size);
        return Ok(Told::new(piece, format!("{size} bytes in all")).into());
    }
    let bytes = match size {
        0 => Vec::new(),
        _ => fetch(offset, excerpt::length(length)).await?,
    };
    if let (0, None, Some(name)) = (offset, length, excerpt::picture(&bytes))
        && size <= excerpt::PICTURE_MAX
    {
        let (piece, picture) = excerpt::shown(&fetch(0, size).await?, name);
        return Ok(Told { beside: vec![picture], ..Told::new(piece, path.clone()) }.into());
    }
    let piece = excerpt::piece(bytes, offset, size);
    Ok(Told::new(piece, format!("{size} bytes in all")).with_text().into())
}

/// `write_file`.
pub async fn write(
    server: &Server,
    arguments: WriteFile,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<FileEntry>, Failure> {
    let WriteFile { session, path, text, base64, executable } = arguments;
    let bytes = runs::content(&path, text, base64)?;
    let entry = server.client.write_file(session, &path, executable, bytes).await?;
    let words = format!("{}: {} bytes written", entry.path, entry.size);
    Ok(Told::new(entry, words).into())
}

/// `remove_file`.
pub async fn remove(
    server: &Server,
    arguments: RemoveFile,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<FileEntry>, Failure> {
    let RemoveFile { session, path, recursive } = arguments;
    let entry = server.client.remove_file(session, &path, recursive).await?;
    let words = format!("{} is gone", entry.path);
    Ok(Told::new(entry, words).into())
}

/// `move_file`.
pub async fn rename(
    server: &Server,
    arguments: MoveTo,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<FileEntry>, Failure> {
    let MoveTo { session, from, to, replace } = arguments;
    let entry = server.client.move_file(session, &MoveFile { from, to, replace }).await?;
    let words = format!("it is {} now", entry.path);
    Ok(Told::new(entry, words).into())
}
