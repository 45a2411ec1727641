//! Reading what the operator named: regular files only, and never more than a bound.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::failure::Failure;
use crate::units::show_size;

/// Opens a regular file, and tells whether it may be executed. Anything else could block or have no
/// end, so it is opened without waiting and then refused.
pub fn open(path: &Path) -> Result<(File, bool), Failure> {
    let shown = path.display();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(Failure::local(format!("cannot open {shown}")))?;
    let metadata = file.metadata().map_err(Failure::local(format!("cannot look at {shown}")))?;
    if !metadata.is_file() {
        return Err(Failure::Usage(format!("{shown} is not a regular file")));
    }
    Ok((file, metadata.permissions().mode() & 0o111 != 0))
}

/// Reads to the end, or refuses what is larger than the bound in bytes.
pub fn read(reader: impl Read, most: u64, shown: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    reader
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(Failure::local(format!("cannot read {shown}")))?;
    if bytes.len() as u64 > most {
        let words = format!("{shown} is larger than {}, the most it may have", show_size(most));
        return Err(Failure::Usage(words));
    }
    Ok(bytes)
}

/// Reads a whole file as text.
pub fn text(path: &Path, most: u64) -> Result<String, Failure> {
    let shown = path.display().to_string();
    let (file, _) = open(path)?;
    String::from_utf8(read(file, most, &shown)?)
        .map_err(|_| Failure::Usage(format!("{shown} is not UTF-8")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_and_not_cut() {
        assert_eq!(read(&[0u8; 4][..], 4, "x").map(|read| read.len()).ok(), Some(4));
        let refused = read(&[0u8; 5][..], 4, "x").expect_err("too large");
        assert!(refused.to_string().contains("x is larger than"), "{refused}");
    }

    #[test]
    fn a_device_is_not_read() {
        assert!(open(Path::new("/dev/zero")).is_err());
    }
}
