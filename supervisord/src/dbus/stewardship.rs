//! What administrators look after: credentials, budgets, and what is in force. Values of credentials
//! are neither told nor taken.

use supervisor_api::{Budget, Credential};
use zbus::Variant;
use zbus::message::Message;

use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::polkit::Action;
use crate::dbus::values::{self, Properties};

/// All credentials: names, kinds, states.
///
/// # Errors
///
/// When polkit does not let the caller.
pub async fn credentials(front: &Front, call: &Call) -> Result<Message, Failure> {
    call.arguments::<()>()?;
    let caller = front.administrator(call, Action::Credentials).await?;
    let list = front.supervisor.credentials(&caller)?;
    let credentials: Vec<_> = list.credentials.iter().map(credential).collect();
    call.answer(&(credentials,))
}

/// Reads a credential's value anew.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn rotate_credential(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (name,): (String,) = call.arguments()?;
    let caller = front.administrator(call, Action::Credentials).await?;
    call.answer(&(credential(&front.supervisor.rotate_credential(&caller, &name).await?),))
}

/// Lets no request have a credential any more.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn revoke_credential(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (name,): (String,) = call.arguments()?;
    let caller = front.administrator(call, Action::Credentials).await?;
    call.answer(&(credential(&front.supervisor.revoke_credential(&caller, &name).await?),))
}

/// What is spent and left: of the caller's own, or of all.
///
/// # Errors
///
/// When polkit does not let the caller see all.
pub async fn budgets(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (all,): (bool,) = call.arguments()?;
    let caller = front.onlooker(call, all).await?;
    let list = front.supervisor.budgets(&caller, all)?;
    let budgets: Vec<_> = list.budgets.iter().map(budget).collect();
    call.answer(&(budgets,))
}

/// Lets a budget begin anew.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn reset_budget(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (account,): (String,) = call.arguments()?;
    let caller = front.administrator(call, Action::ResetBudgets).await?;
    call.answer(&(budget(&front.supervisor.reset_budget(&caller, &account)?),))
}

/// One policy as it is in force.
///
/// # Errors
///
/// When there is none of this name.
pub fn policy(front: &Front, call: &Call) -> Result<Message, Failure> {
    let (name,): (String,) = call.arguments()?;
    let policy = front.supervisor.policy_in_force(&name)?;
    call.answer(&(
        policy.generation,
        policy.policy.description,
        policy.policy.reference.digest,
        policy.resolved,
    ))
}

fn credential(credential: &Credential) -> Properties {
    let mut properties = Properties::from([
        ("Name", Variant::from(credential.name.clone())),
        ("Kind", Variant::from(credential.kind.clone())),
        ("Hosts", Variant::from(credential.hosts.clone())),
        ("State", Variant::from(values::word(&credential.state))),
    ]);
    // What there is none of is left out.
    properties.extend(credential.reason.clone().map(|words| ("Reason", Variant::from(words))));
    let left = credential.expires_in_seconds;
    properties.extend(left.map(|left| ("ExpiresInSeconds", Variant::from(left))));
    properties
}

fn budget(budget: &Budget) -> Properties {
    let meters = budget.meters.iter();
    let meters: Vec<(String, u64, u64, u64)> =
        meters.map(|meter| (meter.meter.clone(), meter.limit, meter.spent, meter.left)).collect();
    let mut properties = Properties::from([
        ("Account", Variant::from(budget.account.clone())),
        ("Meters", Variant::from(meters)),
    ]);
    properties.extend(budget.owner_uid.map(|uid| ("OwnerUid", Variant::from(uid))));
    properties.extend(budget.window.map(|seconds| ("Window", Variant::from(seconds))));
    properties
}
