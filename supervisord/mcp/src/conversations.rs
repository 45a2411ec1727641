//! What is kept of clients that speak a revision with a handshake (2025-11-25 and before), which tell by their
//! own requests that another one is cancelled: which conversation has which requests under way; and the answers of
//! late, for clients whose connection broke. Nothing else survives a request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::oneshot;
use tokio::time;

use crate::answers::{self, Answer};

/// Conversations of one uid at once. Past them the one that was silent longest is forgotten, and its client
/// begins anew.
const PER_UID: usize = 32;

/// Conversations at once, for the same.
const ALL: usize = 1024;

/// Requests of a uid that are under way in conversations at once. They may outlive their connections, of which it has
/// no more.
const REQUESTS: usize = 64;

/// Characters of a request's id.
const ID: usize = 256;

/// How long an answer is kept after its end, and how many of a uid's and how many bytes of them, past which the oldest
/// go. Each end looks at all of them.
const KEPT: Duration = Duration::from_secs(60);
const KEPT_ANSWERS: usize = 256;
const KEPT_BYTES: usize = 16 << 20;

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
    /// The oldest first.
    answers: Vec<Arc<Answer>>,
}

/// Why a request is not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Its id is longer than any client's.
    LongId,
    /// Its id is another one's that is under way.
    Taken,
    /// As many as may be are under way.
    Full,
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
        let (requests, answers) = (HashMap::new(), Vec::new());
        let conversation = Conversation { owner, heard: Instant::now(), requests, answers };
        all.insert(name.clone(), conversation);
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

    /// A request of this uid's begins, in a conversation that it has.
    pub fn enter(
        self: &Arc<Self>,
        owner: u32,
        name: &str,
        request: String,
    ) -> Result<UnderWay, Refused> {
        if request.len() > ID {
            return Err(Refused::LongId);
        }
        let mut all = self.lock();
        let own = all.values().filter(|each| each.owner == owner);
        if own.map(|each| each.requests.len()).sum::<usize>() >= REQUESTS {
            return Err(Refused::Full);
        }
        let (cancel, cancelled) = oneshot::channel();
        // One that was ended meanwhile has nobody left who could cancel.
        if let Some(each) = all.get_mut(name) {
            if each.requests.contains_key(&request) {
                return Err(Refused::Taken);
            }
            each.requests.insert(request.clone(), cancel);
        }
        Ok(UnderWay { conversations: Arc::clone(self), name: name.to_owned(), request, cancelled })
    }

    /// The answer with an event of this id, of a conversation that this uid has.
    pub fn answer(&self, owner: u32, name: &str, event: &str) -> Option<Arc<Answer>> {
        let all = self.lock();
        let each = all.get(name).filter(|each| each.owner == owner)?;
        let asked = answers::name(event)?;
        each.answers.iter().find(|answer| answer.name == asked).cloned()
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

    /// Forgets an answer, and the oldest of the same owner past what is kept.
    fn settle(&self, name: &str, forgotten: Option<&Arc<Answer>>) {
        let mut all = self.lock();
        let Some(each) = all.get_mut(name) else { return };
        if let Some(forgotten) = forgotten {
            each.answers.retain(|answer| !Arc::ptr_eq(answer, forgotten));
            return;
        }
        let owner = each.owner;
        let (mut kept, mut bytes) = (0usize, 0usize);
        for each in all.values_mut().filter(|each| each.owner == owner) {
            let mut newest = std::mem::take(&mut each.answers);
            newest.reverse();
            newest.retain(|answer| {
                kept += 1;
                bytes = bytes.saturating_add(answer.bytes());
                (kept <= KEPT_ANSWERS && bytes <= KEPT_BYTES) || !answer.has_ended()
            });
            newest.reverse();
            each.answers = newest;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Conversation>> {
        // Every change is one insertion or removal, so what is there is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Has its answer kept; `None` where there is no conversation any more to keep it in.
    pub fn keep(&self) -> Option<Arc<Answer>> {
        let answer = Answer::new(name()?);
        let mut all = self.conversations.lock();
        all.get_mut(&self.name)?.answers.push(Arc::clone(&answer));
        Some(answer)
    }

    /// Attends to a request whose answer is kept, until nobody can ask for it any more: cancels it if it is told to, or
    /// if nobody listens.
    pub async fn attend(mut self, answer: Arc<Answer>, cancel: impl FnOnce()) {
        tokio::select! {
            () = answer.ended() => {}
            // Its end is as final as a cancellation: the conversation has ended.
            _ = &mut self.cancelled => cancel(),
            () = answer.abandoned(answers::PATIENCE) => cancel(),
        }
        answer.end();
        let (conversations, name) = (Arc::clone(&self.conversations), self.name.clone());
        drop(self);
        conversations.settle(&name, None);
        let (forgotten, answer) = (answer.forgotten(), {
            let kept = Arc::downgrade(&answer);
            drop(answer); // or it would be there until its time is over, wherever it is forgotten before
            kept
        });
        if time::timeout(KEPT, forgotten).await.is_err()
            && let Some(answer) = answer.upgrade()
        {
            conversations.settle(&name, Some(&answer));
        }
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
        let under_way = all.enter(1, &busy, "1".to_owned()).expect("it begins");
        let silent: Vec<_> = (1..PER_UID).map(|_| all.begin(1).expect("there is room")).collect();
        assert!(all.begin(1).is_some());
        assert!(all.hear(1, &busy));
        assert_eq!(silent.iter().filter(|name| !all.hear(1, name)).count(), 1);
        drop(under_way);
        assert!(all.begin(2).is_some(), "others have room of their own");
    }

    #[test]
    fn requests_of_a_uid_have_a_bound_over_all_its_conversations() {
        let all = Arc::new(Conversations::default());
        let names: Vec<_> = (0..2).map(|_| all.begin(1).expect("there is room")).collect();
        let id = |number: usize| number.to_string();
        let names = || names.iter().cycle().enumerate();
        let under_way: Vec<_> = names()
            .take(REQUESTS)
            .map(|(number, name)| all.enter(1, name, id(number)).expect("there is room"))
            .collect();
        for (number, name) in names().take(2) {
            assert_eq!(all.enter(1, name, id(REQUESTS + number)).err(), Some(Refused::Full));
        }
        let other = all.begin(2).expect("there is room");
        assert!(all.enter(2, &other, id(0)).is_ok());
        drop(under_way);
        assert!(names().take(1).all(|(number, name)| all.enter(1, name, id(number)).is_ok()));
    }

    #[test]
    fn answers_are_found_by_their_owner_and_forgotten_past_what_is_kept() {
        let all = Arc::new(Conversations::default());
        let name = all.begin(1).expect("there is room");
        let under_way = all.enter(1, &name, "7".to_owned()).expect("it begins");
        let answer = under_way.keep().expect("it is kept");
        let event = format!("{}-1", answer.name);
        assert!(all.answer(1, &name, &event).is_some());
        assert!(all.answer(2, &name, &event).is_none() && all.answer(1, &name, "1").is_none());
        all.settle(&name, None);
        assert!(all.answer(1, &name, &event).is_some(), "there is room for it");
        all.settle(&name, Some(&answer));
        assert!(all.answer(1, &name, &event).is_none());
    }

    #[test]
    fn of_many_answers_the_newest_are_kept_and_those_under_way() {
        let all = Arc::new(Conversations::default());
        let name = all.begin(1).expect("there is room");
        let begin = |id: usize| all.enter(1, &name, id.to_string()).expect("it begins").keep();
        let mut answers: Vec<_> = (0..KEPT_ANSWERS + 2).filter_map(begin).collect();
        answers.iter().skip(1).for_each(|answer| answer.end());
        all.settle(&name, None);
        let kept =
            |answer: &Arc<Answer>| all.answer(1, &name, &format!("{}-1", answer.name)).is_some();
        assert!(kept(&answers[0]), "it has not ended");
        assert!(!kept(&answers[1]), "the oldest that has");
        assert!(answers.iter().skip(2).all(kept));
        // Who waits for its end holds nothing of it.
        let forgotten = answers.remove(1);
        assert_eq!(Arc::strong_count(&forgotten), 1);
    }

    #[test]
    fn a_request_is_cancelled_by_its_id_once() {
        let all = Arc::new(Conversations::default());
        let name = all.begin(1).expect("there is room");
        let mut first = all.enter(1, &name, "7".to_owned()).expect("it begins");
        assert_eq!(all.enter(1, &name, "7".to_owned()).err(), Some(Refused::Taken));
        assert_eq!(all.enter(1, &name, "7".repeat(ID + 1)).err(), Some(Refused::LongId));
        all.cancel(&name, "8");
        assert!(first.cancelled.try_recv().is_err());
        all.cancel(&name, "7");
        assert_eq!(first.cancelled.try_recv(), Ok(()));
        drop(first);
        assert!(all.enter(1, &name, "7".to_owned()).is_ok());
    }
}
