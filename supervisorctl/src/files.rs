//! `files`: a session's files, one by one and as archives.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use supervisor_api::{
    FileChange, FileChangeKind, FileEntry, FileKind, MakeDirectory, MoveFile, UnpackReport,
};

use crate::cli::{FileGetOptions, FileWatchOptions, FilesCommand, GlobalOptions};
use crate::client::Client;
use crate::connection::Answer;
use crate::failure::Failure;
use crate::reader::{Lines, next_of};
use crate::table::{cell, table, text};
use crate::units::show_size;
use crate::{console, local, save, terminal};

/// Stands for standard output.
const STANDARD_OUTPUT: &str = "-";

/// `files …`.
pub async fn files(
    client: &Client,
    command: &FilesCommand,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    match command {
        FilesCommand::List(options) => {
            let list = client.list_files(
                options.id,
                options.path.as_deref(),
                options.after.as_deref(),
                options.limit,
            );
            let list = list.await?;
            if global.json {
                return console::print_json(&list);
            }
            console::print(&describe(&list.entries, global))?;
            if let Some(next) = &list.next {
                console::notice(&format!("more with --after {}\n", terminal::name(next)));
            } else if list.truncated {
                console::notice("some entries are left out: their names are no paths\n");
            }
            Ok(())
        }
        FilesCommand::Watch(options) => watch(client, options, global).await,
        FilesCommand::Stat(options) => {
            told(&client.stat_file(options.id, &options.path).await?, global)
        }
        FilesCommand::Get(options) => get(client, options).await,
        FilesCommand::Put(options) => {
            let (file, executable) = local::open(&options.local)?;
            let path = match &options.path {
                Some(path) => path.clone(),
                None => own_name(&options.local)?,
            };
            let show = !(global.json || global.quiet);
            let entry = client.put_file(options.id, &path, executable, file, show).await?;
            told(&entry, global)
        }
        FilesCommand::Remove(options) => {
            let recursive = options.recursive;
            quietly(&client.remove_file(options.id, &options.path, recursive).await?, global)
        }
        FilesCommand::Move(options) => {
            let (from, to) = (options.from.clone(), options.to.clone());
            let request = MoveFile { from, to, replace: options.replace };
            quietly(&client.move_file(options.id, &request).await?, global)
        }
        FilesCommand::Mkdir(options) => {
            let request = MakeDirectory { path: options.path.clone() };
            quietly(&client.make_directory(options.id, &request).await?, global)
        }
        FilesCommand::Pack(options) => {
            let answer = client.pack(options.id).await?;
            keep(answer, &options.to, options.force).await
        }
        FilesCommand::Unpack(options) => {
            let (file, _) = local::open(&options.archive)?;
            let show = !(global.json || global.quiet);
            unpacked(&client.unpack(options.id, file, show).await?, global)
        }
    }
}

async fn watch(
    client: &Client,
    options: &FileWatchOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let mut answer = client.watch_files(options.id, options.since).await?;
    let mut lines = Lines::default();
    while let Some(change) = next_of::<FileChange>(&mut answer, &mut lines).await? {
        if global.json {
            console::print_json(&change)?;
            continue;
        }
        let kind = match change.kind {
            FileChangeKind::Watching => "watching",
            FileChangeKind::Created => "created",
            FileChangeKind::Modified => "modified",
            FileChangeKind::Attributes => "attributes",
            FileChangeKind::Moved => "moved",
            FileChangeKind::Removed => "removed",
            FileChangeKind::Lost => "lost",
        };
        let to = change.to.map(|to| format!(" to {}", terminal::name(&to))).unwrap_or_default();
        let path = terminal::name(&change.path);
        console::print(&format!("{} {kind} {path}{to}\n", change.sequence))?;
    }
    Ok(())
}

async fn get(client: &Client, options: &FileGetOptions) -> Result<(), Failure> {
    let answer = client.get_file(options.id, &options.path).await?;
    let to = match &options.to {
        Some(to) => to.clone(),
        None => PathBuf::from(own_name(Path::new(&options.path))?),
    };
    keep(answer, &to, options.force).await
}

/// Writes an answer where the operator said. A file that could not be written in full does not stay.
async fn keep(mut answer: Answer, to: &Path, force: bool) -> Result<(), Failure> {
    if to.as_os_str() == STANDARD_OUTPUT {
        while let Some(bytes) = answer.bytes().await? {
            console::print_bytes(&bytes)?;
        }
        return Ok(());
    }
    let mut file = save::file(to, force)?;
    while let Some(bytes) = answer.bytes().await? {
        file.write(&bytes)?;
    }
    file.sync()?;
    file.commit().map(drop)
}

fn own_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(OsStr::to_str);
    name.map(str::to_owned).ok_or_else(|| {
        let source = io::Error::from(io::ErrorKind::InvalidFilename);
        Failure::Local { doing: format!("cannot tell the name of {}", path.display()), source }
    })
}

fn told(entry: &FileEntry, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(entry);
    }
    console::print(&describe(std::slice::from_ref(entry), global))
}

fn quietly(entry: &FileEntry, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json { console::print_json(entry) } else { Ok(()) }
}

fn unpacked(report: &UnpackReport, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(report);
    }
    let (files, directories, links) = (report.files, report.directories, report.links);
    let size = show_size(report.bytes);
    console::print(&format!("{files} files ({size}), {directories} directories, {links} links\n"))?;
    for skipped in &report.skipped {
        let (path, reason) = (terminal::name(&skipped.path), terminal::name(&skipped.reason));
        console::notice(&format!("skipped: {path}: {reason}\n"));
    }
    let more = report.skipped_count.saturating_sub(report.skipped.len() as u64);
    if more > 0 {
        console::notice(&format!("skipped: {more} more\n"));
    }
    Ok(())
}

fn describe(entries: &[FileEntry], global: &GlobalOptions) -> String {
    if global.quiet {
        return entries
            .iter()
            .map(|entry| terminal::name(&entry.path).into_owned() + "\n")
            .collect();
    }
    let mut rows = table(&["MODE", "SIZE", "MODIFIED", "PATH"]);
    for entry in entries {
        let path = match &entry.target {
            Some(target) => format!("{} -> {target}", entry.path),
            None => entry.path.clone(),
        };
        let mode = format!("{}{}", letter(entry.kind), permissions(entry.mode));
        let size = show_size(entry.size);
        rows.add_row([&mode, &size, &entry.modified_at, &path].map(|text| cell(text)));
    }
    text(&rows)
}

fn letter(kind: FileKind) -> char {
    match kind {
        FileKind::File => '-',
        FileKind::Directory => 'd',
        FileKind::SymbolicLink => 'l',
        FileKind::Other => '?',
    }
}

/// As ls(1) writes them.
fn permissions(mode: u32) -> String {
    let bits = "rwxrwxrwx".chars().enumerate();
    bits.map(|(place, letter)| if mode & (0o400 >> place) != 0 { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_written_as_ls_writes_them() {
        assert_eq!(permissions(0o755), "rwxr-xr-x");
        assert_eq!(permissions(0o640), "rw-r-----");
    }
}
