//! The server: one listener, many connections, an orderly stop.

use std::io;
use std::sync::Arc;

use supervisor_api::{ApiError, ErrorCode, OPERATIONS};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::last_words;
use super::bounds::{ADMIN_CONNECTIONS, Bounds, CONNECTIONS, CONNECTIONS_PER_UID, FAREWELLS};
use super::connection::{converse, part};
use super::operations::Operations;
use super::peer::{Peer, Roles};
use super::routes::Routes;
use crate::pool::Pool;
use supervisor_egress::Acceptor;

/// Finds out who a connection's peer is.
type PeerOf = Arc<dyn Fn(&UnixStream) -> io::Result<Peer> + Send + Sync>;

/// The front end on the Unix socket.
#[derive(Clone)]
pub struct Server {
    routes: Routes,
    roles: Roles,
    bounds: Bounds,
    connections: Arc<Pool>,
    peer_of: PeerOf,
}

impl Server {
    /// A front end to these operations.
    pub fn new<O: Operations>(operations: Arc<O>, roles: Roles) -> Self {
        Self::with(operations, roles, Bounds::default(), Arc::new(Peer::of))
    }

    /// A front end to the metrics alone, for whoever can connect: the socket's mode says who may.
    pub fn of_metrics<O: Operations>(operations: Arc<O>) -> Self {
        let all =
            Self::with(operations.clone(), Roles::any(), Bounds::default(), Arc::new(Peer::of));
        let table = OPERATIONS.iter().filter(|operation| operation.id == "metrics");
        Self { routes: Routes::new(operations, all.bounds, table), ..all }
    }

    pub(super) fn with<O: Operations>(
        operations: Arc<O>,
        roles: Roles,
        bounds: Bounds,
        peer_of: PeerOf,
    ) -> Self {
        let per_uid = CONNECTIONS_PER_UID as u64;
        Self {
            routes: Routes::new(operations, bounds, OPERATIONS.iter()).with_mcp(bounds),
            roles,
            bounds,
            connections: Pool::new(CONNECTIONS as u64, per_uid, ADMIN_CONNECTIONS as u64),
            peer_of,
        }
    }

    /// Serves connections of this listener until `stop` is true or its sender is gone; then takes
    /// no more, lets requests that are being answered finish, and returns after five seconds at
    /// the latest. Never fails: what goes wrong with a connection is logged and ends that
    /// connection.
    pub async fn serve(&self, listener: UnixListener, mut stop: watch::Receiver<bool>) {
        let stopped = stop.clone();
        let mut acceptor = Acceptor::new(listener);
        let mut open = JoinSet::new();
        let mut farewells = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(_) = open.join_next() => {}
                Some(_) = farewells.join_next() => {}
                stream = acceptor.next() => {
                    self.admit(stream, &stopped, &mut open, &mut farewells);
                }
            }
        }
        self.routes.close();
        drop(acceptor);
        let rest = async { while open.join_next().await.is_some() {} };
        if timeout(self.bounds.grace, rest).await.is_err() {
            tracing::warn!(connections = open.len(), "connections were cut off");
        }
        open.shutdown().await;
        farewells.shutdown().await;
    }

    #[cfg(test)]
    pub(super) fn connections(&self) -> u64 {
        self.connections.in_use()
    }

    /// Serves a connection, or tells its peer that there are too many.
    fn admit(
        &self,
        stream: UnixStream,
        stop: &watch::Receiver<bool>,
        open: &mut JoinSet<()>,
        farewells: &mut JoinSet<()>,
    ) {
        let peer = match (self.peer_of)(&stream) {
            Ok(peer) => peer,
            Err(error) => {
                tracing::error!(%error, "a connection has no peer that could be named");
                return;
            }
        };
        let caller = self.roles.caller(&peer);
        let bounds = self.bounds;
        match self.connections.take(&caller, 1) {
            Some(share) => {
                let (routes, stop) = (self.routes.clone(), stop.clone());
                open.spawn(async move {
                    converse(stream, caller, routes, bounds, stop).await;
                    drop(share);
                });
            }
            None if farewells.len() < FAREWELLS => {
                farewells.spawn(async move { part(stream, Some(&too_many()), &bounds).await });
            }
            None => tell(stream),
        }
    }
}

/// Writes the refusal into a fresh socket's empty buffer, where there is always room for it.
fn tell(stream: UnixStream) {
    let told = stream.into_std().and_then(|stream| {
        use std::io::Write as _;
        (&stream).write(&last_words(&too_many()))
    });
    if let Err(error) = told {
        tracing::debug!(%error, "a refused peer could not be told");
    }
}

fn too_many() -> ApiError {
    ApiError::new(ErrorCode::Busy, "too many connections").with_hint(format!(
        "one user may have {CONNECTIONS_PER_UID} at once; close some or use them again"
    ))
}
