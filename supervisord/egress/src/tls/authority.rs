//! A sandbox's own certificate authority. Its certificate is trusted in that sandbox and nowhere
//! else, so its key is worth nothing to anybody who has no such sandbox.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use ring::rand::{SecureRandom, SystemRandom};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::{Zeroize, Zeroizing};

use crate::limits::{AUTHORITY_VALIDITY, CLOCK_TOLERANCE, LEAF_VALIDITY};

/// A certificate authority for one session: ECDSA on P-256, which every TLS library in use knows.
pub struct Authority {
    issuer: CertifiedIssuer<'static, Key>,
    /// The key of all leaves: a second one would protect nothing that this one doesn't.
    leaf: Key,
}

/// Why a certificate couldn't be made.
#[derive(Debug)]
pub struct AuthorityError {
    operation: &'static str,
    cause: Option<rcgen::Error>,
}

/// A private key that is overwritten when it is dropped.
struct Key(KeyPair);

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0.sign(message)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Display for AuthorityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)
    }
}

impl std::error::Error for AuthorityError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

impl Authority {
    /// A new authority with a new key.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn new() -> Result<Self, AuthorityError> {
        Self::of(Key::generate().map_err(not_made)?)
    }

    /// The authority with this key once more, for a sandbox that outlived its daemon: what it signs is
    /// trusted by whoever trusts its first certificate, which has the same name and key.
    ///
    /// # Errors
    ///
    /// When this is no key, or the system gives no random bytes.
    pub fn with_key(pkcs8: &[u8]) -> Result<Self, AuthorityError> {
        let der = PrivatePkcs8KeyDer::from(pkcs8);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256);
        Self::of(Key(key.map_err(not_made)?))
    }

    /// Its key, as PKCS #8.
    pub fn key(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(self.issuer.key().0.serialize_der())
    }

    fn of(key: Key) -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("supervisord session authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_TOLERANCE).into();
        params.not_after = (now + AUTHORITY_VALIDITY).into();
        params.serial_number = Some(serial_number()?);
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(not_made)?;
        Ok(Self { issuer, leaf: Key::generate().map_err(not_made)? })
    }

    /// The certificate for the sandbox's trust store.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The certificate, as it stands in a chain.
    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    /// The key of the leaves, for a TLS server.
    pub(crate) fn leaf_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf.0.serialize_der()))
    }

    /// A certificate for a host name or address.
    pub(crate) fn leaf(&self, host: &str) -> Result<CertificateDer<'static>, AuthorityError> {
        let failed = |cause| AuthorityError {
            operation: "signing a certificate for an inspected host",
            cause: Some(cause),
        };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into().map_err(failed)?),
        }];
        // The name is in the alternative names, as RFC 9110 §4.3.4 has it; a common name holds 64
        // characters at the most and is read by nobody.
        params.distinguished_name = named("inspected by supervisord");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now();
        params.not_before = (now - CLOCK_TOLERANCE).into();
        params.not_after = (now + LEAF_VALIDITY).into();
        params.serial_number = Some(serial_number()?);
        let leaf = params.signed_by(&self.leaf, &self.issuer).map_err(failed)?;
        Ok(leaf.der().clone())
    }
}

impl Key {
    fn generate() -> Result<Self, rcgen::Error> {
        KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map(Self)
    }
}

fn not_made(cause: rcgen::Error) -> AuthorityError {
    AuthorityError { operation: "making a session's certificate authority", cause: Some(cause) }
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// 127 random bits: positive, and no program that remembers certificates by issuer and number ever
/// sees one twice.
fn serial_number() -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0u8; 16];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| AuthorityError { operation: "drawing a serial number", cause: None })?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x7f | 0x40;
    }
    Ok(SerialNumber::from_slice(&bytes))
}
