//! Which layers make up the image, and what they must be, for each kind of archive. Every document and every
//! layer with a digest is held against it before it is read.

use crate::{Bounds, Config};
use sha2::{Digest, Sha256};

use crate::unpack::archive::{Archive, MAX_MEMBERS, Range};
use crate::unpack::documents::{
    Descriptor, ImageConfig, Index, Manifest, Platform, Saved, digest, here, parse,
};
use crate::unpack::refusal::{Refusal, shown};

/// Indexes in indexes.
const MAX_INDEXES: usize = 4;

/// What tools call an image in an index.
const REFERENCES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// What an index is, by its media type.
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// An image as an archive has it.
#[derive(Debug)]
pub struct Image {
    /// What kind of archive it is.
    pub format: &'static str,
    /// What it is called there.
    pub references: Vec<String>,
    /// The digest of its manifest.
    pub manifest_digest: Option<String>,
    /// What its builder wants done with it.
    pub config: Config,
    /// Its layers, the lowest first.
    pub layers: Vec<Layer>,
    /// Whether names in them can be whiteouts.
    pub layered: bool,
    /// How many digests were compared.
    pub verified: u64,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Where it is.
    pub range: Range,
    /// Its digest as it is.
    pub digest: Option<String>,
    /// Its digest once it is decompressed.
    pub plain_digest: Option<String>,
}

/// Where blobs are, by their digits.
#[derive(Debug, Clone, Copy)]
enum Blobs {
    /// As in an OCI image layout.
    Layout,
    /// Each a member of its own, as skopeo writes a directory.
    Flat,
}

/// Finds the image.
pub fn find(
    archive: &mut Archive,
    select: Option<&str>,
    bounds: &Bounds,
) -> Result<Image, Refusal> {
    let is_all = archive.index()?;
    let is_layout = archive.has("oci-layout") && archive.has("index.json");
    let is_directory = archive.has("version") && archive.has("manifest.json");
    let is_saved =
        archive.has("manifest.json") && archive.document("manifest.json").is_ok_and(is_saved);
    // Taken for a root directory, it would be an image of which no digest was compared.
    if !is_all && (is_layout || is_directory || is_saved) {
        return Err(Refusal::new(format!(
            "it is an archive of layers with more than {MAX_MEMBERS} members"
        )));
    }
    let image = if is_layout {
        from_layout(archive, select)?
    } else if is_directory {
        from_directory(archive)?
    } else if is_saved {
        from_saved(archive, select)?
    } else {
        whole(archive, select)?
    };
    if image.layers.len() as u64 > bounds.layers {
        let why =
            format!("it has {} layers, and {} are allowed", image.layers.len(), bounds.layers);
        return Err(Refusal::new(why));
    }
    Ok(image)
}

fn is_saved(document: Vec<u8>) -> bool {
    serde_json::from_slice::<Vec<Saved>>(&document).is_ok()
}

/// A root directory and nothing else.
fn whole(archive: &Archive, select: Option<&str>) -> Result<Image, Refusal> {
    if select.is_some() {
        return Err(Refusal::new(
            "it is an archive of a root directory: there is nothing to select",
        ));
    }
    let range = archive.whole()?;
    Ok(Image {
        format: "root",
        references: Vec::new(),
        manifest_digest: None,
        config: Config::default(),
        layers: vec![Layer { range, digest: None, plain_digest: None }],
        layered: false,
        verified: 0,
    })
}

fn from_layout(archive: &Archive, select: Option<&str>) -> Result<Image, Refusal> {
    let document = archive.document("index.json")?;
    let mut index: Index = parse(&document, "index.json")?;
    let (mut references, mut verified) = (Vec::new(), 0);
    let mut select = select;
    for _ in 0..MAX_INDEXES {
        let chosen = choose(&index.manifests, select)?;
        references.extend(names_of(chosen));
        let bytes = blob(archive, Blobs::Layout, chosen)?;
        verified += 1;
        if !is_index(chosen, &bytes) {
            let image = image(archive, Blobs::Layout, &bytes, "oci")?;
            let manifest_digest = Some(chosen.digest.clone());
            let verified = verified + image.verified;
            return Ok(Image { references, manifest_digest, verified, ..image });
        }
        index = parse(&bytes, "an index")?;
        select = None;
    }
    Err(Refusal::new("indexes lead to indexes and to no image"))
}

fn is_index(descriptor: &Descriptor, bytes: &[u8]) -> bool {
    match descriptor.media_type.as_str() {
        "" => serde_json::from_slice::<Index>(bytes).is_ok(),
        media_type => INDEXES.contains(&media_type),
    }
}

fn names_of(descriptor: &Descriptor) -> Vec<String> {
    let annotations = descriptor.annotations.iter().flatten();
    let mut names: Vec<_> = annotations
        .filter(|(key, _)| REFERENCES.contains(&key.as_str()))
        .map(|(_, name)| name.clone())
        .collect();
    names.dedup();
    names
}

/// The one that was asked for, else the one of this machine.
fn choose<'a>(
    manifests: &'a [Descriptor],
    select: Option<&str>,
) -> Result<&'a Descriptor, Refusal> {
    let of_this_machine = |platform: &Platform| {
        let here = here();
        platform.os == here.os && platform.architecture == here.architecture
    };
    let fitting: Vec<_> = manifests
        .iter()
        .filter(|each| each.platform.as_ref().is_none_or(of_this_machine))
        .filter(|each| {
            select.is_none_or(|wanted| each.digest == wanted || named(&names_of(each), wanted))
        })
        .collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(Refusal::new(match select {
            Some(wanted) => {
                format!("the archive has no image {} for this machine", shown(wanted.as_bytes()))
            }
            None => format!("the archive has no image for {} {}", here().os, here().architecture),
        })),
        several => {
            let names = several.iter().map(|each| {
                names_of(each).into_iter().next().unwrap_or_else(|| each.digest.clone())
            });
            Err(Refusal::new(which(names)))
        }
    }
}

fn which(names: impl Iterator<Item = String>) -> String {
    let names: Vec<_> = names.take(20).map(|name| shown(name.as_bytes())).collect();
    format!("the archive has several images; choose one by --select: {}", names.join(", "))
}

fn named(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name == wanted || name.rsplit('/').next() == Some(wanted))
}

/// What a descriptor speaks of, once it is seen to be that.
fn blob(archive: &Archive, blobs: Blobs, descriptor: &Descriptor) -> Result<Vec<u8>, Refusal> {
    let name = blob_name(blobs, &descriptor.digest)?;
    let bytes = archive.document(&name)?;
    check(&bytes, &descriptor.digest, descriptor.size)?;
    Ok(bytes)
}

fn check(bytes: &[u8], expected: &str, size: u64) -> Result<(), Refusal> {
    let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    if digest(expected)? == found && size == bytes.len() as u64 {
        return Ok(());
    }
    let length = bytes.len();
    let is = format!("is sha256:{found} of {length}");
    Err(Refusal::new(format!("a document is to be {expected} of {size} bytes, and {is}")))
}

fn blob_name(blobs: Blobs, of: &str) -> Result<String, Refusal> {
    let digits = digest(of)?;
    Ok(match blobs {
        Blobs::Layout => format!("blobs/sha256/{digits}"),
        Blobs::Flat => digits.to_owned(),
    })
}

/// skopeo's `dir:`: a manifest and its blobs.
fn from_directory(archive: &Archive) -> Result<Image, Refusal> {
    let bytes = archive.document("manifest.json")?;
    let digits: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let image = image(archive, Blobs::Flat, &bytes, "directory of blobs")?;
    Ok(Image { manifest_digest: Some(format!("sha256:{digits}")), ..image })
}

fn image(
    archive: &Archive,
    blobs: Blobs,
    manifest: &[u8],
    format: &'static str,
) -> Result<Image, Refusal> {
    let manifest: Manifest = parse(manifest, "the image's manifest")?;
    let bytes = blob(archive, blobs, &manifest.config)?;
    let config: ImageConfig = parse(&bytes, "the image's configuration")?;
    let mut layers = Vec::new();
    for (descriptor, plain) in paired(&manifest.layers, &config)? {
        let name = blob_name(blobs, &descriptor.digest)?;
        let missing = || Refusal::new(format!("the archive lacks the layer {name}"));
        let range = archive.find(&name).ok_or_else(missing)?;
        if range.length != descriptor.size {
            let why =
                format!("{name} is to have {} bytes and has {}", descriptor.size, range.length);
            return Err(Refusal::new(why));
        }
        let digest = Some(digest(&descriptor.digest)?.to_owned());
        layers.push(Layer { range, digest, plain_digest: Some(plain) });
    }
    Ok(Image {
        format,
        references: Vec::new(),
        manifest_digest: None,
        config: fitting(config)?,
        layers,
        layered: true,
        verified: 1,
    })
}

/// Each layer with the digest that the configuration gives it.
fn paired<'a, T>(layers: &'a [T], config: &ImageConfig) -> Result<Vec<(&'a T, String)>, Refusal> {
    let plain = &config.rootfs.diff_ids;
    if layers.len() != plain.len() {
        let why = format!("it has {} layers and digests of {}", layers.len(), plain.len());
        return Err(Refusal::new(why));
    }
    layers.iter().zip(plain).map(|(layer, plain)| Ok((layer, digest(plain)?.to_owned()))).collect()
}

/// What the builder wants, if it is for a machine like this one.
fn fitting(config: ImageConfig) -> Result<Config, Refusal> {
    let here = here();
    let fits = |said: &str, is: &str| said.is_empty() || said == is;
    if !fits(&config.os, &here.os) || !fits(&config.architecture, &here.architecture) {
        let (os, architecture) =
            (shown(config.os.as_bytes()), shown(config.architecture.as_bytes()));
        return Err(Refusal::new(format!("it was built for {os} {architecture}")));
    }
    Ok(config.config.unwrap_or_default().wanted())
}

/// `docker save`, `podman save` and `skopeo copy` to `docker-archive:`.
fn from_saved(archive: &Archive, select: Option<&str>) -> Result<Image, Refusal> {
    let document = archive.document("manifest.json")?;
    let images: Vec<Saved> = parse(&document, "manifest.json")?;
    let tags = |image: &Saved| image.repo_tags.clone().unwrap_or_default();
    let fitting_name = |image: &&Saved| select.is_none_or(|wanted| named(&tags(image), wanted));
    let chosen: Vec<_> = images.iter().filter(fitting_name).collect();
    let saved = match chosen.as_slice() {
        [one] => one,
        [] => return Err(Refusal::new("the archive has no image of that name")),
        several => {
            let names = several.iter().map(|image| {
                tags(image).into_iter().next().unwrap_or_else(|| image.config.clone())
            });
            return Err(Refusal::new(which(names)));
        }
    };
    let bytes = archive.document(&saved.config)?;
    let mut verified = 0;
    // The configuration is called by its digest; nothing else vouches for it here.
    let stem = saved.config.rsplit('/').next().unwrap_or_default();
    if let Ok(digits) = digest(&format!("sha256:{}", stem.trim_end_matches(".json"))) {
        check(&bytes, &format!("sha256:{digits}"), bytes.len() as u64)?;
        verified = 1;
    }
    let config: ImageConfig = parse(&bytes, "the image's configuration")?;
    let mut layers = Vec::new();
    for (name, plain) in paired(&saved.layers, &config)? {
        let missing =
            || Refusal::new(format!("the archive lacks the layer {}", shown(name.as_bytes())));
        let range = archive.find(name).ok_or_else(missing)?;
        layers.push(Layer { range, digest: None, plain_digest: Some(plain) });
    }
    Ok(Image {
        format: "docker",
        references: tags(saved),
        manifest_digest: None,
        config: fitting(config)?,
        layers,
        layered: true,
        verified,
    })
}
