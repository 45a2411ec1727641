//! How long the launcher has owed an answer. It serves one request after the other, so that a request may wait for
//! many that are slow; one that answers nothing at all meanwhile stands still, and nobody waits for that without end.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// How long nothing may be answered, of all that was asked, before whoever waits for it is told. As long as the first
/// sandbox of a daemon may take; what takes longest in one request is to take apart a workspace of millions of files,
/// which goes on if it takes longer.
pub const SILENCE: Duration = Duration::from_secs(30);

/// Since when an answer is owed, or was last given while others are; nothing while none is.
type Since = Option<Instant>;

/// Where it is noted what is asked and answered.
#[derive(Debug)]
pub struct Noted(watch::Sender<Since>);

/// Tells how long nothing was answered.
#[derive(Debug, Clone)]
pub struct Silence(watch::Receiver<Since>);

/// Both ends.
pub fn silence() -> (Noted, Silence) {
    let (noted, silence) = watch::channel(None);
    (Noted(noted), Silence(silence))
}

impl Noted {
    /// Something is asked.
    pub fn asked(&self) {
        self.0.send_if_modified(|since| {
            let is_first = since.is_none();
            *since = since.or_else(|| Some(Instant::now()));
            is_first
        });
    }

    /// Something is answered, and so much is owed yet.
    pub fn answered(&self, owed: usize) {
        self.0.send_replace((owed > 0).then(Instant::now));
    }
}

impl Silence {
    /// Returns once nothing was answered for [`SILENCE`], all of it from now on. Never once the launcher is gone, of
    /// which everybody is told otherwise.
    pub async fn lasts(&self) {
        let (begun, mut since) = (Instant::now(), self.0.clone());
        loop {
            let end = end(*since.borrow_and_update(), begun);
            let silent = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = silent => {
                    // It may be this process that stood still: what has come meanwhile is read first.
                    sleep(Duration::from_secs(1)).await;
                    if end == self::end(*since.borrow(), begun) {
                        return;
                    }
                }
                changed = since.changed() => if changed.is_err() {
                    pending::<()>().await;
                },
            }
        }
    }
}

/// When it has lasted for long enough, of one that waits since `begun`.
fn end(since: Since, begun: Instant) -> Option<Instant> {
    since.and_then(|since| since.max(begun).checked_add(SILENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(silence: &Silence) -> Since {
        *silence.0.borrow()
    }

    #[test]
    fn an_answer_to_anybody_begins_it_anew_and_the_last_ends_it() {
        let (noted, silence) = silence();
        assert_eq!(since(&silence), None, "nothing was asked");
        noted.asked();
        let first = since(&silence).unwrap();
        noted.asked();
        assert_eq!(since(&silence), Some(first), "another question is no answer");
        while Instant::now() == first {}
        noted.answered(1);
        assert!(since(&silence).unwrap() > first);
        noted.answered(0);
        assert_eq!(since(&silence), None);
    }

    #[test]
    fn whoever_waits_waits_as_long_as_any() {
        let begun = Instant::now();
        let [before, after] = [begun.checked_sub(SILENCE), begun.checked_add(SILENCE)];
        assert_eq!(end(None, begun), None);
        assert_eq!(end(before, begun), after);
        assert_eq!(end(after, begun), begun.checked_add(2 * SILENCE));
    }

    #[tokio::test]
    async fn a_launcher_that_is_gone_is_not_called_silent() {
        let (noted, silence) = silence();
        noted.asked();
        drop(noted);
        tokio::select! {
            biased;
            () = silence.lasts() => panic!("it is silent"),
            () = tokio::task::yield_now() => {}
        }
    }
}
