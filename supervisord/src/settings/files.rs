//! Files that an administrator has written: regular ones, of a size with a bound. A FIFO would have a
//! reading wait for ever, and a device could fill the memory.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::fcntl::OFlag;
use supervisor_policy::{MAX_FILE_BYTES, MAX_FILES, MAX_SET_BYTES};

/// Files among the policies that are no policies: the floor, and what the clients answered.
const BESIDES: usize = 2;

/// What is said of a directory of policies that is not there.
const NO_DIRECTORY: &str = "there is no such directory, and the daemon puts no policies in force by itself; put the \
     files there, or name their place in the configuration (`policies`)";

/// Reads a file of at most so many bytes.
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > most {
        return Err(io::Error::other(format!("it is longer than {most} bytes")));
    }
    Ok(bytes)
}

/// Reads a file of at most so many bytes that is UTF-8.
pub fn read_text(path: &Path, most: usize) -> io::Result<String> {
    let bytes = read(path, most)?;
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// The policy files of a directory by name, as much of them as can be loaded together.
pub fn read_policies(directory: &Path) -> io::Result<HashMap<String, String>> {
    let (mut files, mut bytes) = (HashMap::new(), 0);
    let entries = fs::read_dir(directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(io::ErrorKind::NotFound, NO_DIRECTORY),
        _ => error,
    })?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = read_text(&path, MAX_FILE_BYTES)
            .map_err(|error| io::Error::new(error.kind(), format!("{name}: {error}")))?;
        bytes += text.len();
        files.insert(name, text);
        let (most, most_bytes) = (MAX_FILES + BESIDES, MAX_SET_BYTES + BESIDES * MAX_FILE_BYTES);
        if files.len() > most || bytes > most_bytes {
            let problem =
                format!("there are more than {most} files, or {most_bytes} bytes in them");
            return Err(io::Error::other(problem));
        }
    }
    Ok(files)
}
