//! Answers that outlive the connection on which they were asked for (revision 2025-11-25): each event has a number, and
//! a client whose connection broke has the rest by the number of the last one that it saw. Whoever does not come
//! back has gone.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use rmcp::transport::common::server_side_http::ServerSseMessage as Event;
use rmcp::transport::streamable_http_server::session::{EventStore, EventStoreError, EventStream};
use tokio::sync::{mpsc, watch};
use tokio::time;

/// How long a client should wait before it comes back.
pub const RETRY: Duration = Duration::from_secs(1);

/// How long nobody may be listening. Then the request is cancelled, as it is with its connection in other revisions.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Events that are kept of one answer; of more, those that say how it goes are left out, the oldest first.
const EVENTS: usize = 64;

/// Events that a slow reader has before it.
const AHEAD: usize = 8;

/// An answer, and how it stands.
#[derive(Debug)]
pub struct Answer {
    /// What its events are called by, before their numbers.
    pub name: String,
    said: Mutex<Said>,
    standing: watch::Sender<Standing>,
}

/// What was said, in the order of the numbers.
#[derive(Debug, Default)]
struct Said {
    events: VecDeque<Kept>,
    last: u64,
}

#[derive(Debug)]
struct Kept {
    number: u64,
    bytes: usize,
    event: Event,
}

#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    readers: usize,
    last: u64,
    ended: bool,
}

/// Somebody listens, as long as there is this.
#[derive(Debug)]
pub struct Reader(Arc<Answer>);

/// Where the server puts the events. When it lets go of this, there are no more.
#[derive(Debug)]
pub struct Keeping(Arc<Answer>);

/// Where a client that comes back has them from.
#[derive(Debug)]
pub struct Again(pub Arc<Answer>);

impl Answer {
    /// One of which nothing was said yet.
    pub fn new(name: String) -> Arc<Self> {
        let standing = watch::Sender::new(Standing::default());
        Arc::new(Self { name, said: Mutex::default(), standing })
    }

    /// Where its events are kept.
    pub fn keeping(self: &Arc<Self>) -> Keeping {
        Keeping(Arc::clone(self))
    }

    /// One more who listens.
    pub fn reader(self: &Arc<Self>) -> Reader {
        self.standing.send_modify(|standing| standing.readers = standing.readers.saturating_add(1));
        Reader(Arc::clone(self))
    }

    /// Bytes that are kept of it.
    pub fn bytes(&self) -> usize {
        self.lock().events.iter().map(|kept| kept.bytes).sum()
    }

    /// Whether there are no more events to come.
    pub fn has_ended(&self) -> bool {
        self.standing.borrow().ended
    }

    /// Comes when there are no more events to come.
    pub async fn ended(&self) {
        // It is the sender's own receiver, so the sender is there.
        self.standing.subscribe().wait_for(|standing| standing.ended).await.ok();
    }

    /// Comes when nobody has listened for so long.
    pub async fn abandoned(&self, patience: Duration) {
        let mut standing = self.standing.subscribe();
        loop {
            if standing.wait_for(|standing| standing.readers == 0).await.is_err() {
                return pending().await;
            }
            let somebody = standing.wait_for(|standing| standing.readers > 0);
            if time::timeout(patience, somebody).await.is_err() {
                return;
            }
        }
    }

    /// Comes when nobody has it any more; who waits for that doesn't.
    pub fn forgotten(&self) -> impl Future<Output = ()> + use<> {
        let mut standing = self.standing.subscribe();
        async move { while standing.changed().await.is_ok() {} }
    }

    /// There is nothing more to come.
    pub fn end(&self) {
        self.standing.send_modify(|standing| standing.ended = true);
    }

    fn keep(&self, event: &Event) -> String {
        let message = event.message.as_ref().and_then(|message| serde_json::to_vec(message).ok());
        let bytes = message.map_or(0, |message| message.len());
        let mut event = event.clone();
        let mut said = self.lock();
        said.last = said.last.saturating_add(1);
        let number = said.last;
        let id = format!("{}-{number}", self.name);
        event.event_id = Some(id.clone());
        said.events.push_back(Kept { number, bytes, event });
        if said.events.len() > EVENTS {
            // The last is the answer itself, and the newest before it say how it goes.
            said.events.pop_front();
        }
        drop(said);
        self.standing.send_modify(|standing| standing.last = number);
        id
    }

    fn after(&self, number: u64) -> Vec<(u64, Event)> {
        let said = self.lock();
        let events = said.events.iter().filter(|kept| kept.number > number);
        events.map(|kept| (kept.number, kept.event.clone())).collect()
    }

    /// The events after this one, and those to come.
    fn again(self: &Arc<Self>, number: u64) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(tell(self.reader(), number, sender));
        receiver
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        // Every change of it is whole.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells what comes after this event, until there is nothing more to come or nobody listens.
async fn tell(reader: Reader, mut told: u64, to: mpsc::Sender<Event>) {
    let mut standing = reader.0.standing.subscribe();
    loop {
        // Looked at before the events are: what is said after that comes in the next round.
        let ended = standing.borrow_and_update().ended;
        for (number, event) in reader.0.after(told) {
            told = number;
            if to.send(event).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
        tokio::select! {
            () = to.closed() => return,
            changed = standing.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let one_less = |standing: &mut Standing| {
            standing.readers = standing.readers.saturating_sub(1);
        };
        self.0.standing.send_modify(one_less);
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the traits of the SDK ask for.
type Coming<'a, T> = Pin<Box<dyn Future<Output = Result<T, EventStoreError>> + Send + 'a>>;

impl EventStore for Keeping {
    fn store_event<'a, 'b, 'c, 'd>(&'a self, _: &'b str, event: &'c Event) -> Coming<'d, String>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        Box::pin(async move { Ok(self.0.keep(event)) })
    }

    fn replay_events_after<'a, 'b, 'd>(&'a self, _: &'b str) -> Coming<'d, EventStream>
    where
        'a: 'd,
        'b: 'd,
        Self: 'd,
    {
        Box::pin(async { Err("it is told to who asks for it by its name".into()) })
    }
}

impl EventStore for Again {
    fn store_event<'a, 'b, 'c, 'd>(&'a self, _: &'b str, _: &'c Event) -> Coming<'d, String>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        Box::pin(async { Err("nothing is added by who reads it".into()) })
    }

    fn replay_events_after<'a, 'b, 'd>(&'a self, last: &'b str) -> Coming<'d, EventStream>
    where
        'a: 'd,
        'b: 'd,
        Self: 'd,
    {
        Box::pin(async move {
            let number = number(last).ok_or("this is no event's id")?;
            let stream: EventStream = Box::pin(Received(self.0.again(number)));
            Ok(stream)
        })
    }
}

/// The name of an answer, by the id of one of its events.
pub fn name(event: &str) -> Option<&str> {
    event.rsplit_once('-').map(|(name, _)| name)
}

fn number(event: &str) -> Option<u64> {
    event.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

/// What comes through a channel.
struct Received(mpsc::Receiver<Event>);

impl Stream for Received {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Event>> {
        self.0.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of which this many events were said.
    fn said(events: usize) -> Arc<Answer> {
        let answer = Answer::new("name".to_owned());
        for _ in 0..events {
            answer.keep(&Event::retry(RETRY));
        }
        answer
    }

    #[tokio::test]
    async fn who_comes_back_has_what_came_after_and_what_is_still_to_come() {
        let answer = said(3);
        let mut again = answer.again(1);
        let id = |event: Option<Event>| event.and_then(|event| event.event_id);
        assert_eq!(id(again.recv().await).as_deref(), Some("name-2"));
        assert_eq!(id(again.recv().await).as_deref(), Some("name-3"));
        assert_eq!(answer.keep(&Event::retry(RETRY)), "name-4");
        assert_eq!(id(again.recv().await).as_deref(), Some("name-4"));
        drop(answer.keeping());
        assert!(answer.has_ended() && again.recv().await.is_none());
        assert_eq!((name("name-4"), number("name-4")), (Some("name"), Some(4)));
    }

    #[tokio::test]
    async fn of_many_events_the_newest_are_kept() {
        let answer = said(EVENTS + 10);
        answer.end();
        let mut again = answer.again(0);
        let mut ids = Vec::new();
        while let Some(event) = again.recv().await {
            ids.extend(event.event_id);
        }
        assert_eq!(ids.len(), EVENTS);
        assert_eq!(ids.last(), Some(&format!("name-{}", EVENTS + 10)));
    }

    #[tokio::test]
    async fn an_answer_is_abandoned_when_nobody_listens_and_not_before() {
        let answer = said(0);
        let reader = answer.reader();
        let (moment, longer) = (Duration::from_millis(1), Duration::from_millis(100));
        assert!(time::timeout(longer, answer.abandoned(moment)).await.is_err(), "somebody listens");
        let back = answer.reader();
        drop(reader);
        assert!(time::timeout(longer, answer.abandoned(moment)).await.is_err(), "one is left");
        drop(back);
        answer.abandoned(moment).await;
    }
}
