//! From a request that the policy has allowed to one that carries its credentials.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, header};

use super::contents::AtHost;
use super::entry::Entry;
use super::inject;
use super::name::CredentialName;
use super::outbound::Unwelcome;
use super::place::{Binding, OTHER_RANGES, Place};
use super::prepared::Prepared;
use super::query::decoded;
use super::refusal::{CredentialRefusal, RefusalCode};
use super::seam::{Credentials, Wanted};
use super::value::Current;
use super::vault::Vault;
use super::watch::Watches;

const WEBSOCKET_EXTENSIONS: HeaderName = header::SEC_WEBSOCKET_EXTENSIONS;

/// A binding whose credential goes into the request.
struct Due<'a> {
    binding: &'a Binding,
    entry: Arc<Entry>,
}

/// Prepares a request for the first time.
pub async fn first(
    vault: &Vault,
    wanted: &Wanted<'_>,
    head: &mut Parts,
) -> Result<Prepared, CredentialRefusal> {
    let due = due(vault, wanted, head)?;
    let mut values = Vec::with_capacity(due.len());
    for each in &due {
        values.push(each.entry.value(wanted.whose).await?);
    }
    let renewable = due.iter().any(|each| each.entry.is_renewable());
    let original = renewable.then(|| Box::new(head.clone()));
    apply(vault, wanted, head, &due, values, original)
}

/// Prepares it once more after a 401, if there is a newer value of any of its credentials.
pub async fn again(
    vault: &Vault,
    wanted: &Wanted<'_>,
    prepared: &Prepared,
) -> Result<Option<(Parts, Prepared)>, CredentialRefusal> {
    let Some(original) = &prepared.original else { return Ok(None) };
    let mut head = (**original).clone();
    let due = due(vault, wanted, &head)?;
    let (mut values, mut newer) = (Vec::with_capacity(due.len()), false);
    for each in &due {
        let name = &each.binding.credential;
        let sent = prepared.injected.iter().find(|(sent, _)| sent == name);
        let value = match sent {
            Some((_, number)) => each.entry.newer(*number, wanted.whose).await?,
            None => None,
        };
        newer |= value.is_some();
        values.push(match value {
            Some(value) => value,
            None => each.entry.value(wanted.whose).await?,
        });
    }
    if !newer {
        return Ok(None);
    }
    let prepared = apply(vault, wanted, &mut head, &due, values, None)?;
    Ok(Some((head, prepared)))
}

/// The bindings whose credentials go into a request, each of them allowed to.
fn due<'a>(
    vault: &Vault,
    wanted: &Wanted<'a>,
    head: &Parts,
) -> Result<Vec<Due<'a>>, CredentialRefusal> {
    let mut due: Vec<Due<'a>> = Vec::new();
    for binding in wanted.bindings {
        let name = &binding.credential;
        if binding.needs_placeholder {
            let placeholder = vault.placeholder(&wanted.whose.session, name);
            if !inject::is_in_place(head, &binding.place, &placeholder) {
                continue;
            }
        }
        let entry = vault.entry(name).ok_or_else(|| unknown(name))?;
        check(wanted, head, &entry)?;
        if due.iter().any(|other| is_same_place(&other.binding.place, &binding.place)) {
            return Err(ambiguous(name));
        }
        due.push(Due { binding, entry });
    }
    Ok(due)
}

fn check(wanted: &Wanted<'_>, head: &Parts, entry: &Entry) -> Result<(), CredentialRefusal> {
    let name = &entry.name;
    let refuse = |code, cause: String, remedy: &str| {
        Err(CredentialRefusal::new(code, Some(name), cause, remedy))
    };
    if !wanted.encrypted {
        return refuse(
            RefusalCode::NotEncrypted,
            format!("credential {name} would go out without TLS"),
            "Use https.",
        );
    }
    if !entry.bounds.iter().any(|bound| bound.allows(wanted.host, wanted.port)) {
        return refuse(
            RefusalCode::OutOfBounds,
            format!("credential {name} may not go to {}:{}", wanted.host, wanted.port),
            "Have the credential's hosts in the daemon's configuration agree with the policy.",
        );
    }
    if head.method == Method::TRACE || head.method == Method::CONNECT {
        return refuse(
            RefusalCode::Unsuitable,
            format!("a {} request can't carry credential {name}", head.method),
            "Use another method; TRACE asks for the request to be sent back.",
        );
    }
    Ok(())
}

/// Puts the values into the head and looks at what the payload has put into it.
fn apply(
    vault: &Vault,
    wanted: &Wanted<'_>,
    head: &mut Parts,
    due: &[Due<'_>],
    values: Vec<Arc<Current>>,
    original: Option<Box<Parts>>,
) -> Result<Prepared, CredentialRefusal> {
    // What every placeholder that has its place here has in common: it is the payload's own.
    let placeholder =
        |binding: &Binding| vault.placeholder(&wanted.whose.session, &binding.credential);
    let own = wanted.bindings.iter().filter(|binding| binding.needs_placeholder);
    let unwelcome =
        Unwelcome { canaries: vault.canaries(), welcome: own.map(placeholder).collect() };
    vault.look_at_host(wanted.host)?;
    look(head, &unwelcome, due)?;
    // Signatures last: they cover what else is put in.
    let is_signature = |due: &Due<'_>| matches!(due.binding.place, Place::SigV4 { .. });
    let own: Vec<_> = values.iter().map(|value| value.watch.clone()).collect();
    let at = vault.at(wanted.host);
    let mut held = at.as_ref().map(AtHost::held).unwrap_or_default();
    held.retain(|(_, held)| own.iter().all(|own| !Arc::ptr_eq(own, held)));
    // A key that signs is nothing that could be read; what is or was sent there is, by whatever request.
    let mut known = own.iter().chain(held.iter().map(|(_, held)| held));
    let is_readable = known.any(|watch| !watch.is_of_a_key());
    // One that has no value yet may have one before the response is over.
    let names: Vec<_> = due.iter().map(|due| &due.binding.credential).collect();
    let has_others = !held.is_empty() || at.as_ref().is_some_and(|at| at.has_others(&names));
    for signatures in [false, true] {
        let pass = due.iter().zip(&values).filter(|(due, _)| is_signature(due) == signatures);
        for (Due { binding, .. }, current) in pass {
            inject::put(head, wanted, binding, &current.value)?;
        }
        if !signatures && (is_readable || has_others) {
            make_readable(head);
        }
    }
    let number = |(due, current): (&Due<'_>, &Arc<Current>)| {
        (due.binding.credential.clone(), current.number)
    };
    Ok(Prepared {
        injected: due.iter().zip(&values).map(number).collect(),
        watches: Watches::new(own, at),
        suspects: held.into_iter().map(|(name, _)| name).collect(),
        is_readable,
        original,
        unwelcome: Arc::new(unwelcome),
    })
}

/// Looks at all that the payload has put into the head but those places where its placeholder is about
/// to be replaced.
fn look(head: &Parts, unwelcome: &Unwelcome, due: &[Due<'_>]) -> Result<(), CredentialRefusal> {
    let strict = Unwelcome { canaries: unwelcome.canaries.clone(), welcome: Vec::new() };
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    // A decoy leaves by a method or a name as well as by a value.
    if !strict.canaries.is_empty() {
        strict.look(head.method.as_str().as_bytes())?;
        head.headers.keys().try_for_each(|name| strict.look(name.as_str().as_bytes()))?;
    }
    let in_query = |due: &Due<'_>| matches!(due.binding.place, Place::Query { .. });
    let rules = if due.iter().any(in_query) { unwelcome } else { &strict };
    rules.look(target.as_bytes())?;
    // A placeholder has its place in a query however it is spelt there, so it is misplaced as well.
    if let Cow::Owned(plain) = decoded(target, false) {
        rules.look(&plain)?;
    }
    for (name, value) in &head.headers {
        let replaced = |due: &Due<'_>| match &due.binding.place {
            Place::Header { name: field, .. } => field == name,
            Place::Basic { .. } | Place::SigV4 { .. } => name == header::AUTHORIZATION,
            Place::Query { .. } => false,
        };
        let rules = if due.iter().any(replaced) { unwelcome } else { &strict };
        rules.look(value.as_bytes())?;
        if let Some(plain) = inject::basic(value) {
            rules.look(&plain)?;
        }
    }
    Ok(())
}

/// Asks for a response that can be searched: not compressed, and whole, since a secret could come back
/// in ranges that are each too short to be recognised. A server may ignore such fields (RFC 9110
/// §12.5.3, §14.2), so clients cope without. Requests that are signed by a key without a token, of hosts that get
/// no other secret, are left as they are: the key that signs does not travel.
fn make_readable(head: &mut Parts) {
    head.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [header::RANGE, header::IF_RANGE, WEBSOCKET_EXTENSIONS] {
        head.headers.remove(name);
    }
    for name in OTHER_RANGES {
        head.headers.remove(name);
    }
}

fn is_same_place(one: &Place, other: &Place) -> bool {
    match (one, other) {
        (Place::Query { name }, Place::Query { name: other }) => name == other,
        _ => one.field().is_some() && one.field() == other.field(),
    }
}

fn unknown(name: &CredentialName) -> CredentialRefusal {
    CredentialRefusal::new(
        RefusalCode::Unknown,
        Some(name),
        format!("no credential {name} is configured"),
        "Have an administrator define it in the daemon's configuration and reload.",
    )
}

fn ambiguous(name: &CredentialName) -> CredentialRefusal {
    CredentialRefusal::new(
        RefusalCode::Unsuitable,
        Some(name),
        format!(
            "the policy binds credential {name} and another one to the same place of the request"
        ),
        "Have the policy's bindings differ in hosts, methods, paths or places.",
    )
}
