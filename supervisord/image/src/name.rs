//! What an image is called by people: a name and perhaps a tag, as policies have it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// A name and a tag, `latest` where none was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageName(String);

/// Characters of a name, and of a tag.
const MAX_PART: usize = 64;

/// The tag that is meant where none is given.
const TAG: &str = "latest";

/// The name of the image that is made of the host's own /usr and is in no store.
const RESERVED: &str = "default";

/// How to write a name, for hints.
pub const NAME_RULE: &str = "an image is called NAME or NAME:TAG; a name is 1 to 64 characters of a-z, 0-9 \
    and -, a tag may have . and _ as well, and `default` is the host's own";

impl ImageName {
    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it is looked up by: of one size, so that no text crosses to who looks it up.
    pub fn key(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl FromStr for ImageName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, tag) = text.split_once(':').unwrap_or((text, TAG));
        let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let in_tag = |byte: u8| in_name(byte) || byte == b'.' || byte == b'_';
        let long = |part: &str| !(1..=MAX_PART).contains(&part.len());
        let good = name.bytes().all(in_name) && tag.bytes().all(in_tag);
        if !good || long(name) || long(tag) || name == RESERVED {
            return Err(NAME_RULE);
        }
        Ok(Self(format!("{name}:{tag}")))
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ImageName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_without_a_tag_is_that_with_the_usual_one() {
        let name: ImageName = "python-data".parse().unwrap();
        assert_eq!(name.as_str(), "python-data:latest");
        assert_eq!(name.key(), "python-data:latest".parse::<ImageName>().unwrap().key());
        assert_ne!(name.key(), "python-data:2".parse::<ImageName>().unwrap().key());
    }

    #[test]
    fn a_name_cannot_leave_its_directory_or_stand_for_the_host_s_own() {
        for wrong in [
            "",
            ":",
            "a:",
            ":a",
            "A",
            "../a",
            "a/b",
            "a:b:c",
            "a:../b",
            "default",
            "default:1",
            "é",
        ] {
            assert!(wrong.parse::<ImageName>().is_err(), "{wrong}");
        }
        assert!("x".repeat(65).parse::<ImageName>().is_err());
        assert!("node:22.1_slim".parse::<ImageName>().is_ok());
    }
}
