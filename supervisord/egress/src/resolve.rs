//! The real addresses of names, asked of the host's name servers and nobody else, and only for names
//! that a policy allows. There is no search list: a name is what it says.

mod cache;
mod configuration;
pub mod query;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use cache::Cache;
pub use configuration::Names;
use hickory_proto::rr::RecordType;
use query::Response;
use supervisor_policy::egress::HostName;

use crate::limits::{MAX_ADDRESSES, NAME_SERVER_ROUNDS, RESOLVED_FOR};

/// Asks name servers and remembers what they said.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    cache: Mutex<Cache>,
}

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The name does not exist, or has no address.
    WithoutAddress,
    /// No name server gave a usable answer in time.
    Unanswered,
    /// The host has no name server configured.
    ServerMissing,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithoutAddress => "the name has no address",
            Self::Unanswered => "no name server answered",
            Self::ServerMissing => "the host has no name server",
        })
    }
}

impl std::error::Error for Unresolved {}

impl Resolver {
    /// A resolver for these name servers and this table of hosts.
    pub fn new(names: Names) -> Self {
        Self { names, cache: Mutex::default() }
    }

    /// The addresses of a name, IPv6 first, [`MAX_ADDRESSES`] at the most.
    ///
    /// # Errors
    ///
    /// [`Unresolved`], which is remembered for a moment.
    pub async fn resolve(&self, name: &HostName) -> Result<Arc<[IpAddr]>, Unresolved> {
        let fixed = self.names.fixed(name);
        if !fixed.is_empty() {
            return Ok(fixed.into());
        }
        if name.as_str() == "localhost" {
            // RFC 6761 §6.3; the policy's address classes say what becomes of it.
            return Ok([IpAddr::V6(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()].into());
        }
        if let Some(known) = self.lock().get(name, Instant::now()) {
            return known;
        }
        let found = self.ask(name).await;
        self.lock().put(name, &found, Instant::now());
        found.map(|(addresses, _)| addresses)
    }

    async fn ask(
        &self,
        name: &HostName,
    ) -> Result<(Arc<[IpAddr]>, std::time::Duration), Unresolved> {
        if self.names.servers().is_empty() {
            return Err(Unresolved::ServerMissing);
        }
        let (v6, v4) =
            tokio::join!(self.ask_for(name, RecordType::AAAA), self.ask_for(name, RecordType::A));
        let (mut addresses, mut shortest) = (Vec::new(), RESOLVED_FOR.1);
        for response in [&v6, &v4].into_iter().flatten() {
            addresses.extend_from_slice(&response.addresses);
            shortest = shortest.min(response.valid_for);
        }
        addresses.truncate(MAX_ADDRESSES);
        if !addresses.is_empty() {
            return Ok((addresses.into(), shortest.max(RESOLVED_FOR.0)));
        }
        // One family's silence may hide its addresses, so it is no proof that there are none.
        v6.and(v4).and(Err(Unresolved::WithoutAddress))
    }

    async fn ask_for(&self, name: &HostName, kind: RecordType) -> Result<Response, Unresolved> {
        for _ in 0..NAME_SERVER_ROUNDS {
            for server in self.names.servers() {
                match query::ask(*server, name, kind).await {
                    Ok(response) => return Ok(response),
                    Err(error) => {
                        let server: &SocketAddr = server;
                        tracing::debug!(%server, %name, %error, "a name server gave no answer");
                    }
                }
            }
        }
        Err(Unresolved::Unanswered)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
