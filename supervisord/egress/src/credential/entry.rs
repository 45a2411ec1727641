//! One credential in the vault: the value in use, and how a newer one is had.
//!
//! ```text
//!            fetch                 stale: fetched ahead, by one
//! empty ───────────────▶ valid ─────────────────────────────────▶ valid (newer)
//!   ▲  └──▶ failed ◀──────┘ │  expired, or rejected with a 401: waited for
//!   └── pause is over       └─▶ revoked: no value, until it is rotated
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::bound::Bound;
use super::contents::changed;
use super::former::{End, Former};
use super::name::CredentialName;
use super::notice::{Notice, Notices};
use super::refusal::{CredentialRefusal, RefusalCode};
use super::source::{Source, SourceError, Why};
use super::value::{Current, Delivery, Value};
use super::watch::Watch;
use crate::seam::Identity;

/// How long a source may take for one value, with connecting and all. A payload waits meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a source that has failed is left alone at first; twice as long each time after, …
const PAUSE: Duration = Duration::from_secs(1);

/// … up to this, so that it is not long before requests go out again when it is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a value is kept that an upstream has rejected, when the source has just delivered it: a
/// payload that makes an upstream answer 401 again and again must not have the source asked as often.
const REJECTION_PAUSE: Duration = Duration::from_secs(10);

/// Numbers for values.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What a credential is made of.
#[derive(Debug)]
pub struct Definition {
    /// Its name.
    pub name: CredentialName,
    /// What people call its kind, such as `static` or `oauth2`.
    pub kind: &'static str,
    /// Where it may ever go.
    pub bounds: Vec<Bound>,
    /// Its value.
    pub supply: Supply,
}

/// How a value is had.
#[derive(Debug)]
pub enum Supply {
    /// It was read when the definition was.
    Fixed(Value),
    /// It is fetched when it is needed.
    Fetched(Arc<dyn Source>),
}

/// What can be told about a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It has a value, which holds for so long; `None` for one without end.
    Ready(Option<Duration>),
    /// Its value is fetched when it is needed first.
    Unfetched,
    /// Its source has failed; why, in words for whoever looks after the daemon.
    Failed(String),
    /// It was revoked.
    Revoked,
}

/// A credential.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: CredentialName,
    pub kind: &'static str,
    pub bounds: Vec<Bound>,
    source: Option<Arc<dyn Source>>,
    state: Mutex<State>,
    former: Arc<Former>,
    /// Whoever fetches holds this.
    turn: tokio::sync::Mutex<()>,
    revoked: AtomicBool,
    notices: Arc<dyn Notices>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<Arc<Current>>,
    delivered: Option<Instant>,
    failure: Option<Failure>,
    /// Whether somebody fetches ahead.
    is_ahead: bool,
    /// Whether another definition has taken its place.
    has_left: bool,
}

#[derive(Debug, Clone)]
struct Failure {
    cause: String,
    pause: Duration,
    until: Instant,
}

impl Entry {
    /// A credential before which there were these values.
    pub fn new(definition: Definition, notices: Arc<dyn Notices>, former: Arc<Former>) -> Self {
        let Definition { name, kind, bounds, supply } = definition;
        let mut state = State::default();
        let source = match supply {
            Supply::Fetched(source) => Some(source),
            Supply::Fixed(value) => {
                state.current =
                    Some(Arc::new(next(Delivery { value, lifetime: None, told: None })));
                None
            }
        };
        let (turn, revoked) = (tokio::sync::Mutex::new(()), AtomicBool::new(false));
        let state = Mutex::new(state);
        Self { name, kind, bounds, source, state, former, turn, revoked, notices }
    }

    /// Whether there may be a newer value after a 401.
    pub fn is_renewable(&self) -> bool {
        self.source.is_some()
    }

    /// No request gets it from now on. Its value is forgotten when those under way are through, and searched
    /// for while it may still hold elsewhere.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::SeqCst);
        let mut state = self.state();
        let (current, has_left) = (state.current.take(), state.has_left);
        *state = State { has_left, ..State::default() };
        current.iter().for_each(|current| self.former.add(current, &self.bounds, End::Left));
    }

    /// The same for one that was revoked before it was read: its value never went out from here.
    pub fn begin_revoked(&self) {
        self.revoked.store(true, Ordering::SeqCst);
        *self.state() = State::default();
    }

    /// Another definition takes its place, or none: what was in use is searched for as a former value, and so
    /// is what a request under way may still fetch here.
    pub fn leave(&self, successor: Option<&Self>) {
        let next = successor.and_then(|next| next.state().current.clone());
        let stays = |current: &Current| {
            let is_same = next.as_ref().is_some_and(|next| next.value.is_same(&current.value));
            is_same && successor.is_some_and(|successor| successor.bounds == self.bounds)
        };
        let mut state = self.state();
        state.has_left = true;
        let current = state.current.iter().find(|current| !stays(current));
        current.into_iter().for_each(|value| self.former.add(value, &self.bounds, End::Left));
    }

    /// Whether it may ever go to a host, at whatever port.
    pub fn may_go_to(&self, host: &str) -> bool {
        self.bounds.iter().any(|bound| bound.names(host))
    }

    /// What its value is searched for by, whether or not that may still go out. None is fetched.
    pub fn watch(&self) -> Option<Arc<Watch>> {
        self.state().current.as_ref().map(|current| current.watch.clone())
    }

    pub fn condition(&self) -> Condition {
        if self.is_revoked() {
            return Condition::Revoked;
        }
        let state = self.state();
        match (&state.current, &state.failure) {
            (Some(current), _) if current.is_valid() => Condition::Ready(
                current.expires.map(|expires| expires.saturating_duration_since(Instant::now())),
            ),
            (_, Some(failure)) => Condition::Failed(failure.cause.clone()),
            _ => Condition::Unfetched,
        }
    }

    /// The value for a request that goes out now.
    pub async fn value(
        self: &Arc<Self>,
        whose: &Identity,
    ) -> Result<Arc<Current>, CredentialRefusal> {
        if self.is_revoked() {
            return Err(self.refuse_revoked());
        }
        let (current, ahead) = {
            let mut state = self.state();
            let current = state.current.clone().filter(|current| current.is_valid());
            let stale = current.as_ref().is_some_and(|current| current.is_stale());
            let ahead = stale && !state.is_ahead && !state.pauses();
            state.is_ahead |= ahead;
            (current, ahead)
        };
        match current {
            Some(current) => {
                if ahead {
                    let (this, number, whose) = (self.clone(), current.number, whose.clone());
                    drop(tokio::spawn(
                        async move { this.fetch(Some(number), Why::Ahead, whose).await },
                    ));
                }
                Ok(current)
            }
            None => self.fetched(None, Why::Needed, whose).await,
        }
    }

    /// A newer value than the one of this number, which an upstream has rejected; `None` if there is
    /// none to be had, or none yet.
    pub async fn newer(
        self: &Arc<Self>,
        number: u64,
        whose: &Identity,
    ) -> Result<Option<Arc<Current>>, CredentialRefusal> {
        if self.is_revoked() {
            return Err(self.refuse_revoked());
        }
        if self.source.is_none() {
            return Ok(None);
        }
        {
            let state = self.state();
            let same = state.current.as_ref().is_some_and(|current| current.number == number);
            let fresh = state.delivered.is_some_and(|time| time.elapsed() < REJECTION_PAUSE);
            // What was renewed stays searched for: a payload that has values rejected pushes none out of it.
            if same && (fresh || state.pauses() || self.former.is_full()) {
                return Ok(None);
            }
        }
        Ok(self.fetched(Some(number), Why::Rejected, whose).await.ok())
    }

    /// Fetches, to the end even if the caller goes away.
    async fn fetched(
        self: &Arc<Self>,
        older: Option<u64>,
        why: Why,
        whose: &Identity,
    ) -> Result<Arc<Current>, CredentialRefusal> {
        let (this, whose) = (self.clone(), whose.clone());
        let fetching = tokio::spawn(async move { this.fetch(older, why, whose).await });
        let fetched = fetching.await.unwrap_or(None);
        match fetched {
            Some(current) if !self.is_revoked() => Ok(current),
            Some(_) => Err(self.refuse_revoked()),
            None => Err(self.refuse_unavailable()),
        }
    }

    /// Fetches a value, unless somebody else has done so since: there is a valid one that is not the
    /// one of this number.
    async fn fetch(&self, older: Option<u64>, why: Why, whose: Identity) -> Option<Arc<Current>> {
        let _turn = self.turn.lock().await;
        {
            let mut state = self.state();
            let current = state.current.clone().filter(|current| current.is_valid());
            if let Some(current) = current.filter(|current| Some(current.number) != older) {
                state.is_ahead = false;
                return Some(current);
            }
            if state.pauses() {
                state.is_ahead = false;
                return None;
            }
        }
        let source = self.source.as_ref()?;
        let result = match timeout(PATIENCE, source.fetch(why)).await {
            Ok(result) => result,
            Err(_) => Err(SourceError::new(format!("no answer within {PATIENCE:?}"))),
        };
        self.install(result, whose)
    }

    fn install(
        &self,
        result: Result<Delivery, SourceError>,
        whose: Identity,
    ) -> Option<Arc<Current>> {
        let mut state = self.state();
        state.is_ahead = false;
        let (credential, installed) = (self.name.clone(), result.map(next).map(Arc::new));
        let notice = match &installed {
            Ok(_) if self.is_revoked() => return None,
            Ok(current) => {
                let former = state.current.replace(current.clone());
                let former = former.filter(|former| !former.value.is_same(&current.value));
                let left = state.has_left.then(|| current.clone());
                former.iter().for_each(|it| self.former.add(it, &self.bounds, End::Renewed));
                left.iter().for_each(|it| self.former.add(it, &self.bounds, End::Left));
                changed();
                state.delivered = Some(Instant::now());
                state.failure = None;
                Notice::Renewed { credential, whose }
            }
            Err(error) => {
                let cause = error.chain();
                let last = state.failure.as_ref().map(|failure| failure.pause);
                let pause = last.map_or(PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
                let until = Instant::now() + pause;
                state.failure = Some(Failure { cause: cause.clone(), pause, until });
                Notice::Failed { credential, whose, cause }
            }
        };
        drop(state);
        self.notices.notice(&notice);
        installed.ok()
    }

    fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::SeqCst)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held, and no field depends on another one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse_revoked(&self) -> CredentialRefusal {
        let name = &self.name;
        CredentialRefusal::new(
            RefusalCode::Revoked,
            Some(name),
            format!("credential {name} was revoked"),
            format!("Have an administrator rotate it: supervisorctl credentials rotate {name}."),
        )
    }

    fn refuse_unavailable(&self) -> CredentialRefusal {
        let name = &self.name;
        CredentialRefusal::new(
            RefusalCode::Unavailable,
            Some(name),
            format!("credential {name} has no valid value at the moment"),
            "Try again in a minute; supervisorctl credentials list tells an administrator why.",
        )
    }
}

impl State {
    /// Whether the source is left alone after a failure.
    fn pauses(&self) -> bool {
        self.failure.as_ref().is_some_and(|failure| Instant::now() < failure.until)
    }
}

fn next(delivery: Delivery) -> Current {
    Current::new(delivery, NUMBER.fetch_add(1, Ordering::Relaxed))
}
