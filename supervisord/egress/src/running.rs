//! The connections of one sandbox that are being served, so that they all end with it.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::rt::Executor;
use tokio::task::JoinSet;

use crate::session::Session;

/// Futures that run until they are done or the set ends.
#[derive(Debug)]
pub struct Running(Mutex<Option<JoinSet<()>>>);

/// Runs what hyper spawns for one session: the streams of HTTP/2 connections.
#[derive(Clone)]
pub struct OfSession(pub Arc<Session>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for OfSession {
    fn execute(&self, future: F) {
        self.0.running.spawn(future);
    }
}

impl Default for Running {
    fn default() -> Self {
        Self(Mutex::new(Some(JoinSet::new())))
    }
}

impl Running {
    /// Runs a future. After [`Running::end`] it is dropped instead.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut set = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(set) = set.as_mut() {
            // What has ended leaves its result behind until somebody takes it.
            while let Some(ended) = set.try_join_next() {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection was cut off");
                }
            }
            set.spawn(future);
        }
    }

    /// Ends everything that runs, now, and whatever would still be spawned.
    pub fn end(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
