//! The JSON documents of archives, as far as they are read: the OCI image specification (image layout,
//! index, manifest, configuration) and what `docker save` writes. Other fields are others' business.

use std::collections::BTreeMap;

use crate::Config;
use serde::Deserialize;

use crate::unpack::refusal::Refusal;

/// A reference to a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub platform: Option<Platform>,
    #[serde(default)]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// What an image of several was built for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Platform {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
}

/// An index: images of several platforms, or of several names.
#[derive(Debug, Deserialize)]
pub struct Index {
    pub manifests: Vec<Descriptor>,
}

/// A manifest: what makes up one image.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

/// The configuration of an image.
#[derive(Debug, Deserialize)]
pub struct ImageConfig {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub config: Option<Run>,
    pub rootfs: RootFs,
}

/// What its builder wants done with it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Run {
    #[serde(default)]
    pub env: Option<Vec<String>>,
    #[serde(default)]
    pub working_dir: Option<String>,
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    #[serde(default)]
    pub cmd: Option<Vec<String>>,
    #[serde(default)]
    pub user: Option<String>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The digests of its layers once they are decompressed.
#[derive(Debug, Deserialize)]
pub struct RootFs {
    pub diff_ids: Vec<String>,
}

/// One image of what `docker save` writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Saved {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    pub layers: Vec<String>,
}

impl Run {
    /// In our words.
    pub fn wanted(self) -> Config {
        Config {
            environment: self.env.unwrap_or_default(),
            working_directory: self.working_dir.unwrap_or_default(),
            entrypoint: self.entrypoint.unwrap_or_default(),
            command: self.cmd.unwrap_or_default(),
            user: self.user.unwrap_or_default(),
            labels: self.labels.unwrap_or_default(),
        }
    }
}

/// Reads a document.
pub fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8], name: &str) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| Refusal::new(format!("{name}: {error}")))
}

/// The digest in a reference. There is one kind that every tool writes.
pub fn digest(text: &str) -> Result<&str, Refusal> {
    let digits = text.strip_prefix("sha256:").unwrap_or_default();
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if digits.len() == 64 && digits.bytes().all(hexadecimal) {
        return Ok(digits);
    }
    let shown = crate::unpack::refusal::shown(text.as_bytes());
    Err(Refusal::new(format!("the digest {shown} is no sha256: and 64 digits")))
}

/// This machine, in the words of the specification.
pub fn here() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned() }
}
