//! Entries of a workspace in the words of E2B's file system.

use serde_json::{Value, json};
use supervisor_api::{FileEntry, FileKind, Session};

use super::paths;

/// The account that everything belongs to.
const OWNER: &str = "user";

/// Permissions of the workspace itself.
const ROOT_MODE: u32 = 0o755;

/// An entry, as calls tell it.
pub fn told(entry: &FileEntry) -> Option<Value> {
    let (kind, letter) = match entry.kind {
        FileKind::File => ("FILE_TYPE_FILE", '-'),
        FileKind::Directory => ("FILE_TYPE_DIRECTORY", 'd'),
        FileKind::SymbolicLink => ("FILE_TYPE_SYMLINK", 'L'),
        FileKind::Other => return None, // FIFOs and sockets: there is no word for them
    };
    let mut told = json!({
        "name": paths::name(&entry.path),
        "type": kind,
        "path": paths::absolute(&entry.path),
        "size": entry.size.to_string(), // 64 bits are text in the JSON of protobuf
        "mode": entry.mode,
        "permissions": permissions(letter, entry.mode),
        "owner": OWNER,
        "group": OWNER,
    });
    if let Some(fields) = told.as_object_mut() {
        if !entry.modified_at.is_empty() {
            fields.insert("modifiedTime".to_owned(), json!(entry.modified_at));
        }
        if let Some(target) = &entry.target {
            fields.insert("symlinkTarget".to_owned(), json!(target));
            fields.insert("isSymlink".to_owned(), json!(true));
        }
    }
    Some(told)
}

/// The workspace itself.
pub fn root(session: &Session) -> Value {
    json!({
        "name": paths::name(paths::ROOT),
        "type": "FILE_TYPE_DIRECTORY",
        "path": paths::ROOT,
        "size": "0",
        "mode": ROOT_MODE,
        "permissions": permissions('d', ROOT_MODE),
        "owner": OWNER,
        "group": OWNER,
        "modifiedTime": session.created_at,
    })
}

/// A file that was written, as uploads tell it.
pub fn written(path: &str) -> Value {
    json!({"name": paths::name(path), "type": "file", "path": paths::absolute(path)})
}

fn permissions(letter: char, mode: u32) -> String {
    let mut text = String::from(letter);
    for (bit, letter) in (0..9u32).rev().zip("rwxrwxrwx".chars()) {
        text.push(if mode >> bit & 1 == 1 { letter } else { '-' });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_told_as_people_know_them() {
        assert_eq!(permissions('d', 0o755), "drwxr-xr-x");
        assert_eq!(permissions('-', 0o640), "-rw-r-----");
    }
}
