//! Files that we kept, opened again: on a disk that was damaged, or restored by somebody else's program, anything may stand in
//! the place of one. A FIFO would keep whoever opens it until somebody writes.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// Opens one, or makes it for us alone. What is not a regular file is an error that names it, of the kind
/// [`io::ErrorKind::InvalidData`]; nothing here waits for it or follows it.
pub fn open(place: impl AsFd, name: &str, how: OFlag) -> io::Result<File> {
    let flags = how | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match openat(place, name, flags, Mode::from_bits_truncate(0o600)) {
        // A symbolic link; a FIFO or a socket; a directory.
        Err(Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => return Err(strange(name)),
        opened => File::from(opened?),
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(strange(name)) }
}

/// All of one; nothing if it isn't there. One that is longer than we write them is damaged.
pub fn read(place: impl AsFd, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open(place, name, OFlag::O_RDONLY) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(damaged(name, format!("has more than {most} bytes")));
    }
    Ok(Some(bytes))
}

/// What a file holds can't be what was kept.
pub fn damaged(name: &str, why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the file `{name}` {why}"))
}

fn strange(name: &str) -> io::Error {
    damaged(name, "is not a regular file")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("file"), "kept").unwrap();
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        symlink("file", at("link")).unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        drop(UnixListener::bind(at("socket")).unwrap());
        let place = File::open(directory.path()).unwrap();
        assert_eq!(read(&place, "file", 4).unwrap().unwrap(), b"kept");
        assert_eq!(read(&place, "none", 4).unwrap(), None);
        let long = read(&place, "file", 3).unwrap_err();
        assert_eq!(long.to_string(), "the file `file` has more than 3 bytes");
        let new = OFlag::O_WRONLY | OFlag::O_CREAT;
        for name in ["fifo", "link", "directory", "socket"] {
            for how in [OFlag::O_RDONLY, OFlag::O_RDWR, new] {
                let error = open(&place, name, how).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{name}");
                assert_eq!(error.to_string(), format!("the file `{name}` is not a regular file"));
            }
        }
        open(&place, "made", new).unwrap();
        assert_eq!(read(&place, "made", 0).unwrap().unwrap(), b"");
    }
}
