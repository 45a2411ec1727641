//! Answers that can't be kept.

use super::*;

impl House {
    /// Has every write to the questions fail in this way, or none.
    async fn refuse_writes(&self, how: Option<&str>) {
        let connection = self.approvals.inner.kept.lock().await.connection();
        let connection = connection.lock().unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS refused").unwrap();
        if let Some(how) = how {
            connection.execute_batch(how).unwrap();
        }
    }

    /// What the log says of questions: how each stands, why, by whom, and how often.
    async fn told(&self) -> Vec<(Verdict, String, Option<u32>, Option<u32>)> {
        let kind = Some("approval".to_owned());
        let found = self.audit.search(AuditFilter { kind, ..AuditFilter::default() }, 0, 100).await;
        let events = found.unwrap().records.into_iter().map(|record| record.event.what);
        let answers = events.filter_map(|what| match what {
            supervisor_api::What::Approval(answer) => Some(answer),
            _ => None,
        });
        answers
            .map(|answer| (answer.ruling.verdict, answer.ruling.reason, answer.by, answer.times))
            .collect()
    }
}

const FAILING: &str = "CREATE TEMP TRIGGER refused BEFORE INSERT ON approval \
                       BEGIN SELECT RAISE(FAIL, 'no'); END";

#[tokio::test]
async fn an_answer_that_could_not_be_kept_is_not_left_in_the_log_as_given() {
    use Verdict::{Allow, Ask, Deny};
    let house = House::open();
    let asked = house.ask(question("/a"));
    let id = house.waiting().await.id;
    house.refuse_writes(Some(FAILING)).await;
    for answer in [YES, NO] {
        let refused = house.approvals.answer(&OPERATOR, id, answer).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Internal);
        assert!(refused.detail.contains("it is not given"), "{refused}");
        let stands = house.approvals.show(&ADMIN, id).unwrap();
        assert_eq!((stands.state, stands.answered_by), (ApprovalState::Waiting, None));
    }
    house.refuse_writes(None).await;
    let often = AnswerRequest { approve: true, times: Some(5) };
    house.approvals.answer(&OPERATOR, id, often).await.unwrap();
    assert!(matches!(asked.await.unwrap(), Answer::Approved { .. }));
    // One that could not be taken back is good for what it was good for.
    house.refuse_writes(Some(FAILING)).await;
    house.approvals.answer(&ADMIN, id, NO).await.unwrap_err();
    house.refuse_writes(None).await;
    assert!(matches!(house.ask(question("/a")).await.unwrap(), Answer::Approved { .. }));
    let told = house.told().await;
    let told: Vec<_> = told.iter().map(|it| (it.0, it.1.as_str(), it.2, it.3)).collect();
    let expected = [
        (Ask, "approval_needed", None, None),
        (Allow, "approved", Some(9), Some(1)),
        (Ask, "answer_unkept", Some(9), None),
        (Deny, "approval_denied", Some(9), None),
        (Ask, "answer_unkept", Some(9), None),
        (Allow, "approved", Some(9), Some(5)),
        (Deny, "approval_denied", Some(0), None),
        (Allow, "answer_unkept", Some(0), Some(4)),
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn an_answer_for_which_there_is_no_room_is_refused_with_what_to_do() {
    let house = House::open();
    house.ask(question("/a"));
    let id = house.waiting().await.id;
    // A log of a page is all that the database may grow to: the answer makes its row one that needs another.
    let connection = house.approvals.inner.kept.lock().await.connection();
    let pages = "PRAGMA max_page_count = 1; CREATE TEMP TRIGGER refused BEFORE INSERT ON approval \
                 BEGIN INSERT OR REPLACE INTO approval VALUES ('x', hex(zeroblob(100000))); END";
    connection.lock().unwrap().execute_batch(pages).unwrap();
    let refused = house.approvals.answer(&ADMIN, id, YES).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::StorageFull);
    assert!(refused.hint.unwrap().contains("answer again"));
    assert_eq!(house.approvals.show(&ADMIN, id).unwrap().state, ApprovalState::Waiting);
}
