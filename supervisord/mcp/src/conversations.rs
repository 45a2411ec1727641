//! What is kept of clients that speak a revision with a handshake (2025-11-25 and before), which tell by their
//! own requests that another one is cancelled: which conversation has which requests under way. Nothing else
//! survives a request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::oneshot;

/// Conversations of one uid at once. Past them the one that was silent longest is forgotten, and its client
/// begins anew.
const PER_UID: usize = 32;

/// Conversations at once, for the same.
const ALL: usize = 1024;

/// Requests of a conversation that can be cancelled at once; a uid has no more connections.
const REQUESTS: usize = 64;

/// How long a conversation may be silent.
const IDLE: Duration = Duration::from_secs(3600);

/// Bytes of chance in a name.
const NAME: usize = 16;

/// The conversations of everybody.
#[derive(Debug, Default)]
pub struct Conversations(Mutex<HashMap<String, Conversation>>);

#[derive(Debug)]
struct Conversation {
    owner: u32,
    heard: Instant,
    /// By their ids, as the client wrote them.
    requests: HashMap<String, oneshot::Sender<()>>,
}

/// A request under way. Dropped, it is so no more.
#[derive(Debug)]
pub struct UnderWay {
    conversations: Arc<Conversations>,
    name: String,
    request: String,
    /// Resolves when the request is cancelled.
    pub cancelled: oneshot::Receiver<()>,
}

impl Conversations {
    /// Begins one; `None` where all that this uid may have are busy.
    pub fn begin(&self, owner: u32) -> Option<String> {
        let name = name()?;
        let mut all = self.lock();
        all.retain(|_, each| !each.requests.is_empty() || each.heard.elapsed() < IDLE);
        let own = all.values().filter(|each| each.owner == owner).count();
        if own >= PER_UID {
            forget(&mut all, |each| each.owner == owner)?;
        } else if all.len() >= ALL {
            forget(&mut all, |_| true)?;
        }
        let requests = HashMap::new();
        all.insert(name.clone(), Conversation { owner, heard: Instant::now(), requests });
        Some(name)
    }

    /// Whether this uid has a conversation of this name, which is heard of herewith.
    pub fn hear(&self, owner: u32, name: &str) -> bool {
        let mut all = self.lock();
        match all.get_mut(name).filter(|each| each.owner == owner) {
            Some(each) => {
                each.heard = Instant::now();
                true
            }
            None => false,
        }
    }

    /// Ends one, and cancels what is under way in it.
    pub fn end(&self, owner: u32, name: &str) -> bool {
        let mut all = self.lock();
        if all.get(name).is_none_or(|each| each.owner != owner) {
            return false;
        }
        let requests = all.remove(name).map(|each| each.requests);
        for (_, cancel) in requests.into_iter().flatten() {
            cancel.send(()).ok();
        }
        true
    }

    /// A request begins; `None` where it can't be cancelled by another one.
    pub fn enter(self: &Arc<Self>, name: &str, request: String) -> Option<UnderWay> {
        let mut all = self.lock();
        let requests = &mut all.get_mut(name)?.requests;
        if requests.len() >= REQUESTS || requests.contains_key(&request) {
            return None;
        }
        let (cancel, cancelled) = oneshot::channel();
        requests.insert(request.clone(), cancel);
        Some(UnderWay {
            conversations: Arc::clone(self),
            name: name.to_owned(),
            request,
            cancelled,
        })
    }

    /// Cancels a request, if it is under way.
    pub fn cancel(&self, name: &str, request: &str) {
        let mut all = self.lock();
        let cancel = all.get_mut(name).and_then(|each| each.requests.remove(request));
        if let Some(cancel) = cancel {
            // One that has been answered meanwhile needs no end.
            cancel.send(()).ok();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Conversation>> {
        // Every change is one insertion or removal, so what is there is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut all = self.conversations.lock();
        if let Some(each) = all.get_mut(&self.name) {
            each.requests.remove(&self.request);
            each.heard = Instant::now();
        }
    }
}

/// Forgets the one of these that was silent longest and has nothing under way.
fn forget(
    all: &mut HashMap<String, Conversation>,
    these: impl Fn(&Conversation) -> bool,
) -> Option<()> {
    let silent = all.iter().filter(|(_, each)| these(each) && each.requests.is_empty());
    let oldest = silent.min_by_key(|(_, each)| each.heard).map(|(name, _)| name.clone())?;
    all.remove(&oldest).map(drop)
}

/// A name that nobody guesses.
fn name() -> Option<String> {
    let mut bytes = [0u8; NAME];
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut name = String::with_capacity(2 * NAME);
    for byte in bytes {
        write!(name, "{byte:02x}").ok()?;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_is_its_owners_alone() {
        let all = Conversations::default();
        let name = all.begin(1).expect("there is room");
        assert!(all.hear(1, &name));
        assert!(!all.hear(2, &name));
        assert!(!all.end(2, &name));
        assert!(all.end(1, &name));
        assert!(!all.hear(1, &name));
    }

    #[test]
    fn past_the_bound_the_silent_are_forgotten_and_the_busy_are_not() {
        let all = Arc::new(Conversations::default());
        let busy = all.begin(1).expect("there is room");
        let under_way = all.enter(&busy, "1".to_owned()).expect("it begins");
        let silent: Vec<_> = (1..PER_UID).map(|_| all.begin(1).expect("there is room")).collect();
        assert!(all.begin(1).is_some());
        assert!(all.hear(1, &busy));
        assert_eq!(silent.iter().filter(|name| !all.hear(1, name)).count(), 1);
        drop(under_way);
        assert!(all.begin(2).is_some(), "others have room of their own");
    }

    #[test]
    fn a_request_is_cancelled_by_its_id_once() {
        let all = Arc::new(Conversations::default());
        let name = all.begin(1).expect("there is room");
        let mut first = all.enter(&name, "7".to_owned()).expect("it begins");
        assert!(all.enter(&name, "7".to_owned()).is_none(), "an id that is taken");
        all.cancel(&name, "8");
        assert!(first.cancelled.try_recv().is_err());
        all.cancel(&name, "7");
        assert_eq!(first.cancelled.try_recv(), Ok(()));
        drop(first);
        assert!(all.enter(&name, "7".to_owned()).is_some());
    }
}
