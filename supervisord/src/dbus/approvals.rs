//! Questions to a person: the manager's methods about them. Operators answer as themselves, others if
//! polkit lets them.

use supervisor_api::{AnswerRequest, Approval};
use zbus::Variant;
use zbus::message::Message;

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::names::id_in;
use crate::dbus::polkit::Action;
use crate::dbus::values::{Properties, word};

/// Those of executions that have not finished, oldest first.
///
/// # Errors
///
/// When polkit does not let the caller see everybody's.
pub async fn list(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (all,): (bool,) = call.arguments()?;
    let caller = front.onlooker(call, all).await?;
    let list = front.supervisor.inner().approvals.list(&caller);
    let approvals: Vec<_> = list.approvals.iter().map(properties).collect();
    call.answer(&(approvals,))
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
    let (id, own) = (id_in(id), call.own());
    let approvals = &front.supervisor.inner().approvals;
    let caller = match approvals.answers(&own, id) {
        true => own,
        false => front.administrator(call, Action::Approve).await?,
    };
    let approval = approvals.answer(&caller, id, answer).await?;
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
