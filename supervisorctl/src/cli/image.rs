//! The options of `image`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use supervisor_image::{Bounds, ImageName};

use crate::units;

/// What to do with images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Import an archive or a directory (root only)
    Import(ImageImportOptions),
    /// List images by name, with digest and size
    List(StoreOption),
    /// Show one image: where it came from, what was left out, what its builder wanted
    Show(OneImage),
    /// Remove an image, or one of several names of it; none that a launcher has
    Remove(OneImage),
    /// Remove images that have no name and that no launcher has, and what broken-off imports have left
    Gc(StoreOption),
    /// Read all of an image, or of every one, and compare it with its digest
    Verify(SomeImages),
}

/// Where images are.
#[derive(Debug, Clone, Args)]
pub struct StoreOption {
    /// Directory of the images, which the launcher has as --images too
    #[arg(long, value_name = "DIR", default_value = "/var/lib/supervisord-images")]
    pub images: PathBuf,
}

/// An image.
#[derive(Debug, Args)]
pub struct OneImage {
    /// NAME, NAME:TAG, or sha256: and enough digits
    pub image: String,
    /// Where it is.
    #[command(flatten)]
    pub store: StoreOption,
}

/// Some images.
#[derive(Debug, Args)]
pub struct SomeImages {
    /// NAME, NAME:TAG, or sha256: and enough digits [default: every image]
    pub images: Vec<String>,
    /// Directory of the images
    #[arg(long = "images", value_name = "DIR", default_value = "/var/lib/supervisord-images")]
    pub directory: PathBuf,
}

/// Options of `image import`.
#[derive(Debug, Args)]
pub struct ImageImportOptions {
    /// An OCI image layout, what `docker save`, `podman save` and `skopeo copy` write, or a root directory:
    /// as a tar archive (also by gzip or zstd), or as a directory
    pub path: PathBuf,
    /// What policies call it; a name that another image has goes over to this one. Without a name, `image
    /// gc` removes it
    #[arg(long, value_name = "NAME[:TAG]")]
    pub name: Option<ImageName>,
    /// Which image of an archive with several: a name it has there, or a digest
    #[arg(long, value_name = "NAME")]
    pub select: Option<String>,
    /// Bytes that it may hold once it is decompressed
    #[arg(long, value_name = "SIZE", value_parser = units::size, default_value_t = Bounds::default().bytes)]
    pub max_bytes: u64,
    /// Entries that all its layers may have together
    #[arg(long, value_name = "NUMBER", default_value_t = Bounds::default().entries)]
    pub max_entries: u64,
    /// Where images are.
    #[command(flatten)]
    pub store: StoreOption,
}
