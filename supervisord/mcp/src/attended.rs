//! What somebody waits for: ended when the request is cancelled, and when the client goes away.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::ProgressNotificationParam;
use rmcp::service::RequestContext;
use supervisor_api::{CellState, ExecutionId, SessionId, show_time};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::client::Client;
use crate::failure::Failure;

/// Time between two words on how it goes.
const TICK: Duration = Duration::from_secs(1);

/// Pause before a cell is asked for again that waits for its turn to be interrupted.
const PAUSE: Duration = Duration::from_millis(100);

/// How long ending what is left may take.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// Something that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// An execution, which is cancelled.
    Execution(ExecutionId),
    /// A cell, which is interrupted.
    Cell(SessionId, ExecutionId, u64),
}

/// All that is waited for just now.
#[derive(Debug, Clone)]
pub struct Attended {
    client: Client,
    works: Arc<Mutex<BTreeSet<Work>>>,
    gone: Arc<AtomicBool>,
}

impl Attended {
    /// Nothing yet.
    pub fn new(client: Client) -> Self {
        Self { client, works: Arc::default(), gone: Arc::default() }
    }

    /// The client has said its last word.
    pub fn leave_alone(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Whether nobody is left who could ask for something again.
    pub fn is_alone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Waits for something, and says how long that takes; ends the work if the request is cancelled.
    pub async fn during<T>(
        &self,
        work: Work,
        limit: Option<u64>,
        asked: &RequestContext<RoleServer>,
        ended: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner).insert(work);
        let done = tokio::select! {
            ended = ended => ended,
            () = asked.ct.cancelled() => {
                if !self.client.is_closing() {
                    self.end(work).await;
                }
                Err(Failure::Interrupted("the request was cancelled".to_owned()))
            }
            never = tell(limit, asked) => match never {},
        };
        self.works.lock().unwrap_or_else(PoisonError::into_inner).remove(&work);
        done
    }

    /// Ends everything that is still waited for.
    pub async fn end_all(&self) {
        let left = std::mem::take(&mut *self.works.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            for work in left {
                self.end(work).await;
            }
        };
        // What the daemon has not ended by then its own limits will.
        time::timeout(END_PATIENCE, all).await.ok();
    }

    async fn end(&self, work: Work) {
        match work {
            // One that has ended by itself meanwhile is a conflict, and all that was wanted.
            Work::Execution(id) => {
                self.client.cancel(id).await.ok();
            }
            Work::Cell(session, id, number) => self.interrupt(session, id, number).await,
        }
    }

    /// Interrupts a cell once its turn has come: before that it would be another one that is interrupted.
    async fn interrupt(&self, session: SessionId, id: ExecutionId, number: u64) {
        while let Ok(cell) = self.client.cell(session, id, number, 0).await {
            match cell.state {
                CellState::Waiting => time::sleep(PAUSE).await,
                CellState::Running => {
                    self.client.interrupt(session, id).await.ok();
                    return;
                }
                CellState::Done => return,
            }
        }
    }
}

/// Nothing that could be.
enum Never {}

/// Says how long it takes, as often as a second passes, if that was asked for.
async fn tell(limit: Option<u64>, asked: &RequestContext<RoleServer>) -> Never {
    let Some(token) = asked.meta.get_progress_token() else {
        return std::future::pending().await;
    };
    let began = Instant::now();
    let mut ticks = time::interval_at(began + TICK, TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let passed = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let words = format!("has been running for {}", show_time(passed));
        let mut progress =
            ProgressNotificationParam::new(token.clone(), seconds(passed)).with_message(words);
        if let Some(limit) = limit.filter(|limit| *limit >= passed) {
            progress = progress.with_total(seconds(limit));
        }
        // A client that does not listen any more cancels, or goes.
        asked.peer.notify_progress(progress).await.ok();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time in milliseconds has few digits")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}
