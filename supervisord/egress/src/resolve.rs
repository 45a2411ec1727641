//! The real addresses of names, asked of the host's name servers and nobody else, and only for names
//! that a policy allows. There is no search list: a name is what it says.

mod cache;
mod configuration;
pub mod query;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cache::Cache;
pub use configuration::Names;
use hickory_proto::rr::RecordType;
use query::Response;
use supervisor_policy::egress::HostName;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;

use crate::limits::{
    MAX_ADDRESSES, MAX_LOOK_UPS_OF_ALL, NAME_SERVER_ROUNDS, OTHER_FAMILY_PATIENCE, RESOLVED_FOR,
};

/// Asks name servers and remembers what they said.
#[derive(Debug)]
pub struct Resolver {
    names: Names,
    cache: Mutex<Cache>,
    /// Names that are being asked for, by whoever asked first, and whether all of their addresses are wanted.
    asking: Mutex<HashMap<(HostName, bool), Arc<Asking>>>,
    turns: Semaphore,
}

/// What a name turns out to have, for all who wait for it.
type Asking = OnceCell<Found>;

/// Addresses, and for how long they may be believed.
type Found = Result<(Resolved, Duration), Unresolved>;

/// What a name server said of one family, or why none did.
type Answer = Result<Response, Unresolved>;

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// IPv6 first, [`MAX_ADDRESSES`] at the most.
    pub addresses: Arc<[IpAddr]>,
    /// Whether both families were waited for.
    pub is_whole: bool,
}

impl From<Arc<[IpAddr]>> for Resolved {
    fn from(addresses: Arc<[IpAddr]>) -> Self {
        Self { addresses, is_whole: true }
    }
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

    /// The addresses of a name: as soon as there are some, or, where the `whole` of them is wanted, when no name
    /// server can have more.
    ///
    /// # Errors
    ///
    /// [`Unresolved`], which is remembered for a moment where name servers are the cause.
    pub async fn resolve(&self, name: &HostName, whole: bool) -> Result<Resolved, Unresolved> {
        let fixed = self.names.fixed(name);
        if !fixed.is_empty() {
            return Ok(Arc::<[IpAddr]>::from(fixed).into());
        }
        if name.as_str() == "localhost" {
            // RFC 6761 §6.3; the policy's address classes say what becomes of it.
            let own = [IpAddr::V6(Ipv6Addr::LOCALHOST), Ipv4Addr::LOCALHOST.into()];
            return Ok(Arc::<[IpAddr]>::from(own).into());
        }
        let asking = {
            let mut asking = lock(&self.asking);
            // Within the lock: whoever has just been answered is in the cache before it gives its place up.
            let is_enough = |known: &Result<Resolved, Unresolved>| {
                !whole || known.as_ref().map_or(true, |known| known.is_whole)
            };
            if let Some(known) = lock(&self.cache).get(name, Instant::now()).filter(is_enough) {
                return known;
            }
            let key = (name.clone(), whole);
            let cell = asking.entry(key.clone()).or_default().clone();
            Waiting { resolver: self, key, cell }
        };
        let found = asking.cell.get_or_init(|| self.ask_in_turn(name, whole)).await.clone();
        found.map(|(resolved, _)| resolved)
    }

    async fn ask_in_turn(&self, name: &HostName, whole: bool) -> Found {
        let _turn = self.turns.acquire().await;
        let found = self.ask(name, whole).await;
        lock(&self.cache).put(name, &found, Instant::now());
        found
    }

    async fn ask(&self, name: &HostName, whole: bool) -> Found {
        if self.names.servers().is_empty() {
            return Err(Unresolved::ServerMissing);
        }
        let (v6, v4) = self.ask_for_both(name, whole).await;
        let (mut addresses, mut shortest) = (Vec::new(), RESOLVED_FOR.1);
        for response in [&v6, &v4].into_iter().flatten().flatten() {
            addresses.extend_from_slice(&response.addresses);
            shortest = shortest.min(response.valid_for);
        }
        let is_whole = v6.is_some() && v4.is_some();
        addresses.truncate(MAX_ADDRESSES);
        if !addresses.is_empty() {
            let valid_for = if is_whole { shortest } else { RESOLVED_FOR.0 };
            let resolved = Resolved { addresses: addresses.into(), is_whole };
            return Ok((resolved, valid_for.max(RESOLVED_FOR.0)));
        }
        // One family's silence may hide its addresses, so it is no proof that there are none.
        v6.into_iter().chain(v4).collect::<Result<Vec<_>, _>>()?;
        Err(Unresolved::WithoutAddress)
    }

    /// What there is of each family; nothing where it is late and the other has addresses.
    async fn ask_for_both(&self, name: &HostName, whole: bool) -> (Option<Answer>, Option<Answer>) {
        let mut v6 = pin!(self.ask_for(name, RecordType::AAAA));
        let mut v4 = pin!(self.ask_for(name, RecordType::A));
        tokio::select! {
            first = v6.as_mut() => {
                let other = other(whole, &first, v4).await;
                (Some(first), other)
            }
            first = v4.as_mut() => {
                let other = other(whole, &first, v6).await;
                (other, Some(first))
            }
        }
    }

    async fn ask_for(&self, name: &HostName, kind: RecordType) -> Answer {
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

/// The other family's answer, which is waited for to the end where it is wanted or the first has no address.
async fn other(whole: bool, first: &Answer, other: impl Future<Output = Answer>) -> Option<Answer> {
    match first {
        Ok(response) if !whole && !response.addresses.is_empty() => {
            timeout(OTHER_FAMILY_PATIENCE, other).await.ok()
        }
        _ => Some(other.await),
    }
}

/// One who waits for a name; the last to leave forgets who asked.
struct Waiting<'a> {
    resolver: &'a Resolver,
    key: (HostName, bool),
    cell: Arc<Asking>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut asking = lock(&self.resolver.asking);
        let is_ours = |cell: &Arc<Asking>| Arc::ptr_eq(cell, &self.cell);
        // Answered, it serves nobody any more who comes from now on; unanswered, the others ask on.
        if asking.get(&self.key).is_some_and(is_ours)
            && (self.cell.initialized() || Arc::strong_count(&self.cell) == 2)
        {
            asking.remove(&self.key);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
