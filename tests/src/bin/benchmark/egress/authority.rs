//! Certificates of this run: an authority for the upstream, and one for squid to inspect with.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, Error, IsCa, KeyPair,
    KeyUsagePurpose,
};

use crate::failure::Failure;

/// Where the certificates are.
#[derive(Debug)]
pub struct Certificates {
    /// The authority that vouches for the upstream.
    pub root: PathBuf,
    /// The upstream's certificate and key.
    pub leaf: (PathBuf, PathBuf),
    /// An authority with its key, in one file.
    pub inspecting: PathBuf,
}

impl Certificates {
    /// Makes them in a directory.
    pub fn make(directory: &Path) -> Result<Self, Failure> {
        let failed = || Failure::of("make certificates");
        let issuer = authority("benchmark upstream").map_err(failed())?;
        let key = KeyPair::generate().map_err(failed())?;
        let mut leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).map_err(failed())?;
        leaf.distinguished_name.push(DnType::CommonName, "127.0.0.1");
        let leaf = leaf.signed_by(&key, &issuer).map_err(failed())?;
        let inspecting = authority("benchmark inspection").map_err(failed())?;
        let both = inspecting.pem() + &inspecting.key().serialize_pem();
        let write = |name: &str, text: &str| -> io::Result<PathBuf> {
            let path = directory.join(name);
            fs::write(&path, text)?;
            Ok(path)
        };
        let written = || -> io::Result<Self> {
            Ok(Self {
                root: write("root.pem", &issuer.pem())?,
                leaf: (write("leaf.pem", &leaf.pem())?, write("leaf.key", &key.serialize_pem())?),
                inspecting: write("inspecting.pem", &both)?,
            })
        };
        written().map_err(Failure::of("write certificates"))
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}
