//! Whoever asked goes away while something of it is being written.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use tokio::task::yield_now;

use super::*;

/// The database, in which nothing is written until this is dropped.
struct Held {
    connection: Arc<sync::Mutex<rusqlite::Connection>>,
    let_go: Option<Sender<()>>,
}

impl Held {
    async fn of(house: &House) -> Self {
        let connection = house.approvals.inner.kept.lock().await.connection();
        let ((ready, is_held), (let_go, is_over)) = (channel(), channel::<()>());
        let locked = connection.clone();
        thread::spawn(move || {
            let _held = locked.lock();
            ready.send(()).unwrap();
            is_over.recv().unwrap_or_default();
        });
        is_held.recv().unwrap();
        let held = Self { connection, let_go: Some(let_go) };
        held.is_used_by(3).await; // the questions, this, and the thread
        held
    }

    /// Waits until so many hold the connection.
    async fn is_used_by(&self, users: usize) {
        while Arc::strong_count(&self.connection) != users {
            yield_now().await;
        }
    }

    /// Has all written that waits for that.
    async fn let_go(mut self) {
        drop(self.let_go.take());
        self.is_used_by(2).await;
    }
}

impl House {
    /// What is in the database, and what is shown.
    async fn both(&self) -> [Vec<(ApprovalId, ApprovalState)>; 2] {
        let _no_step = self.approvals.inner.kept.lock().await;
        let again = Approvals::open(self.state.path(), self.audit.clone(), []).unwrap();
        [&again, &self.approvals].map(|approvals| {
            let all = approvals.list(&ADMIN).approvals;
            all.iter().map(|approval| (approval.id, approval.state)).collect()
        })
    }
}

#[tokio::test]
async fn what_a_request_asked_that_went_away_meanwhile_counts_and_is_shown() {
    let house = House::open();
    for number in 0..3 {
        let held = Held::of(&house).await;
        let asked = house.ask(question(&format!("/{number}")));
        held.is_used_by(4).await; // it is being written
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        held.let_go().await;
    }
    let [kept, shown] = house.both().await;
    assert_eq!((kept.len(), kept), (3, shown));
    assert_eq!(house.approvals.deadlines().len(), 3);
    house.approvals.end(ExecutionId::from_bits(1)).await;
    assert_eq!(house.both().await.concat(), []);
}

#[tokio::test]
async fn an_execution_that_ends_while_it_asks_leaves_no_question() {
    let house = House::open();
    let held = Held::of(&house).await;
    let asked = house.ask(question("/a"));
    held.is_used_by(4).await;
    asked.abort();
    let approvals = house.approvals.clone();
    let ended = tokio::spawn(async move { approvals.end(ExecutionId::from_bits(1)).await });
    yield_now().await; // it looks before the question is written
    held.let_go().await;
    ended.await.unwrap();
    assert_eq!(house.both().await.concat(), []);
}

#[tokio::test]
async fn an_approval_that_was_taken_back_stays_so_after_a_request_that_went_away() {
    let house = House::open();
    let asked = house.ask(without_a_body("/a"));
    let id = house.waiting().await.id;
    let often = AnswerRequest { approve: true, times: Some(5) };
    house.approvals.answer(&OPERATOR, id, often).await.unwrap();
    asked.await.unwrap();
    let held = Held::of(&house).await;
    let asked = house.ask(without_a_body("/a"));
    held.is_used_by(4).await; // one of the times is being taken
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    let approvals = house.approvals.clone();
    let denied = tokio::spawn(async move { approvals.answer(&ADMIN, id, NO).await });
    yield_now().await;
    assert!(!denied.is_finished(), "it comes after what is being written");
    held.let_go().await;
    assert_eq!(denied.await.unwrap().unwrap().state, ApprovalState::Denied);
    let [kept, shown] = house.both().await;
    assert_eq!((&kept[..], kept.clone()), (&[(id, ApprovalState::Denied)][..], shown));
}

#[tokio::test]
async fn a_start_reads_no_more_questions_than_there_may_be_and_forgets_no_answer_for_them() {
    let house = House::open();
    let asked = house.ask(question("/denied"));
    let waiting = house.waiting().await;
    house.approvals.answer(&ADMIN, waiting.id, NO).await.unwrap();
    asked.await.unwrap();
    let mut kept = house.approvals.inner.kept.lock().await;
    for number in 1..=2 * MAX_QUESTIONS {
        let id = ApprovalId::from_bits(number as u128);
        kept.put(&Approval { id, ..waiting.clone() }).await.unwrap();
    }
    drop(kept);
    for _ in 0..2 {
        let again = Approvals::open(house.state.path(), house.audit.clone(), []).unwrap();
        let all = again.list(&ADMIN).approvals;
        assert_eq!(all.len(), MAX_QUESTIONS);
        assert!(all.iter().any(|one| (one.id, one.state) == (waiting.id, ApprovalState::Denied)));
    }
    let rows = house.approvals.inner.kept.lock().await.connection();
    let rows = rows.lock().unwrap();
    let count = rows.query_row("SELECT count(*) FROM approval", [], |row| row.get::<_, i64>(0));
    assert_eq!(count.unwrap(), 64);
}
