//! Connections of programs that know of no proxy: they dialled a synthetic address, or any other, and
//! our listener in their network namespace took it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::BytesMut;
use http::StatusCode;
use supervisor_policy::egress::{Destination, Host};
use tokio::net::TcpStream;

use super::plan::Plan;
use super::refuse::{refuse, reset};
use super::sniff::sniff;
use super::tunnel;
use crate::event::Subject;
use crate::refused::Refused;
use crate::session::{Aim, Session};
use crate::shared::Place;

/// Ports of protocols in which the program begins. It may have its certificates to load before it does,
/// and on a machine that is busy that takes seconds.
const BEGUN_BY_PROGRAMS: [u16; 2] = [80, 443];

/// Serves one connection that was dialled at this address.
pub async fn serve(session: Arc<Session>, stream: TcpStream, dialled: SocketAddr, place: Place) {
    let (address, port) = (dialled.ip(), dialled.port());
    let host = match session.aim(address) {
        Aim::Host(host) => host,
        Aim::Nowhere => {
            let destination = Destination { host: Host::Address(address), port };
            let refused = nowhere(address);
            let subject = Subject::Connection { destination: Some(destination), protocol: None };
            session.refuse(session.number(), subject, &refused);
            return explain(&session, stream, port, &refused).await;
        }
    };
    match Plan::of(&session, Destination { host, port }).await {
        Ok(plan) => tunnel::serve(session, stream, BytesMut::new(), plan, None, place).await,
        Err(refused) => explain(&session, stream, port, &refused).await,
    }
}

/// Finds out what the program speaks, for a moment, to refuse it in that.
async fn explain(session: &Session, mut stream: TcpStream, port: u16, refused: &Refused) {
    let (limits, mut front) = (&session.shared.limits, BytesMut::new());
    let patience = match BEGUN_BY_PROGRAMS.contains(&port) {
        true => limits.head,
        false => limits.refusal,
    };
    match sniff(&mut stream, &mut front, patience, patience).await {
        Ok(speech) => refuse(stream, &speech, refused, limits.linger).await,
        Err(_) => reset(stream),
    }
}

fn nowhere(address: IpAddr) -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "destination_not_found",
        "stale_address",
        format!("{address} stands for no name in this sandbox"),
        "Look the name up again; its address is another one in every sandbox.",
    )
}
