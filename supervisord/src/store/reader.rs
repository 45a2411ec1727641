//! The threads that read, each with a connection of its own that can't write.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::store::directory::Directory;

/// Something to ask the database.
pub(super) enum Query {
    /// Runs on a connection and answers by itself.
    Run(Box<dyn FnOnce(&Connection) + Send>),
    /// The end of one reader.
    Stop(oneshot::Sender<()>),
}

/// The queue that the readers share.
pub(super) type Queue = Arc<Mutex<mpsc::Receiver<Query>>>;

/// Answers queries until told to stop, or until nobody is left who could ask.
pub(super) fn run(connection: Connection, queue: &Queue, directory: Arc<Directory>) {
    while let Some(query) = next(queue) {
        match query {
            Query::Run(ask) => ask(&connection),
            Query::Stop(stopped) => {
                drop(connection);
                drop(directory);
                drop(stopped); // which is how the one who waits gets to know it
                return;
            }
        }
    }
}

/// Waits with the lock held: the other readers then wait for the lock instead.
fn next(queue: &Queue) -> Option<Query> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
}
