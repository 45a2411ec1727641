//! Reads values from files, and refuses files that anybody but root and this daemon could have read or
//! written.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::{getegid, geteuid};
use supervisor_egress::credential::MAX_VALUE;
use zeroize::Zeroizing;

use super::configured::Place;

/// Bytes of a file at the most: three values of the longest kind, and their names in JSON.
const MAX_FILE: usize = 4 * MAX_VALUE;

/// Permission bits of everybody else.
const OTHERS: u32 = 0o007;

/// Permission bits of the group that let it change a file.
const GROUP_WRITES: u32 = 0o030;

/// Permission bits of the group.
const GROUP: u32 = 0o070;

/// The variable in which systemd says where its credentials are (systemd.exec(5)).
pub const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads a value, without the line end that editors put at the end of a file.
///
/// # Errors
/// There is no such file, or it is not one that holds a secret safely.
pub fn read(place: &Place) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = path(place, std::env::var_os(DIRECTORY))?;
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    check(&file)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_FILE {
        return Err(io::Error::other(format!("it is longer than {MAX_FILE} bytes")));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn path(place: &Place, directory: Option<OsString>) -> io::Result<PathBuf> {
    match place {
        Place::File(path) if path.is_absolute() => Ok(path.clone()),
        Place::File(_) => Err(io::Error::other("its path is not absolute")),
        Place::Systemd(name) => {
            let directory = directory.ok_or_else(|| {
                io::Error::other(format!("systemd has handed in none ({DIRECTORY} is not set)"))
            })?;
            let mut parts = Path::new(name).components();
            match (parts.next(), parts.next()) {
                (Some(Component::Normal(name)), None) => Ok(Path::new(&directory).join(name)),
                _ => Err(io::Error::other("its name is not that of a file")),
            }
        }
    }
}

/// A plain file of root's or ours that nobody else can read or change. The group may read it where that
/// is root's, as systemd sets it (its access list shows there), or ours.
fn check(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let refuse = |what: &str| Err(io::Error::other(format!("{what}; use chown and chmod")));
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
        return refuse("it belongs neither to root nor to this daemon");
    }
    let mode = metadata.mode();
    if mode & OTHERS != 0 {
        return refuse("everybody may use it");
    }
    if mode & GROUP_WRITES != 0 {
        return refuse("its group may change it");
    }
    let own_group = metadata.gid() == 0 || metadata.gid() == getegid().as_raw();
    if mode & GROUP != 0 && !own_group {
        return refuse("a group that is neither root's nor this daemon's may read it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn file(directory: &TempDir, text: &[u8], mode: u32) -> PathBuf {
        let path = directory.path().join(format!("{mode:o}"));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_value_is_what_stands_in_the_file_without_the_last_line_end() {
        let directory = TempDir::new().unwrap();
        for (text, value) in
            [(&b"abc\n"[..], &b"abc"[..]), (b"abc", b"abc"), (b"abc\n\n", b"abc\n")]
        {
            let path = file(&directory, text, 0o600);
            assert_eq!(*read(&Place::File(path)).unwrap(), value);
        }
    }

    #[test]
    fn a_file_that_others_can_reach_is_refused() {
        let directory = TempDir::new().unwrap();
        for (mode, problem) in
            [(0o604, "everybody"), (0o602, "everybody"), (0o620, "its group"), (0o660, "its group")]
        {
            let error = read(&Place::File(file(&directory, b"abc", mode))).unwrap_err().to_string();
            assert!(error.contains(problem), "{mode:o}: {error}");
        }
        assert!(read(&Place::File(file(&directory, b"abc", 0o440))).is_ok());
    }

    #[test]
    fn what_is_no_plain_file_is_refused_without_waiting_for_it() {
        let directory = TempDir::new().unwrap();
        let real = file(&directory, b"abc", 0o600);
        let link = directory.path().join("link");
        symlink(&real, &link).unwrap();
        assert!(read(&Place::File(link)).is_err());
        assert!(read(&Place::File(directory.path().to_owned())).is_err());
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert!(read(&Place::File(pipe)).is_err());
        let long = file(&directory, &vec![b'x'; MAX_FILE + 1], 0o400);
        assert!(read(&Place::File(long)).is_err());
    }

    #[test]
    fn a_name_cannot_leave_systemd_s_directory() {
        let directory = Some(OsString::from("/run/credentials/supervisord.service"));
        let at = |name: &str| path(&Place::Systemd(name.to_owned()), directory.clone());
        assert!(at("credentials_forge").is_ok_and(|path| path.ends_with("credentials_forge")));
        for name in ["", ".", "..", "../x", "/etc/shadow", "a/b"] {
            assert!(at(name).is_err(), "{name}");
        }
        assert!(path(&Place::Systemd("forge".to_owned()), None).is_err());
        assert!(path(&Place::File("relative".into()), None).is_err());
    }
}
