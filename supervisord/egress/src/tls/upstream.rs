//! The side of TLS that faces the world: always verified, against the host's roots and those that
//! the configuration names. A release has no way to turn that off.

use std::fmt;
use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::limits::RESUMABLE_SESSIONS;

/// What upstream certificates are verified against. Cloning is cheap.
#[derive(Clone)]
pub struct Roots {
    provider: Arc<CryptoProvider>,
    template: Arc<ClientConfig>,
    usable: usize,
    unreadable: usize,
}

/// Why upstreams couldn't be verified, so that nothing that needs TLS may be dialled.
#[derive(Debug)]
pub struct RootsError(Box<dyn std::error::Error + Send + Sync>);

/// The protocols that an upstream is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Offer {
    /// HTTP/2, or HTTP/1.1 where the upstream doesn't have it.
    Http2First,
    /// HTTP/1.1 alone, for upgrades.
    Http1Only,
}

impl fmt::Display for RootsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("preparing to verify upstream certificates")
    }
}

impl std::error::Error for RootsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.as_ref())
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots")
            .field("usable", &self.usable)
            .field("unreadable", &self.unreadable)
            .finish_non_exhaustive()
    }
}

impl Roots {
    /// The host's roots, and these besides.
    ///
    /// # Errors
    ///
    /// When there is no usable root at all, or one of the named ones is none.
    pub fn of_the_host_and(named: Vec<CertificateDer<'static>>) -> Result<Self, RootsError> {
        let host = rustls_native_certs::load_native_certs();
        for error in &host.errors {
            tracing::warn!(%error, "some of the host's root certificates can't be read");
        }
        Self::build(host.certs, named)
    }

    /// These roots alone.
    ///
    /// # Errors
    ///
    /// When there is none, or one of them is unusable.
    pub fn only(named: Vec<CertificateDer<'static>>) -> Result<Self, RootsError> {
        Self::build(Vec::new(), named)
    }

    /// The certificates of a file in PEM (RFC 7468).
    ///
    /// # Errors
    ///
    /// When there is none in it, or something else.
    pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        match read {
            Ok(found) if found.is_empty() => Err(RootsError("there is no certificate".into())),
            other => other.map_err(|error| RootsError(error.into())),
        }
    }

    /// The crypto library of all TLS connections, chosen here and never by default.
    pub fn provider(&self) -> Arc<CryptoProvider> {
        self.provider.clone()
    }

    /// A configuration for one session. Tickets to resume sessions are kept per session, so that an
    /// upstream can't tell that two sandboxes share a host by them.
    pub(crate) fn client(&self, offer: Offer) -> Arc<ClientConfig> {
        let mut config = ClientConfig::clone(&self.template);
        config.resumption = Resumption::in_memory_sessions(RESUMABLE_SESSIONS);
        config.alpn_protocols = match offer {
            Offer::Http2First => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            Offer::Http1Only => vec![b"http/1.1".to_vec()],
        };
        Arc::new(config)
    }

    fn build(
        host: Vec<CertificateDer<'static>>,
        named: Vec<CertificateDer<'static>>,
    ) -> Result<Self, RootsError> {
        let mut store = RootCertStore::empty();
        // Hosts have roots that are malformed by today's rules; each only fails to be trusted.
        let (_, unreadable) = store.add_parsable_certificates(host);
        for root in named {
            store.add(root).map_err(|error| RootsError(Box::new(error)))?;
        }
        let usable = store.len();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
                .build()
                .map_err(|error| RootsError(Box::new(error)))?;
        let template = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| RootsError(Box::new(error)))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        #[cfg(debug_assertions)]
        let template = match crate::without::without("certificates") {
            true => super::unverified::believing(template),
            false => template,
        };
        Ok(Self { provider, template: Arc::new(template), usable, unreadable })
    }
}
