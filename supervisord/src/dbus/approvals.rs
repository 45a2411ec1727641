//! Questions to a person: the manager's methods about them. Operators answer as themselves, others if
//! polkit lets them.

use supervisor_api::{AnswerRequest, Approval, ApprovalState};
use zbus::Variant;
use zbus::message::Message;

use crate::dbus::bounds::MAX_APPROVAL_BYTES;
use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::id_in;
use crate::dbus::polkit::Action;
use crate::dbus::values::{Properties, word};

/// Those of executions that have not finished, oldest first: all, or as many as a message may hold, those
/// that wait before those that are answered.
///
/// # Errors
///
/// When polkit does not let the caller see everybody's.
pub async fn list(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (all,): (bool,) = call.arguments()?;
    let caller = front.onlooker(call, all).await?;
    let list = front.supervisor.inner().approvals.list(&caller);
    let approvals: Vec<_> = bounded(list.approvals).iter().map(properties).collect();
    call.answer(&(approvals,))
}

/// As many as may be, in their order.
fn bounded(approvals: Vec<Approval>) -> Vec<Approval> {
    let (waiting, answered): (Vec<_>, Vec<_>) = approvals
        .into_iter()
        .enumerate()
        .partition(|(_, approval)| approval.state == ApprovalState::Waiting);
    let mut left = MAX_APPROVAL_BYTES;
    let fits = |(_, approval): &(usize, Approval)| {
        let rest = left.checked_sub(bytes(approval));
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let mut chosen: Vec<_> = waiting.into_iter().chain(answered).take_while(fits).collect();
    chosen.sort_by_key(|(place, _)| *place);
    chosen.into_iter().map(|(_, approval)| approval).collect()
}

/// About how many bytes one is: its words, and the names of its properties.
fn bytes(approval: &Approval) -> usize {
    const NAMES: usize = 1024;
    let request = &approval.request;
    let words = [&request.method, &request.path, &request.fields];
    let own = [&approval.policy, &approval.rule, &request.host];
    let words = words.into_iter().flatten().chain(own).map(String::len).sum::<usize>();
    words + NAMES
}

/// One.
///
/// # Errors
///
/// When there is none that the caller may see.
pub async fn show(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    let (id, own) = (id_in(&id), call.own());
    let approvals = &front.supervisor.inner().approvals;
    let approval = match approvals.show(&own, id) {
        Ok(approval) => approval,
        Err(_) => approvals.show(&front.raised(call, Action::SeeAll).await, id)?,
    };
    call.answer(&(properties(&approval),))
}

/// Lets a request be made so often.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn approve(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id, times): (String, u32) = call.arguments()?;
    answer(front, call, &id, AnswerRequest { approve: true, times: Some(times) }).await
}

/// Refuses a request.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn deny(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (id,): (String,) = call.arguments()?;
    answer(front, call, &id, AnswerRequest { approve: false, times: None }).await
}

async fn answer(
    front: &Front,
    call: &Call,
    id: &str,
    answer: AnswerRequest,
) -> Result<Message, Failure> {
    let id = id_in(id);
    let caller = front.answerer(call, id).await?;
    let approval = front.supervisor.inner().approvals.answer(&caller, id, answer).await?;
    call.answer(&(properties(&approval),))
}

/// A question, what came of it, and the exact request.
pub fn properties(approval: &Approval) -> Properties {
    let text = |text: &str| Variant::from(text.to_owned());
    let request = &approval.request;
    let mut properties = Properties::from([
        ("Id", text(&approval.id.to_string())),
        ("State", Variant::from(word(&approval.state))),
        ("Execution", text(&approval.execution.to_string())),
        ("Session", text(&approval.session.to_string())),
        ("OwnerUid", Variant::from(approval.owner_uid)),
        ("Policy", text(&approval.policy)),
        ("Rule", text(&approval.rule)),
        ("Protocol", text(&request.protocol)),
        ("Host", text(&request.host)),
        ("Port", Variant::from(request.port)),
        ("WebSocket", Variant::from(request.websocket)),
        ("Digest", text(&approval.digest)),
        ("AskedAt", text(&approval.asked_at)),
        ("Deadline", text(&approval.deadline)),
        ("Left", Variant::from(approval.left)),
    ]);
    // What there is none of is left out.
    let texts = [
        ("Method", &request.method),
        ("Path", &request.path),
        ("BodySha256", &request.body_sha256),
        ("Fields", &request.fields),
        ("AnsweredAt", &approval.answered_at),
    ];
    properties.extend(
        texts
            .into_iter()
            .filter_map(|(name, words)| words.as_ref().map(|words| (name, text(words)))),
    );
    properties.extend(request.body.map(|bytes| ("Body", Variant::from(bytes))));
    properties.extend(approval.answered_by.map(|uid| ("AnsweredBy", Variant::from(uid))));
    properties
}

#[cfg(test)]
mod tests {
    use supervisor_api::{ApprovalId, ExecutionId, RequestAsked, SessionId};

    use super::*;

    fn asked(number: u128, state: ApprovalState, path: usize) -> Approval {
        Approval {
            id: ApprovalId::from_bits(number),
            state,
            execution: ExecutionId::from_bits(1),
            session: SessionId::from_bits(2),
            owner_uid: 7,
            policy: "p".into(),
            rule: "egress 1 (p.toml:3)".into(),
            request: RequestAsked {
                protocol: "https".into(),
                host: "api.example".into(),
                port: 443,
                method: Some("GET".into()),
                path: Some("x".repeat(path)),
                websocket: false,
                body: None,
                body_sha256: None,
                fields: None,
            },
            digest: "ab".repeat(32),
            asked_at: "2026-01-01T00:00:00Z".into(),
            deadline: "2026-01-01T00:01:00Z".into(),
            answered_by: None,
            answered_at: None,
            left: 0,
        }
    }

    #[test]
    fn a_list_has_what_fits_in_a_message_and_what_waits_before_what_is_answered() {
        let few: Vec<_> = (1..20).map(|it| asked(it, ApprovalState::Denied, 10)).collect();
        assert_eq!(bounded(few.clone()), few);
        let answered = (1..4000).map(|it| asked(it, ApprovalState::Approved, 16_000));
        let waiting = (4000..4010).map(|it| asked(it, ApprovalState::Waiting, 16_000));
        let chosen = bounded(answered.chain(waiting).collect());
        assert!(chosen.iter().map(bytes).sum::<usize>() <= MAX_APPROVAL_BYTES);
        assert!(chosen.len() > 200 && chosen.is_sorted_by_key(|approval| approval.id));
        let waits = |it: &&Approval| it.state == ApprovalState::Waiting;
        assert_eq!(chosen.iter().filter(waits).count(), 10);
    }
}
