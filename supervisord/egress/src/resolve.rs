//! The real addresses of names, asked of the host's name servers and nobody else, and only for names
//! that a policy allows. There is no search list: a name is what it says.

mod cache;
mod configuration;
pub mod query;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cache::Cache;
pub use configuration::Names;
use hickory_proto::rr::RecordType;
use query::Response;
use supervisor_policy::egress::HostName;
use tokio::sync::{OnceCell, Semaphore};

use crate::limits::{MAX_ADDRESSES, MAX_LOOK_UPS_OF_ALL, NAME_SERVER_ROUNDS, RESOLVED_FOR};

/// Asks name servers and remembers what they said.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    cache: Mutex<Cache>,
    /// Names that are being asked for, by whoever asked first.
    asking: Mutex<HashMap<HostName, Arc<Asking>>>,
    turns: Semaphore,
}

/// What a name turns out to have, for all who wait for it.
type Asking = OnceCell<Found>;

/// Addresses, and for how long they may be believed.
type Found = Result<(Arc<[IpAddr]>, Duration), Unresolved>;

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The name does not exist, or has no address.
    WithoutAddress,
    /// No name server gave a usable answer in time.
    Unanswered,
    /// The host has no name server configured.
    ServerMissing,
    /// This host could not ask: it has no socket or no way to a name server at the moment.
    Unasked,
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WithoutAddress => "the name has no address",
            Self::Unanswered => "no name server answered",
            Self::ServerMissing => "the host has no name server",
            Self::Unasked => "no name server could be asked",
        })
    }
}

impl std::error::Error for Unresolved {}

impl Resolver {
    /// A resolver for these name servers and this table of hosts.
    pub fn new(names: Names) -> Self {
        Self {
            names,
            cache: Mutex::default(),
            asking: Mutex::default(),
            turns: Semaphore::new(MAX_LOOK_UPS_OF_ALL),
        }
    }

    /// The addresses of a name, IPv6 first, [`MAX_ADDRESSES`] at the most.
    ///
    /// # Errors
    ///
    /// [`Unresolved`], which is remembered for a moment where name servers are the cause.
    pub async fn resolve(&self, name: &HostName) -> Result<Arc<[IpAddr]>, Unresolved> {
        let fixed = self.names.fixed(name);
        if !fixed.is_empty() {
            return Ok(fixed.into());
        }
        if name.as_str() == "localhost" {
            // RFC 6761 §6.3; the policy's address classes say what becomes of it.
            return Ok([IpAddr::V6(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()].into());
        }
        let asking = {
            let mut asking = lock(&self.asking);
            // Within the lock: whoever has just been answered is in the cache before it gives its place up.
            if let Some(known) = lock(&self.cache).get(name, Instant::now()) {
                return known;
            }
            Waiting { resolver: self, name, cell: asking.entry(name.clone()).or_default().clone() }
        };
        let found = asking.cell.get_or_init(|| self.ask_in_turn(name)).await.clone();
        found.map(|(addresses, _)| addresses)
    }

    async fn ask_in_turn(&self, name: &HostName) -> Found {
        let _turn = self.turns.acquire().await;
        let found = self.ask(name).await;
        lock(&self.cache).put(name, &found, Instant::now());
        found
    }

    async fn ask(&self, name: &HostName) -> Found {
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
        let mut asked = false;
        for _ in 0..NAME_SERVER_ROUNDS {
            for server in self.names.servers() {
                match query::ask(*server, name, kind).await {
                    Ok(response) => return Ok(response),
                    Err(error) => {
                        asked |= !error.is_local();
                        let server: &SocketAddr = server;
                        tracing::debug!(%server, %name, %error, "a name server gave no answer");
                    }
                }
            }
        }
        Err(if asked { Unresolved::Unanswered } else { Unresolved::Unasked })
    }
}

/// One who waits for a name; the last to leave forgets who asked.
struct Waiting<'a> {
    resolver: &'a Resolver,
    name: &'a HostName,
    cell: Arc<Asking>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut asking = lock(&self.resolver.asking);
        let is_ours = |cell: &Arc<Asking>| Arc::ptr_eq(cell, &self.cell);
        // Answered, it serves nobody any more who comes from now on; unanswered, the others ask on.
        if asking.get(self.name).is_some_and(is_ours)
            && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2)
        {
            asking.remove(self.name);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
