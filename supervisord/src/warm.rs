//! Sandboxes that are parked ahead: made, confined, with an interpreter in them that runs, has imported what
//! programs usually import, and waits to be told what to run. One that is claimed becomes the execution
//! whose id it has had from the beginning; it is used once.
//!
//! ```text
//! made ──interpreter says so──▶ parked ──claim──▶ the sandbox of an execution
//!   └── failed ────────────────────┴── dead, too old, no demand, no room, other settings ──▶ destroyed
//! ```
//!
//! A parked sandbox is for one [`Recipe`]: owner, launch request, policy, settings and environment are those
//! of the execution to come, so that a claim changes nothing about how it is held. What no recipe is for
//! starts cold, and so does what finds none parked.
//!
//! Where the policy lets something leave, a parked sandbox has the sockets of its way out, and an authority and a
//! session that no other has (see [`ClosedWay`](crate::traffic::ClosedWay)). Nobody hears what comes to the sockets
//! before it is claimed, and one in which something has tried to send anything by then is claimed by nobody.

mod demand;
mod park;
mod parked;
mod recipe;
mod shelves;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use supervisor_api::SessionId;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::sleep;

pub use parked::{Parked, Unwanted};
pub use recipe::{Interpreter, Recipe, acts_at_start};
pub use shelves::Bounds;

use crate::session::Use;
use crate::supervisor::Inner;
use park::Unparked;
use parked::Held;
use shelves::Shelves;

/// Between two looks at what is parked, if nothing wants one earlier.
const LOOK: Duration = Duration::from_secs(1);

/// How long after an end the place that it left is filled: the end is told first, and what is asked for next
/// has the cores.
const AFTER_END: Duration = Duration::from_millis(3);

/// How long nothing is parked for a recipe after an attempt that failed.
const AGAIN: Duration = Duration::from_secs(60);

/// What is parked.
pub struct Warm {
    shelves: Mutex<Shelves>,
    /// One reference for each sandbox that is parked, or being made or destroyed for it.
    all: Arc<()>,
    /// Something has ended, so there may be room.
    room: Notify,
    /// Sandboxes that are to be destroyed.
    unwanted: mpsc::UnboundedSender<Unwanted>,
    /// The other end, for whoever keeps the pool.
    to_destroy: Mutex<Option<mpsc::UnboundedReceiver<Unwanted>>>,
}

impl Default for Warm {
    fn default() -> Self {
        let (unwanted, to_destroy) = mpsc::unbounded_channel();
        Self {
            shelves: Mutex::default(),
            all: Arc::default(),
            room: Notify::new(),
            unwanted,
            to_destroy: Mutex::new(Some(to_destroy)),
        }
    }
}

impl Warm {
    /// A parked sandbox for this recipe, if there is one that lives, and the demand is noted.
    pub fn claim(&self, recipe: Recipe, bounds: Bounds) -> Option<Parked> {
        if bounds.parked == 0 {
            return None;
        }
        let mut claimed = self.lock().claim(recipe, bounds, Instant::now())?; // the guard is gone with this line
        claimed.leave_shelf();
        Some(claimed)
    }

    /// An execution has ended.
    pub fn note_end(&self) {
        self.room.notify_one();
    }

    /// Gives up what is parked for an owner who needs the room.
    pub fn yield_to(&self, uid: u32) {
        drop(self.lock().take(|recipe| recipe.owner() == uid)); // the guard is gone by then
    }

    /// Gives up what is parked in a session that is being closed, which is in use until all of that is destroyed.
    pub fn leave(&self, session: SessionId) {
        drop(self.forget(session));
    }

    /// How many are parked, of one owner or of all, and the bytes that they hold.
    pub fn parked(&self, uid: Option<u32>) -> (usize, u64) {
        self.lock().parked(uid)
    }

    /// Parks and destroys until it is stopped; then nothing is parked any more.
    pub async fn keep(&self, inner: &Arc<Inner>, mut stop: watch::Receiver<bool>) {
        let taken = self.to_destroy.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut to_destroy) = taken else { return }; // somebody does already
        tokio::select! {
            () = self.refill(inner, &mut stop) => {}
            never = park::destroy_all(inner, &mut to_destroy) => match never {},
        }
        let parked = self.lock().take(|_| true);
        for parked in parked {
            park::destroy(inner, parked.into_unwanted()).await;
        }
        while let Ok(unwanted) = to_destroy.try_recv() {
            park::destroy(inner, unwanted).await;
        }
    }

    async fn refill(&self, inner: &Arc<Inner>, stop: &mut watch::Receiver<bool>) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = async { self.room.notified().await; sleep(AFTER_END).await } => {}
                () = sleep(LOOK) => {}
            }
            loop {
                let settings = inner.settings.current();
                let now = Instant::now();
                drop(self.lock().sweep(settings.number, settings.warm, now));
                let (running, waiting) = inner.admission.load();
                if waiting > 0 || running >= cores {
                    break; // what runs has the cores
                }
                if Arc::strong_count(&self.all) > settings.warm.parked {
                    break; // those that don't go are as many as may be parked
                }
                let Some(recipe) = self.lock().wanted(settings.warm, now) else { break };
                if recipe.generation() != settings.number {
                    continue; // the settings have become others just now
                }
                let session = match enter(inner, &recipe) {
                    Ok(session) => session,
                    Err(gone) => {
                        drop(self.forget(gone));
                        continue;
                    }
                };
                let Some(place) = inner.admission.park(recipe.owner(), recipe.need()) else {
                    // What has just ended may not have given its memory back yet.
                    self.lock().put_off(&recipe, now + LOOK);
                    continue;
                };
                let (place, _counted) = (Some(place), Some(self.all.clone()));
                let held = Held { place, session, _counted };
                let parking = park::park(inner, (&recipe, &settings), held, &self.unwanted, stop);
                match parking.await {
                    Ok(parked) => drop(self.put(recipe, parked)),
                    Err(Unparked::Stopped) => return,
                    Err(error) => {
                        tracing::warn!(%error, policy = recipe.policy(), "can't park a sandbox");
                        self.lock().put_off(&recipe, Instant::now() + AGAIN);
                    }
                }
            }
        }
    }

    /// Puts one on its shelf; it comes back if nobody has a use for it any more. Whoever closes its session
    /// says so first, and then looks here.
    fn put(&self, recipe: Recipe, parked: Parked) -> Option<Parked> {
        let mut shelves = self.lock();
        if parked.is_closing() { Some(parked) } else { shelves.put(recipe, parked) }
    }

    fn forget(&self, session: SessionId) -> Vec<Parked> {
        self.lock().forget(|recipe| recipe.session() == Some(session))
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Uses the session in whose workspace one is to be parked; the session, if nobody can any more.
fn enter(inner: &Inner, recipe: &Recipe) -> Result<Option<Use>, SessionId> {
    let Some(id) = recipe.session() else { return Ok(None) };
    inner.sessions.get(id).and_then(|session| session.enter().ok()).map(Some).ok_or(id)
}
