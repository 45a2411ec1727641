//! The front end over real Unix sockets, with requests written byte by byte, and a fake behind it.

mod client;
mod contract;
mod crowd;
mod fake;
mod framing;
mod stop;
mod streams;
mod submissions;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use client::Client;
use fake::Fake;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::bounds::Bounds;
use super::peer::{Peer, Roles};
use super::server::Server;

/// The uid that owns what the fake knows.
const OWNER: u32 = 2001;

/// Somebody else.
const STRANGER: u32 = 2002;

/// Longer than anything here takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server and the fake behind it.
struct House {
    _directory: TempDir,
    path: PathBuf,
    server: Server,
    fake: Arc<Fake>,
    uids: Arc<Mutex<VecDeque<u32>>>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl House {
    /// A server with the real bounds.
    fn open() -> Self {
        Self::with(Bounds::default())
    }

    /// A server with these bounds. Connections are the [`OWNER`]'s unless [`Self::connect_as`] says
    /// otherwise; they are accepted in the order in which they were made.
    fn with(bounds: Bounds) -> Self {
        let uids: Arc<Mutex<VecDeque<u32>>> = Arc::default();
        let expected = uids.clone();
        let peer_of = move |_: &UnixStream| -> io::Result<Peer> {
            let uid = expected.lock().expect("no panic").pop_front().unwrap_or(OWNER);
            Ok(Peer { uid, gid: uid, groups: Vec::new() })
        };
        let fake = Arc::new(Fake::default());
        let roles = Roles::new([], []);
        let server = Server::with(fake.clone(), roles, bounds, Arc::new(peer_of));
        Self::of(server, fake, uids)
    }

    /// A server as the daemon runs it, which asks the kernel who is calling.
    fn as_installed() -> Self {
        let fake = Arc::new(Fake::default());
        Self::of(Server::new(fake.clone(), Roles::default()), fake, Arc::default())
    }

    fn of(server: Server, fake: Arc<Fake>, uids: Arc<Mutex<VecDeque<u32>>>) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("api.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let (stop, stopped) = watch::channel(false);
        let serves = server.clone();
        let serving = tokio::spawn(async move { serves.serve(listener, stopped).await });
        Self { _directory: directory, path, server, fake, uids, stop, serving }
    }

    /// A connection of the [`OWNER`].
    async fn connect(&self) -> Client {
        self.connect_as(OWNER).await
    }

    async fn connect_as(&self, uid: u32) -> Client {
        self.uids.lock().expect("no panic").push_back(uid);
        Client::new(UnixStream::connect(&self.path).await.expect("a connection"))
    }

    /// Waits until the server has no connection left.
    async fn deserted(&self) {
        let empty = async {
            while self.server.connections() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, empty).await.expect("no hang");
    }

    /// Whether the server still answers, over a new connection.
    async fn assert_alive(&self) {
        let reply = self.connect().await.get("/v1/doctor").await;
        assert_eq!(reply.status, 200);
    }
}
