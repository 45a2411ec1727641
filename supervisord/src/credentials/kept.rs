//! What is kept over a restart, in `credentials/` in the state directory: which credentials are revoked,
//! the newest refresh tokens, and the key of placeholders. Each file is this daemon's alone (mode 0600)
//! and is replaced whole.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::OFlag;
use supervisor_egress::credential::{
    CredentialName, Keep, MAX_VALUE, Pending, Secret, SourceError,
};
use supervisor_sys::random_bits;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::loaded::CredentialError;
use super::sealed::Seal;

/// Name of the directory.
const DIRECTORY: &str = "credentials";

/// Name of the file with the names of those that are revoked, a line each.
const REVOKED: &str = "revoked";

/// Name of the file with the key of placeholders.
const PLACEHOLDERS: &str = "placeholder-key";

/// Numbers for first tokens.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Bytes of a file at the most: a sealed token, or the names of a thousand credentials.
const MAX_FILE: u64 = (4 * MAX_VALUE) as u64;

/// What is kept.
#[derive(Debug)]
pub struct Kept {
    directory: PathBuf,
    revoked: Mutex<()>,
    tokens: Mutex<HashMap<CredentialName, Arc<Token>>>,
    /// By credential, whatever token its configuration gives.
    places: Mutex<HashMap<CredentialName, Arc<Place>>>,
}

/// Where the refresh token of a credential is kept.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// Held by whoever has a token of it under way.
    turn: Arc<tokio::sync::Mutex<()>>,
    /// The number of the first token that what is written came of. Held while the file is written, so that an older
    /// token never replaces a newer one, and none of an earlier configuration one of a later.
    written: Mutex<u64>,
}

/// The newest refresh token of a credential.
#[derive(Debug)]
struct Token {
    place: Arc<Place>,
    /// Grows with every first token that the configuration gives.
    number: u64,
    /// By the token that the configuration gave: when root gives another one, it takes the place of what
    /// had come of the first.
    seal: Seal,
    newest: Mutex<Arc<Secret>>,
}

impl Kept {
    /// Opens the directory, making it if need be.
    ///
    /// # Errors
    /// It can't be made.
    pub fn open(state: &Path) -> Result<Self, CredentialError> {
        let directory = state.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(CredentialError::io("make", &directory, error));
            }
            Ok(()) | Err(_) => {}
        }
        let (tokens, places) = (Mutex::default(), Mutex::default());
        Ok(Self { directory, revoked: Mutex::default(), tokens, places })
    }

    /// The key of placeholders, which is made at the first start.
    ///
    /// # Errors
    /// The file can't be read or written, or is damaged.
    pub fn placeholder_key(&self) -> Result<Zeroizing<[u8; 32]>, CredentialError> {
        let path = self.directory.join(PLACEHOLDERS);
        let failed = |error| CredentialError::io("use", &path, error);
        let mut key = Zeroizing::new([0; 32]);
        match read(&path).map_err(failed)? {
            Some(bytes) if bytes.len() == key.len() => key.copy_from_slice(&bytes),
            Some(_) => return Err(failed(io::Error::other("it is damaged; remove it"))),
            None => {
                for half in key.chunks_exact_mut(16) {
                    half.copy_from_slice(&random_bits().map_err(failed)?.to_le_bytes());
                }
                replace(&path, &*key).map_err(failed)?;
            }
        }
        Ok(key)
    }

    /// The credentials that are revoked.
    ///
    /// # Errors
    /// The file can't be read or is damaged: what is revoked must not come back by that.
    pub fn revoked(&self) -> Result<BTreeSet<CredentialName>, CredentialError> {
        let path = self.directory.join(REVOKED);
        let failed = |error| CredentialError::io("use", &path, error);
        let bytes = read(&path).map_err(failed)?.unwrap_or_default();
        let text = std::str::from_utf8(&bytes).map_err(|error| failed(io::Error::other(error)))?;
        let names = text.lines().map(|line| line.parse().map_err(io::Error::other));
        names.collect::<Result<_, _>>().map_err(failed)
    }

    /// Remembers whether a credential is revoked.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn set_revoked(
        &self,
        name: &CredentialName,
        is_revoked: bool,
    ) -> Result<(), CredentialError> {
        let _one = self.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = self.revoked()?;
        let changed = if is_revoked { names.insert(name.clone()) } else { names.remove(name) };
        if !changed {
            return Ok(());
        }
        let text = names.iter().map(|name| format!("{name}\n")).collect::<String>();
        let path = self.directory.join(REVOKED);
        replace(&path, text.as_bytes()).map_err(|error| CredentialError::io("write", &path, error))
    }

    /// The newest refresh token of a credential that began with this one. Whoever asks for the same
    /// credential again gets the same keeper.
    ///
    /// # Errors
    /// The file can't be read, or is damaged.
    pub fn token(
        &self,
        name: &CredentialName,
        first: Secret,
    ) -> Result<Arc<dyn Keep>, CredentialError> {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let seal = Seal::of(name, &first);
        if let Some(known) = tokens.get(name).filter(|known| known.seal == seal) {
            return Ok(known.clone());
        }
        let place = self.place(name);
        let failed = |error| CredentialError::io("use", &place.path, error);
        let kept = match read(&place.path).map_err(failed)? {
            Some(bytes) => seal.open(&bytes).map_err(failed)?,
            None => None,
        };
        let newest = Mutex::new(Arc::new(kept.unwrap_or(first)));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = Arc::new(Token { place, number, seal, newest });
        tokens.insert(name.clone(), token.clone());
        Ok(token)
    }

    /// Waits until no refresh token is under way; none is sent as long as what this returns is held.
    pub async fn settle(&self) -> Vec<OwnedMutexGuard<()>> {
        let turns: Vec<_> = {
            let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            places.values().map(|place| place.turn.clone()).collect()
        };
        let mut held = Vec::with_capacity(turns.len());
        for turn in turns {
            held.push(turn.lock_owned().await);
        }
        held
    }

    fn place(&self, name: &CredentialName) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let place = places.entry(name.clone()).or_insert_with(|| {
            let path = self.directory.join(format!("{name}.refresh-token"));
            Arc::new(Place { path, turn: Arc::default(), written: Mutex::default() })
        });
        place.clone()
    }
}

impl Keep for Token {
    fn turn(&self) -> Pending<'_, OwnedMutexGuard<()>> {
        Box::pin(self.place.turn.clone().lock_owned())
    }

    fn token(&self) -> Arc<Secret> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, token: Secret) -> Pending<'_, Result<(), SourceError>> {
        let token = Arc::new(token);
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = token.clone();
        let sealed = self.seal.close(&token);
        let (place, number) = (self.place.clone(), self.number);
        Box::pin(async move {
            let write = spawn_blocking(move || -> io::Result<()> {
                let mut written = place.written.lock().unwrap_or_else(PoisonError::into_inner);
                if number < *written {
                    return Ok(()); // root has given another first token since
                }
                replace(&place.path, &sealed?)?;
                *written = number;
                Ok(())
            });
            let written = write.await.map_err(io::Error::other).and_then(|written| written);
            written.map_err(|error| SourceError::caused("writing a refresh token", error))
        })
    }
}

/// The bytes of a plain file, or that there is none.
fn read(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    if !file.metadata()?.is_file() || length > MAX_FILE {
        return Err(io::Error::other("it is not a file of this daemon"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Puts a file with these bytes in place of one of this name, if there is one; it is on disk then.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags.bits());
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.into())).unwrap()
    }

    fn name() -> CredentialName {
        "crm".parse().unwrap()
    }

    #[tokio::test]
    async fn a_refresh_token_survives_a_restart_and_a_new_first_one_replaces_it() {
        let state = TempDir::new().unwrap();
        let kept = Kept::open(state.path()).unwrap();
        let token = kept.token(&name(), secret("first-one")).unwrap();
        assert!(token.token().is(b"first-one"));
        token.keep(secret("second-one")).await.unwrap();
        assert!(kept.token(&name(), secret("first-one")).unwrap().token().is(b"second-one"));

        let restarted = Kept::open(state.path()).unwrap();
        assert!(restarted.token(&name(), secret("first-one")).unwrap().token().is(b"second-one"));
        assert!(restarted.token(&name(), secret("other-one")).unwrap().token().is(b"other-one"));

        for entry in fs::read_dir(state.path().join(DIRECTORY)).unwrap() {
            let entry = entry.unwrap();
            let metadata = entry.metadata().unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
            let bytes = fs::read(entry.path()).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("-one"), "in clear");
        }
        let directory = fs::metadata(state.path().join(DIRECTORY)).unwrap();
        assert_eq!(directory.permissions().mode() & 0o777, 0o700);
    }

    /// Whether it is done at the first look.
    async fn at_once(work: impl Future) -> bool {
        timeout(Duration::ZERO, work).await.is_ok()
    }

    #[tokio::test]
    async fn what_comes_of_a_first_token_that_was_replaced_does_not_replace_the_new_ones() {
        let state = TempDir::new().unwrap();
        let kept = Kept::open(state.path()).unwrap();
        let old = kept.token(&name(), secret("first-one")).unwrap();
        let new = kept.token(&name(), secret("other-one")).unwrap();
        let turn = old.turn().await;
        assert!(!at_once(new.turn()).await, "one ask at a time, whatever it began with");
        new.keep(secret("other-two")).await.unwrap();
        old.keep(secret("second-one")).await.unwrap(); // which was under way
        let restarted = Kept::open(state.path()).unwrap();
        assert!(restarted.token(&name(), secret("other-one")).unwrap().token().is(b"other-two"));
        assert!(!at_once(kept.settle()).await);
        drop(turn);
        let settled = kept.settle().await;
        assert!(!at_once(new.turn()).await);
        drop(settled);
        assert!(at_once(new.turn()).await);
    }

    #[test]
    fn what_is_revoked_stays_so_until_it_is_not() {
        let state = TempDir::new().unwrap();
        let kept = Kept::open(state.path()).unwrap();
        kept.set_revoked(&name(), true).unwrap();
        kept.set_revoked(&name(), true).unwrap();
        assert!(Kept::open(state.path()).unwrap().revoked().unwrap().contains(&name()));
        kept.set_revoked(&name(), false).unwrap();
        assert!(kept.revoked().unwrap().is_empty());
        fs::write(state.path().join(DIRECTORY).join(REVOKED), "\0 damaged").unwrap();
        assert!(kept.revoked().is_err());
    }

    #[test]
    fn the_key_of_placeholders_stays_the_same() {
        let state = TempDir::new().unwrap();
        let key = Kept::open(state.path()).unwrap().placeholder_key().unwrap();
        assert_ne!(*key, [0; 32]);
        assert_eq!(key, Kept::open(state.path()).unwrap().placeholder_key().unwrap());
        fs::write(state.path().join(DIRECTORY).join(PLACEHOLDERS), "short").unwrap();
        assert!(Kept::open(state.path()).unwrap().placeholder_key().is_err());
    }
}
