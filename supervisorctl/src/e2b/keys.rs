//! The API key, and the tokens of sandboxes that follow from it. Both are compared in constant time.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};
use supervisor_api::SessionId;

use crate::failure::Failure;

/// Bytes of a key that is made here.
const MADE: usize = 20;

/// Characters of a key at the least and at the most.
const SHORTEST: usize = 20;
const LONGEST: usize = 256;

/// What keys begin with; clients look at it.
const PREFIX: &str = "e2b_";

/// The key.
pub struct Keys {
    key: String,
    tokens: hmac::Key,
    comparison: hmac::Key,
    expected: hmac::Tag,
}

impl Keys {
    /// The key that a file holds, or one that is made now.
    pub fn of(file: Option<&Path>) -> Result<Self, Failure> {
        let random = SystemRandom::new();
        let failed = || Failure::Negative("the kernel gives no random bytes".to_owned());
        let key = match file {
            Some(path) => read(path)?,
            None => {
                let mut bytes = [0; MADE];
                random.fill(&mut bytes).map_err(|_| failed())?;
                format!("{PREFIX}{}", hex(&bytes))
            }
        };
        let mut salt = [0; 32];
        random.fill(&mut salt).map_err(|_| failed())?;
        let comparison = hmac::Key::new(hmac::HMAC_SHA256, &salt);
        let expected = hmac::sign(&comparison, key.as_bytes());
        let tokens = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        Ok(Self { key, tokens, comparison, expected })
    }

    /// The key itself, for whoever started this.
    pub fn shown(&self) -> &str {
        &self.key
    }

    /// Whether this is the key. What is compared are digests under a salt that nobody knows.
    pub fn is_key(&self, shown: &[u8]) -> bool {
        hmac::verify(&self.comparison, shown, self.expected.as_ref()).is_ok()
    }

    /// The token of a sandbox: the same after a restart, as long as the key is.
    pub fn token(&self, id: SessionId) -> String {
        hex(hmac::sign(&self.tokens, id.to_string().as_bytes()).as_ref())
    }

    /// Whether this is the token of a sandbox.
    pub fn is_token(&self, id: SessionId, shown: &[u8]) -> bool {
        let expected = hmac::sign(&self.comparison, self.token(id).as_bytes());
        hmac::verify(&self.comparison, shown, expected.as_ref()).is_ok()
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let failed = || Failure::local(format!("cannot read the key in {}", path.display()));
    let mut file = File::open(path).map_err(failed())?;
    let mode = file.metadata().map_err(failed())?.mode();
    if mode & 0o077 != 0 {
        let words = format!("others may read {}: chmod 600 it, and make a new key", path.display());
        return Err(Failure::Usage(words));
    }
    let mut text = String::new();
    let most = LONGEST as u64 + 2;
    file.by_ref().take(most).read_to_string(&mut text).map_err(failed())?;
    let key = text.trim_end();
    if !(SHORTEST..=LONGEST).contains(&key.len())
        || !key.bytes().all(|byte| byte.is_ascii_graphic())
    {
        let words = format!(
            "a key has {SHORTEST} to {LONGEST} visible characters and nothing else; what stands in {} is none",
            path.display()
        );
        return Err(Failure::Usage(words));
    }
    Ok(key.to_owned())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_or_read_and_its_tokens_stay_the_same() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        let made = Keys::of(None).expect("a key");
        fs::write(&path, format!("{}\n", made.shown())).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("it is ours");
        assert!(Keys::of(Some(&path)).is_err(), "others may read it");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        let read = Keys::of(Some(&path)).expect("a key");
        assert!(read.is_key(made.shown().as_bytes()) && !read.is_key(b"") && !read.is_key(b"e2b_"));
        let (one, other) = (SessionId::from_bits(1), SessionId::from_bits(2));
        assert!(read.is_token(one, made.token(one).as_bytes()));
        assert!(!read.is_token(other, made.token(one).as_bytes()) && !read.is_token(one, b""));
        fs::write(&path, "short").expect("a file");
        assert!(Keys::of(Some(&path)).is_err());
    }
}
