//! A refresh token as it lies on disk. Its predecessor of all, the token that root gave, is in no file of
//! the daemon's, so the key follows from that one: who has the state directory alone has no token.

use std::io;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use supervisor_egress::credential::{CredentialName, Secret};
use supervisor_sys::random_bits;
use zeroize::Zeroizing;

/// Bytes that tell which first token a file goes with.
const MARK: usize = 32;

/// What seals the tokens of one credential that began with one token.
#[derive(Clone, PartialEq, Eq)]
pub struct Seal {
    mark: [u8; MARK],
    key: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    /// The seal of a credential that began with this token.
    pub fn of(name: &CredentialName, first: &Secret) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, first.expose());
        let derive = |purpose: &str| {
            let mut derived = Zeroizing::new([0; 32]);
            let tag = hmac::sign(&secret, format!("supervisord {purpose} of {name}").as_bytes());
            derived.copy_from_slice(tag.as_ref());
            derived
        };
        Self { mark: *derive("mark"), key: derive("key") }
    }

    /// A token as it may lie on disk.
    ///
    /// # Errors
    /// The kernel gives no random number.
    pub fn close(&self, token: &Secret) -> io::Result<Vec<u8>> {
        let [nonce @ .., _, _, _, _] = random_bits()?.to_le_bytes();
        let mut sealed = Vec::with_capacity(MARK + NONCE_LEN + token.expose().len() + 16);
        sealed.extend_from_slice(&self.mark);
        sealed.extend_from_slice(&nonce);
        let mut text = Zeroizing::new(token.expose().to_vec());
        let tag = self
            .cipher()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut text,
            )
            .map_err(|_| io::Error::other("it can't be sealed"))?;
        sealed.extend_from_slice(&text);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// The token in these bytes; none if they go with another first token.
    ///
    /// # Errors
    /// They go with this one and are damaged.
    pub fn open(&self, bytes: &[u8]) -> io::Result<Option<Secret>> {
        let damaged = || io::Error::other("it is damaged; remove it, and give a new first token");
        let Some(rest) = bytes.strip_prefix(&self.mark) else { return Ok(None) };
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut text = Zeroizing::new(sealed.to_vec());
        let opened = self
            .cipher()?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut text)
            .map_err(|_| damaged())?;
        let token = Secret::new(Zeroizing::new(opened.to_vec()));
        token.map(Some).map_err(|_| damaged())
    }

    fn cipher(&self) -> io::Result<LessSafeKey> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*self.key);
        key.map(LessSafeKey::new).map_err(|_| io::Error::other("the key has another length"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(Zeroizing::new(text.into())).unwrap()
    }

    fn seal(name: &str, first: &str) -> Seal {
        Seal::of(&name.parse().unwrap(), &secret(first))
    }

    #[test]
    fn only_who_has_the_first_token_reads_a_later_one() {
        let sealed = seal("crm", "first-one").close(&secret("second-one")).unwrap();
        assert!(!String::from_utf8_lossy(&sealed).contains("second"));
        let opened = seal("crm", "first-one").open(&sealed).unwrap();
        assert!(opened.is_some_and(|token| token.is(b"second-one")));
        assert!(seal("crm", "other-one").open(&sealed).unwrap().is_none());
        assert!(seal("other", "first-one").open(&sealed).unwrap().is_none());
        let again = seal("crm", "first-one").close(&secret("second-one")).unwrap();
        assert_ne!(sealed[MARK..], again[MARK..], "each has a number of its own");
        assert_eq!(format!("{:?}", seal("crm", "first-one")), "Seal(..)");
    }

    #[test]
    fn damage_is_told_and_never_taken_for_a_token() {
        let seal = seal("crm", "first-one");
        let sealed = seal.close(&secret("second-one")).unwrap();
        for at in MARK..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert!(seal.open(&bad).is_err(), "{at}");
        }
        for length in MARK..sealed.len() {
            assert!(seal.open(&sealed[..length]).is_err(), "{length}");
        }
    }
}
