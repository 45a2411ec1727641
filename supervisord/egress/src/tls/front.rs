//! The side of TLS that a payload sees where its connection is inspected: a certificate for the host
//! that it asked for, signed by its session's authority.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};

use super::authority::{Authority, AuthorityError};
use crate::limits::{LEAF_VALIDITY, MAX_LEAVES, RESUMABLE_SESSIONS};
use crate::without::without;

/// The protocols that inspected connections may use, best first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Makes and keeps the server side's configuration for each host of one session.
pub struct Fronts {
    authority: Arc<Authority>,
    provider: Arc<CryptoProvider>,
    key: Result<Arc<dyn SigningKey>, Arc<rustls::Error>>,
    made: Mutex<HashMap<String, (Instant, Arc<ServerConfig>)>>,
}

/// Why a connection can't be inspected.
#[derive(Debug)]
pub enum FrontError {
    /// No certificate could be signed.
    Authority(AuthorityError),
    /// The TLS library takes our own key or certificate for bad.
    Tls(Arc<rustls::Error>),
}

impl std::fmt::Display for FrontError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("preparing to inspect a TLS connection")
    }
}

impl std::error::Error for FrontError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Authority(error) => Some(error),
            Self::Tls(error) => Some(error.as_ref()),
        }
    }
}

impl Fronts {
    /// Fronts that this authority signs for.
    pub fn new(authority: Arc<Authority>, provider: Arc<CryptoProvider>) -> Self {
        let key =
            rustls::crypto::ring::sign::any_ecdsa_type(&authority.leaf_key()).map_err(Arc::new);
        Self { authority, provider, key, made: Mutex::default() }
    }

    /// The configuration for connections to this host, a name or an address.
    ///
    /// # Errors
    ///
    /// [`FrontError`]; the connection must be refused then, never passed.
    pub fn of(&self, host: &str) -> Result<Arc<ServerConfig>, FrontError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, config)) = made.get(host)
            && since.elapsed() < LEAF_VALIDITY / 2
        {
            return Ok(config.clone());
        }
        let config = Arc::new(self.make(host)?);
        if made.len() >= MAX_LEAVES {
            made.clear();
        }
        made.insert(host.to_owned(), (Instant::now(), config.clone()));
        Ok(config)
    }

    fn make(&self, host: &str) -> Result<ServerConfig, FrontError> {
        if without("fronts") {
            return Err(FrontError::Tls(Arc::new(rustls::Error::General("left out".to_owned()))));
        }
        let key = self.key.clone().map_err(FrontError::Tls)?;
        let leaf = self.authority.leaf(host).map_err(FrontError::Authority)?;
        let certified = CertifiedKey::new(vec![leaf, self.authority.der()], key);
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| FrontError::Tls(Arc::new(error)))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        config.session_storage = ServerSessionMemoryCache::new(RESUMABLE_SESSIONS);
        // One ticket serves the next connection; the default of two costs every client 200 bytes.
        config.send_tls13_tickets = 1;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection, Stream};

    use super::*;

    /// Whether a client that trusts only this authority accepts a front's certificate.
    fn accepted(authority: &Authority, fronts: &Fronts, front: &str, asked: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(asked.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(fronts.of(front).unwrap()).unwrap();
        let (mut here, mut there) = std::os::unix::net::UnixStream::pair().unwrap();
        let serving = std::thread::spawn(move || {
            let mut byte = [0];
            Stream::new(&mut server, &mut there).read_exact(&mut byte).is_ok()
        });
        let written = Stream::new(&mut client, &mut here).write_all(b"x");
        // A socket that is closed with a ticket unread loses what was written to it.
        let kept = written.is_ok().then_some(here);
        assert_eq!(serving.join().unwrap(), written.is_ok());
        drop(kept);
        written.is_ok()
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }

    #[test]
    fn a_client_that_trusts_the_authority_accepts_the_host_it_asked_for_and_no_other() {
        let authority = Arc::new(Authority::new().unwrap());
        let fronts = Fronts::new(authority.clone(), provider());
        assert!(accepted(&authority, &fronts, "api.example.test", "api.example.test"));
        assert!(accepted(&authority, &fronts, "192.0.2.7", "192.0.2.7"));
        assert!(accepted(&authority, &fronts, "2001:db8::7", "2001:db8::7"));
        assert!(!accepted(&authority, &fronts, "api.example.test", "other.example.test"));
        let another = Authority::new().unwrap();
        assert!(!accepted(&another, &fronts, "api.example.test", "api.example.test"));
    }

    #[test]
    fn certificates_are_made_once_and_a_session_never_keeps_more_than_its_bound() {
        let fronts = Fronts::new(Arc::new(Authority::new().unwrap()), provider());
        assert!(Arc::ptr_eq(&fronts.of("a.test").unwrap(), &fronts.of("a.test").unwrap()));
        for host in 0..MAX_LEAVES + 5 {
            fronts.of(&format!("h{host}.test")).unwrap();
        }
        assert!(fronts.made.lock().unwrap().len() <= MAX_LEAVES);
    }

    #[test]
    fn an_authority_shows_nothing_of_its_key() {
        let authority = Authority::new().unwrap();
        assert_eq!(format!("{authority:?}"), "Authority { .. }");
        assert!(!authority.pem().contains("PRIVATE"));
    }
}
