//! From a permit to a connection. What is dialled is exactly an address that was checked for it: the
//! name is resolved once, every address judged, and one of those that passed is connected to.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use http::StatusCode;
use supervisor_policy::egress::{AddressClass, CheckedAddress, Host, Permit};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::UpstreamError;
use super::own::is_own;
use crate::limits::NEXT_ATTEMPT_AFTER;
use crate::refused::Refused;
use crate::session::Session;

/// The addresses that may be dialled for a permit, in the order in which they will be.
///
/// # Errors
///
/// When the name has none, or none of them may be.
pub async fn addresses(session: &Session, permit: &Permit) -> Result<Vec<CheckedAddress>, Refused> {
    let Some(destination) = permit.destination() else {
        return Err(UpstreamError::Unresolved(crate::resolve::Unresolved::NoAddress).into());
    };
    let resolved = match &destination.host {
        Host::Address(address) => [*address].into(),
        Host::Name(name) => {
            session.shared.resolver.resolve(name).await.map_err(UpstreamError::Unresolved)?
        }
    };
    let mut checked = Vec::with_capacity(resolved.len());
    let mut refused = None;
    for address in resolved.iter().copied() {
        match session.egress().address(permit, address) {
            Err(refusal) => refused = Some(Refused::from(refusal)),
            Ok(_) if is_closed(address).await? => refused = Some(own_address(address)),
            Ok(address) => checked.push(address),
        }
    }
    match refused {
        _ if !checked.is_empty() => Ok(alternating(checked)),
        Some(refused) => Err(refused),
        None => Err(UpstreamError::Unresolved(crate::resolve::Unresolved::NoAddress).into()),
    }
}

/// Connects to one of these addresses, starting with the first and adding another whenever the last
/// one takes a while or fails (RFC 8305 §5, without its sorting by history).
///
/// # Errors
///
/// When none takes the connection in time.
pub async fn dial(
    addresses: &[CheckedAddress],
    patience: Duration,
) -> Result<TcpStream, UpstreamError> {
    match timeout(patience, race(addresses)).await {
        Ok(connected) => connected.map_err(UpstreamError::Connect),
        Err(_) => Err(UpstreamError::ConnectTimeout),
    }
}

async fn race(addresses: &[CheckedAddress]) -> io::Result<TcpStream> {
    if let [only] = addresses {
        return connect(*only).await;
    }
    let mut attempts = JoinSet::new();
    let mut waiting = addresses.iter();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let started = waiting.next().map(|address| attempts.spawn(connect(*address)));
        if started.is_none() && attempts.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = error,
                Err(error) => failure = io::Error::other(error),
            },
            () = sleep(NEXT_ATTEMPT_AFTER), if started.is_some() => {}
        }
    }
}

async fn connect(address: CheckedAddress) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address.socket()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether a public address is the host's own. Others are only dialled where a rule names them.
async fn is_closed(address: IpAddr) -> Result<bool, Refused> {
    if AddressClass::of(address) != AddressClass::Public {
        return Ok(false);
    }
    is_own(address).await.map_err(|error| UpstreamError::Connect(error).into())
}

fn own_address(address: IpAddr) -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "destination_ip_prohibited",
        "own_address",
        format!("{address} is an address of the host that runs this sandbox"),
        "Use a service elsewhere; this host's own are closed to sandboxes.",
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
