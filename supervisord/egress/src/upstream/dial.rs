//! From a permit to a connection. What is dialled is exactly an address that was checked for it: the
//! name is resolved once, every address judged, and one of those that passed is connected to.

use std::io;
use std::net::IpAddr;

use http::StatusCode;
use supervisor_policy::egress::{AddressClass, CheckedAddress, Host, HostName, Permit};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::UpstreamError;
use super::own::is_own;
use super::socket::{Socket, SocketPlace};
use crate::limits::NEXT_ATTEMPT_AFTER;
use crate::refused::Refused;
use crate::resolve::{Resolved, Unresolved};
use crate::session::Session;

/// The addresses that may be dialled for a permit, in the order in which they will be.
///
/// # Errors
///
/// When the name has none, or none of them may be.
pub async fn addresses(session: &Session, permit: &Permit) -> Result<Vec<CheckedAddress>, Refused> {
    let Some(destination) = permit.destination() else {
        return Err(UpstreamError::Unresolved(Unresolved::WithoutAddress).into());
    };
    let name = match &destination.host {
        Host::Address(address) => return checked(session, permit, &[*address]),
        Host::Name(name) => name,
    };
    let resolved = look_up(session, name, false).await?;
    match checked(session, permit, &resolved.addresses) {
        // Those that may be dialled may be late.
        Err(_) if !resolved.is_whole => {
            let whole = look_up(session, name, true).await?;
            checked(session, permit, &whole.addresses)
        }
        checked => checked,
    }
}

/// Those of a name's addresses that may be dialled.
fn checked(
    session: &Session,
    permit: &Permit,
    addresses: &[IpAddr],
) -> Result<Vec<CheckedAddress>, Refused> {
    let mut checked = Vec::with_capacity(addresses.len());
    let mut refused = None;
    for address in addresses.iter().copied() {
        match session.egress().address(permit, address) {
            Err(refusal) => refused = Some(Refused::from(refusal)),
            Ok(_) if is_closed(session, permit, address)? => refused = Some(own_address(address)),
            Ok(address) => checked.push(address),
        }
    }
    match refused {
        _ if !checked.is_empty() => Ok(alternating(checked)),
        Some(refused) => Err(refused),
        None => Err(UpstreamError::Unresolved(Unresolved::WithoutAddress).into()),
    }
}

/// Connects to one of these addresses, starting with the first and adding another whenever the last
/// one takes a while or fails (RFC 8305 §5, without its sorting by history).
///
/// # Errors
///
/// When there is no place for a socket, or no address takes the connection in time.
pub async fn dial(session: &Session, addresses: &[CheckedAddress]) -> Result<Socket, Refused> {
    let place = SocketPlace::wait(session).await?;
    let connecting = async {
        match addresses {
            // Nothing to race with, so it takes no task of its own.
            [only] => connect(*only, place).await.map_err(|(error, _)| error),
            several => race(session, place, several).await,
        }
    };
    match timeout(session.shared.limits.connect, connecting).await {
        Ok(connected) => connected.map_err(|error| UpstreamError::Connect(error).into()),
        Err(_) => Err(UpstreamError::ConnectTimeout.into()),
    }
}

async fn race(
    session: &Session,
    place: SocketPlace,
    addresses: &[CheckedAddress],
) -> io::Result<Socket> {
    let mut attempts = JoinSet::new();
    let (mut waiting, mut free) = (addresses.iter(), Some(place));
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        // A second attempt beside the first needs a place of its own; one that has failed leaves its place.
        let place = free.take().or_else(|| SocketPlace::at_once(session));
        let next = place.and_then(|place| Some((*waiting.next()?, place)));
        let started = next.map(|(address, place)| attempts.spawn(connect(address, place)));
        if started.is_none() && attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err((error, place))) => (failure, free) = (error, Some(place)),
                Err(error) => failure = io::Error::other(error),
            },
            () = sleep(NEXT_ATTEMPT_AFTER), if started.is_some() => {}
        }
    }
}

async fn connect(
    address: CheckedAddress,
    place: SocketPlace,
) -> Result<Socket, (io::Error, SocketPlace)> {
    match place.connect(address.socket()).await {
        Ok(stream) => Ok(Socket::new(stream, place)),
        Err(error) => Err((error, place)),
    }
}

/// A name's addresses, which a session asks for so many of at once.
async fn look_up(session: &Session, name: &HostName, whole: bool) -> Result<Resolved, Refused> {
    let asking = async {
        let _turn = session.look_ups.acquire().await;
        session.shared.resolver.resolve(name, whole).await
    };
    match timeout(session.shared.limits.crowded, asking).await {
        Ok(resolved) => resolved.map_err(|why| UpstreamError::Unresolved(why).into()),
        Err(_) => Err(Refused::too_many("look-ups")),
    }
}

/// Whether an address is the host's own and no rule names it alone: a network that is opened has other hosts.
/// Loopback is always the host's, and examples' addresses are nobody's.
fn is_closed(session: &Session, permit: &Permit, address: IpAddr) -> Result<bool, Refused> {
    let is_meant = match AddressClass::of(address) {
        AddressClass::Loopback | AddressClass::Documentation => true,
        _ => session.egress().names_alone(permit, address),
    };
    if is_meant {
        return Ok(false);
    }
    is_own(address).map_err(|error| UpstreamError::Connect(error).into())
}

fn own_address(address: IpAddr) -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "destination_ip_prohibited",
        "own_address",
        format!("{address} is an address of the host that runs this sandbox"),
        "Use a service elsewhere. The author of the policy can open this one by its address alone: \
         `addresses = [\"ADDRESS/32\"]`, or /128.",
    )
}

/// The first family first, and then in turn (RFC 8305 §4).
fn alternating(addresses: Vec<CheckedAddress>) -> Vec<CheckedAddress> {
    let first_is_v6 = addresses.first().is_some_and(|address| address.ip().is_ipv6());
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.ip().is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut sorted = Vec::new();
    loop {
        match (first.next(), second.next()) {
            (None, None) => return sorted,
            (one, other) => sorted.extend(one.into_iter().chain(other)),
        }
    }
}
