//! The key that signs checkpoints: a credential of the service where there is one, else made at the
//! first start. Nobody but the daemon's user can read it; whoever can sign as the daemon.

use std::env;
use std::fmt;
use std::fs;
use std::path::PathBuf;

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use supervisor_api::PublicKey;
use zeroize::Zeroizing;

use super::directory::Directory;
use super::error::AuditError;

/// The credential's name (systemd.exec(5), LoadCredential=). It is a private key in PKCS #8, DER, as
/// `openssl genpkey -algorithm ed25519 -outform DER` makes it.
const CREDENTIAL: &str = "audit-key";

/// The variable that names the directory of the service's credentials.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

const KEY: &str = "key";
const PUBLIC_KEY: &str = "key.pub";

/// Bytes of a key file at the most; an Ed25519 key takes 48 to 85.
const MAX_KEY: usize = 1024;

/// The key.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

impl SigningKey {
    /// The service's key, the one of the directory, or a new one that is then the directory's.
    pub fn find(directory: &Directory) -> Result<Self, AuditError> {
        let credential = env::var_os(CREDENTIALS).map(|path| PathBuf::from(path).join(CREDENTIAL));
        let key = match credential.filter(|path| path.exists()) {
            Some(path) => {
                let bytes = fs::read(&path).map_err(AuditError::at("read the key", &path))?;
                Self::parse(&Zeroizing::new(bytes))
                    .ok_or_else(|| unusable(path, "give a private key in PKCS #8, DER"))?
            }
            None => Self::of(directory)?,
        };
        directory.replace(PUBLIC_KEY, format!("{}\n", key.public).as_bytes(), 0o644)?;
        Ok(key)
    }

    fn of(directory: &Directory) -> Result<Self, AuditError> {
        let path = directory.path().join(KEY);
        let bytes = match directory.read_small(KEY, MAX_KEY)? {
            Some(bytes) => Zeroizing::new(bytes),
            None => {
                let failed = |_| {
                    AuditError::at("make the key", &path)(std::io::Error::other("no random bytes"))
                };
                let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(failed)?;
                directory.replace(KEY, made.as_ref(), 0o600)?;
                Zeroizing::new(made.as_ref().to_vec())
            }
        };
        let remedy = "restore it from a backup, or remove it to sign with a new one from here on";
        Self::parse(&bytes).ok_or_else(|| unusable(path, remedy))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes).ok()?;
        let public = PublicKey::new(pair.public_key().as_ref().try_into().ok()?);
        Some(Self { pair, public })
    }

    /// What signs.
    pub const fn pair(&self) -> &Ed25519KeyPair {
        &self.pair
    }

    /// What the signatures are checked with.
    pub const fn public(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for SigningKey {
    /// The public half.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.public, f)
    }
}

fn unusable(path: PathBuf, remedy: &'static str) -> AuditError {
    AuditError::Refused { path, reason: "has no Ed25519 key".to_owned(), remedy }
}
