//! Names of entries: paths beneath the image's root, whatever they begin with, and never above it.

use crate::{MAX_NAME, MAX_PATH};

use crate::unpack::refusal::{Refusal, shown};

/// The names of directories on the way, and of what is there. Empty for the root itself.
pub fn components(name: &[u8]) -> Result<Vec<&[u8]>, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(format!("the name {} {why}", shown(name))));
    if name.len() > MAX_PATH {
        return refuse("is longer than a path may be");
    }
    let mut components = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return refuse("leads upwards"),
            long if long.len() > MAX_NAME => return refuse("has a part of more than 255 bytes"),
            zero if zero.contains(&0) => return refuse("has a NUL in it"),
            other => components.push(other),
        }
    }
    Ok(components)
}
