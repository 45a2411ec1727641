//! Questions with and without somebody to answer them.

mod gone;
mod unkept;

use std::sync::atomic::{AtomicBool, Ordering};

use supervisor_api::{AuditFilter, RequestAsked, SessionId, Verdict};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::steps::UNANSWERED;
use super::*;
use crate::audit::Settings;

const OWNER: Caller = Caller { uid: 7, role: Role::Agent };
const STRANGER: Caller = Caller { uid: 8, role: Role::Agent };
const OPERATOR: Caller = Caller { uid: 9, role: Role::Agent };
const ADMIN: Caller = Caller { uid: 0, role: Role::Admin };

const YES: AnswerRequest = AnswerRequest { approve: true, times: None };
const NO: AnswerRequest = AnswerRequest { approve: false, times: None };

struct House {
    state: TempDir,
    audit: Audit,
    approvals: Approvals,
}

impl House {
    fn open() -> Self {
        let state = tempfile::tempdir().unwrap();
        let audit = Audit::open(state.path(), Settings::default()).unwrap();
        let approvals = Approvals::open(state.path(), audit.clone(), [7, 9]).unwrap();
        Self { state, audit, approvals }
    }

    fn ask(&self, question: Question) -> JoinHandle<Answer> {
        let approvals = self.approvals.clone();
        tokio::spawn(async move { approvals.ask(&question, || true).await })
    }

    /// Changes every question as it is shown.
    fn change(&self, change: impl Fn(&mut Approval)) {
        self.approvals.inner.shown.write().unwrap().values_mut().for_each(change);
    }

    /// The next question that waits.
    async fn waiting(&self) -> Approval {
        let mut changes = self.approvals.follow(&ADMIN);
        loop {
            let approval = changes.next().await.unwrap();
            if approval.state == ApprovalState::Waiting {
                return approval;
            }
        }
    }
}

fn question(path: &str) -> Question {
    Question {
        execution: ExecutionId::from_bits(1),
        session: SessionId::from_bits(2),
        uid: 7,
        policy: "p".into(),
        rule: "egress 1 (p.toml:3)".into(),
        request: RequestAsked {
            protocol: "https".into(),
            host: "api.example".into(),
            port: 443,
            method: Some("POST".into()),
            path: Some(path.into()),
            websocket: false,
            body: Some(3),
            body_sha256: None,
            fields: None,
        },
        deadline: Duration::from_secs(600),
    }
}

fn without_a_body(path: &str) -> Question {
    let asked = question(path);
    Question { request: RequestAsked { body: Some(0), ..asked.request }, ..asked }
}

fn is_refused(answer: &Answer, why: &str) -> bool {
    matches!(answer, Answer::Refused { reason, .. } if *reason == why)
}

#[tokio::test]
async fn a_request_waits_for_an_answer_that_is_good_for_it_alone() {
    let house = House::open();
    let asked = house.ask(question("/a"));
    let waiting = house.waiting().await;
    assert_eq!(house.approvals.waiting(waiting.execution), [waiting.id]);
    house.approvals.answer(&OPERATOR, waiting.id, YES).await.unwrap();
    assert_eq!(asked.await.unwrap(), Answer::Approved { id: waiting.id, by: 9 });
    // Once was once, and another path is another request.
    for path in ["/a", "/b"] {
        let asked = house.ask(question(path));
        let waiting = house.waiting().await;
        house.approvals.answer(&ADMIN, waiting.id, NO).await.unwrap();
        assert!(is_refused(&asked.await.unwrap(), "approval_denied"));
    }
    // A denial is good for the same request asked again: nobody is asked twice.
    assert!(is_refused(&house.ask(question("/b")).await.unwrap(), "approval_denied"));
    let kind = Some("approval".to_owned());
    let found = house.audit.search(AuditFilter { kind, ..AuditFilter::default() }, 0, 100).await;
    let rulings: Vec<Verdict> = found
        .unwrap()
        .records
        .iter()
        .map(|record| record.event.what.ruling().unwrap().verdict)
        .collect();
    use Verdict::{Allow, Ask, Deny};
    assert_eq!(rulings, [Ask, Allow, Ask, Deny, Ask, Deny]);
}

#[tokio::test]
async fn an_approval_that_is_taken_back_is_good_for_no_further_request() {
    let house = House::open();
    let asked = house.ask(question("/a"));
    let id = house.waiting().await.id;
    let often = AnswerRequest { approve: true, times: Some(5) };
    house.approvals.answer(&OPERATOR, id, often).await.unwrap();
    assert!(matches!(asked.await.unwrap(), Answer::Approved { .. }));
    assert!(matches!(house.ask(question("/a")).await.unwrap(), Answer::Approved { .. }));
    // Nobody takes back its own, and who may not answer takes nothing back.
    for caller in [OWNER, STRANGER] {
        assert!(house.approvals.answer(&caller, id, NO).await.is_err());
    }
    let denied = house.approvals.answer(&ADMIN, id, NO).await.unwrap();
    assert_eq!((denied.state, denied.left), (ApprovalState::Denied, 0));
    assert!(is_refused(&house.ask(question("/a")).await.unwrap(), "approval_denied"));
    let again = house.approvals.answer(&ADMIN, id, YES).await;
    assert_eq!(again.err().map(|error| error.code), Some(ErrorCode::Conflict));
}

#[tokio::test]
async fn only_administrators_and_operators_answer_and_nobody_its_own_question() {
    let house = House::open();
    let asked = house.ask(question("/a"));
    let id = house.waiting().await.id;
    let code = |result: Result<Approval, ApiError>| result.err().map(|error| error.code);
    let by = async |caller| code(house.approvals.answer(&caller, id, YES).await);
    assert_eq!(by(STRANGER).await, Some(ErrorCode::NotFound));
    assert_eq!(by(OWNER).await, Some(ErrorCode::PermissionDenied), "an operator, but its own");
    let administrator = Caller { role: Role::Admin, ..OWNER };
    assert_eq!(by(administrator).await, Some(ErrorCode::PermissionDenied), "whatever it is");
    assert!(!house.approvals.answers(&administrator, id));
    let often = AnswerRequest { approve: true, times: Some(MAX_TIMES + 1) };
    let refused = code(house.approvals.answer(&ADMIN, id, often).await);
    assert_eq!(refused, Some(ErrorCode::InvalidArgument));
    assert_eq!(by(ADMIN).await, None);
    assert_eq!(by(ADMIN).await, Some(ErrorCode::Conflict));
    assert!(matches!(asked.await.unwrap(), Answer::Approved { by: 0, .. }));
}

#[tokio::test]
async fn nobody_there_is_a_no_at_the_deadline() {
    let house = House::open();
    let soon = Question { deadline: Duration::from_millis(50), ..question("/a") };
    assert!(is_refused(&house.ask(soon.clone()).await.unwrap(), "approval_expired"));
    assert_eq!(house.approvals.waiting(soon.execution), []);
}

#[tokio::test]
async fn an_answer_for_several_times_is_good_for_so_many_and_over_a_restart() {
    let house = House::open();
    let asked = house.ask(without_a_body("/a"));
    let id = house.waiting().await.id;
    let three = AnswerRequest { approve: true, times: Some(3) };
    house.approvals.answer(&ADMIN, id, three).await.unwrap();
    assert_eq!(asked.await.unwrap(), Answer::Approved { id, by: 0 });
    let House { state, audit, approvals } = house;
    drop(approvals);
    let approvals = Approvals::open(state.path(), audit.clone(), []).unwrap();
    approvals.restore(&[ExecutionId::from_bits(1)].into()).await;
    let again = House { state, audit, approvals };
    for _ in 0..2 {
        assert_eq!(again.ask(without_a_body("/a")).await.unwrap(), Answer::Approved { id, by: 0 });
    }
    let asked = again.ask(without_a_body("/a"));
    assert_ne!(again.waiting().await.id, id, "asked anew");
    asked.abort();
}

#[tokio::test]
async fn a_question_that_was_waiting_can_be_answered_after_a_restart() {
    let house = House::open();
    let asked = house.ask(question("/a"));
    let id = house.waiting().await.id;
    asked.abort();
    let approvals = Approvals::open(house.state.path(), house.audit.clone(), []).unwrap();
    approvals.restore(&[ExecutionId::from_bits(1)].into()).await;
    approvals.answer(&ADMIN, id, YES).await.unwrap();
    assert_eq!(approvals.ask(&question("/a"), || true).await, Answer::Approved { id, by: 0 });
    approvals.restore(&BTreeSet::new()).await;
    assert_eq!(approvals.list(&ADMIN).approvals, []);
}

#[tokio::test]
async fn an_answer_is_no_good_when_the_policy_has_changed_meanwhile() {
    let house = House::open();
    let (asks, approvals) = (Arc::new(AtomicBool::new(true)), house.approvals.clone());
    let still = asks.clone();
    let asked = tokio::spawn(async move {
        approvals.ask(&question("/a"), || still.load(Ordering::SeqCst)).await
    });
    let id = house.waiting().await.id;
    asks.store(false, Ordering::SeqCst);
    house.approvals.answer(&ADMIN, id, YES).await.unwrap();
    assert!(is_refused(&asked.await.unwrap(), "policy_changed"));
}

#[tokio::test]
async fn a_deadline_is_waited_for_as_long_as_its_question_is_open() {
    let house = House::open();
    let asked = house.ask(question("/1"));
    let first = house.waiting().await.id;
    let watch = house.approvals.deadlines()[&first].1.clone();
    house.approvals.answer(&OPERATOR, first, YES).await.unwrap();
    asked.await.unwrap();
    while !watch.is_finished() {
        tokio::task::yield_now().await;
    }
    let asked = ["/2", "/3"].map(|path| house.ask(question(path)));
    while house.approvals.deadlines().len() < 2 {
        tokio::task::yield_now().await;
    }
    let watches: Vec<_> =
        house.approvals.deadlines().values().map(|(_, watch)| watch.clone()).collect();
    house.approvals.end(ExecutionId::from_bits(1)).await;
    assert!(
        house.approvals.deadlines().is_empty() && house.approvals.list(&ADMIN).approvals.is_empty()
    );
    while !watches.iter().all(AbortHandle::is_finished) {
        tokio::task::yield_now().await;
    }
    asked.iter().for_each(JoinHandle::abort); // whose connections are gone
    let House { state, audit, approvals } = house;
    drop(approvals);
    let again = Approvals::open(state.path(), audit, []).unwrap();
    assert_eq!(again.list(&ADMIN).approvals, []);
}

#[tokio::test]
async fn a_payload_cannot_flood_people_with_questions() {
    let house = House::open();
    let soon =
        |number: usize| Question { deadline: Duration::ZERO, ..question(&format!("/{number}")) };
    for number in 0..MAX_QUESTIONS {
        assert!(is_refused(&house.ask(soon(number)).await.unwrap(), "approval_expired"));
    }
    assert!(is_refused(&house.ask(soon(99)).await.unwrap(), "too_many_questions"));
    // What was not answered for an hour makes room for as many, and others have theirs.
    house.change(|approval| approval.deadline = show(clock::timestamp() - UNANSWERED));
    assert!(is_refused(&house.ask(soon(99)).await.unwrap(), "approval_expired"));
    assert_eq!(house.approvals.list(&ADMIN).approvals.len(), MAX_QUESTIONS);
    house.change(|approval| approval.state = ApprovalState::Denied);
    assert!(is_refused(&house.ask(soon(100)).await.unwrap(), "too_many_questions"));
    house.approvals.end(ExecutionId::from_bits(1)).await;
    assert!(is_refused(&house.ask(soon(99)).await.unwrap(), "approval_expired"));
}

#[tokio::test]
async fn answers_that_are_spent_make_room_for_further_questions() {
    let house = House::open();
    for number in 0..=MAX_QUESTIONS {
        let asked = house.ask(question(&format!("/{number}")));
        let id = house.waiting().await.id;
        house.approvals.answer(&OPERATOR, id, YES).await.unwrap();
        assert!(matches!(asked.await.unwrap(), Answer::Approved { .. }));
    }
}

#[tokio::test]
async fn a_few_users_who_ask_in_vain_keep_nobody_else_from_asking() {
    let house = House::open();
    let of = |uid: u32, number: u64| Question {
        execution: ExecutionId::from_bits(u128::from(uid) << 32 | u128::from(number)),
        uid,
        deadline: Duration::ZERO,
        ..question("/a")
    };
    for number in 0..MAX_OF_USER as u64 {
        assert!(is_refused(&house.ask(of(7, number)).await.unwrap(), "approval_expired"));
    }
    assert!(is_refused(&house.ask(of(7, 1 << 20)).await.unwrap(), "too_many_questions"));
    assert!(is_refused(&house.ask(of(8, 0)).await.unwrap(), "approval_expired"));
}

#[tokio::test]
async fn a_question_waits_as_long_as_it_may_wherever_the_host_s_clock_is_set() {
    let house = House::open();
    let asked = house.ask(question("/a"));
    let id = house.waiting().await.id;
    // As after a clock that was set ahead: the deadline that is shown has passed.
    house.change(|approval| approval.deadline = "2001-01-01T00:00:00.000Z".to_owned());
    house.approvals.answer(&OPERATOR, id, YES).await.unwrap();
    assert_eq!(asked.await.unwrap(), Answer::Approved { id, by: 9 });
}

#[test]
fn every_part_of_a_request_is_in_its_digest() {
    let base = question("/a");
    let digest = |change: &dyn Fn(&mut Question)| {
        let mut changed = base.clone();
        change(&mut changed);
        changed.digest().to_string()
    };
    let digests: BTreeSet<String> = [
        digest(&|_| ()),
        digest(&|it| it.execution = ExecutionId::from_bits(3)),
        digest(&|it| it.policy = "q".into()),
        digest(&|it| it.rule = "egress 2 (p.toml:9)".into()),
        digest(&|it| it.request.protocol = "http".into()),
        digest(&|it| it.request.host = "api.exampl".into()),
        digest(&|it| it.request.port = 80),
        digest(&|it| it.request.method = None),
        digest(&|it| it.request.method = Some(String::new())),
        digest(&|it| it.request.path = Some("/b".into())),
        digest(&|it| it.request.websocket = true),
        digest(&|it| it.request.body = None),
        digest(&|it| it.request.body_sha256 = Some("ab".into())),
        digest(&|it| it.request.fields = Some("x-amz-target: a".into())),
    ]
    .into();
    assert_eq!(digests.len(), 14);
}
