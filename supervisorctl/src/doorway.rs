//! Who stands at a listener on loopback. Everybody on the host can connect to it, so those who have shown no key
//! yet are few, and who comes beyond them takes the place of the one that has stood there longest, among those of the
//! user who has most of them there: no other user keeps the owner out by connecting and saying nothing, however fast.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::peer;

/// Connections that have shown no key yet. A client shows it with its first request.
const UNKNOWN: usize = 64;

/// Pause after a connection could not be taken, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The connections of one listener.
#[derive(Debug)]
pub struct Doorway {
    unknown: Mutex<VecDeque<Arc<Visitor>>>,
    places: Arc<Semaphore>,
}

/// One connection.
#[derive(Debug)]
pub struct Visitor {
    doorway: Arc<Doorway>,
    /// Whose it is, if that is known; those of which it isn't are as one user's.
    uid: Option<u32>,
    sent_away: Notify,
    admitted: AtomicBool,
    place: OnceCell<Option<OwnedSemaphorePermit>>,
}

impl Doorway {
    /// Has each connection conversed with, for ever. Of those that have shown a key there are so many at once; a
    /// request on another one waits.
    pub async fn serve<C, F>(listener: TcpListener, places: usize, converse: C) -> Infallible
    where
        C: Fn(TcpStream, Arc<Visitor>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(places));
        let doorway = Arc::new(Self { unknown: Mutex::default(), places });
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let visitor = doorway.enter(peer::uid(&stream));
            let conversation = converse(stream, Arc::clone(&visitor));
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    () = conversation => {}
                    () = visitor.is_sent_away() => {}
                }
                visitor.is_unknown_no_more();
            });
            // A request that has come with its connection is read before that is sent away.
            tokio::task::yield_now().await;
        }
    }

    fn enter(self: &Arc<Self>, uid: Option<u32>) -> Arc<Visitor> {
        let doorway = Arc::clone(self);
        let (sent_away, place) = (Notify::new(), OnceCell::new());
        let admitted = AtomicBool::new(false);
        let visitor = Arc::new(Visitor { doorway, uid, sent_away, admitted, place });
        let mut unknown = self.unknown();
        if unknown.len() >= UNKNOWN
            && let Some(longest) = next_to_go(&unknown).and_then(|place| unknown.remove(place))
        {
            longest.sent_away.notify_one();
        }
        unknown.push_back(Arc::clone(&visitor));
        visitor
    }

    /// Nothing between two changes of it panics, so a poisoned one is whole.
    fn unknown(&self) -> MutexGuard<'_, VecDeque<Arc<Visitor>>> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has stood there longest of the user who has most there.
fn next_to_go(unknown: &VecDeque<Arc<Visitor>>) -> Option<usize> {
    let of = |uid| unknown.iter().filter(|visitor| visitor.uid == uid).count();
    let counts: Vec<usize> = unknown.iter().map(|visitor| of(visitor.uid)).collect();
    let most = counts.iter().max()?;
    counts.iter().position(|count| count == most)
}

impl Visitor {
    /// It has shown the key: it stays, once there is a place for it.
    pub async fn admit(&self) {
        self.admitted.store(true, Ordering::Relaxed);
        self.is_unknown_no_more();
        let places = &self.doorway.places;
        self.place.get_or_init(|| async { Arc::clone(places).acquire_owned().await.ok() }).await;
    }

    /// Returns once it has to go: whoever was admitted meanwhile stays.
    async fn is_sent_away(&self) {
        self.sent_away.notified().await;
        if self.admitted.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    fn is_unknown_no_more(&self) {
        self.doorway.unknown().retain(|visitor| !std::ptr::eq(&raw const **visitor, self));
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Admits whoever says anything, and says it back.
    async fn echo(mut stream: TcpStream, visitor: Arc<Visitor>) {
        let mut byte = [0];
        while stream.read_exact(&mut byte).await.is_ok() {
            visitor.admit().await;
            stream.write_all(&byte).await.unwrap();
        }
    }

    async fn says(stream: &mut TcpStream) {
        let mut byte = [0];
        stream.write_all(b"x").await.unwrap();
        stream.read_exact(&mut byte).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_kept_out_by_those_who_say_nothing() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(Doorway::serve(listener, 2, echo));
        let mut known = TcpStream::connect(address).await.unwrap();
        says(&mut known).await;
        let mut idle = Vec::new();
        for _ in 0..3 * UNKNOWN {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut second = TcpStream::connect(address).await.unwrap();
        says(&mut second).await;
        says(&mut known).await;
        // The first to come was the first to go; the last one is still there.
        assert_eq!(idle[0].read(&mut [0]).await.unwrap(), 0);
        drop(known);
        says(idle.last_mut().unwrap()).await;
    }
    #[tokio::test]
    async fn who_connects_on_and_on_takes_the_places_of_its_own() {
        let (unknown, places) = (Mutex::default(), Arc::new(Semaphore::new(1)));
        let doorway = Arc::new(Doorway { unknown, places });
        let stays = |uid, count| (0..count).map(|_| doorway.enter(uid)).collect::<Vec<_>>();
        let own = stays(Some(1), 3);
        let idle = stays(Some(2), UNKNOWN);
        let unknown = stays(None, 1000);
        let others = stays(Some(3), 1000);
        let here = |visitors: &[Arc<Visitor>]| {
            let all = doorway.unknown();
            visitors.iter().filter(|each| all.iter().any(|it| Arc::ptr_eq(it, each))).count()
        };
        assert_eq!(here(&own), 3);
        let shares = [here(&idle), here(&unknown), here(&others)];
        assert!(shares.iter().all(|share| (20..=21).contains(share)), "{shares:?}");
        assert_eq!(here(&others[999..]), 1, "the last to come has its time");
        own[0].is_unknown_no_more();
        assert_eq!(here(&own), 2);
    }
}
