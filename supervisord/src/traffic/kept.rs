//! What a daemon that comes back needs to go on with a sandbox's traffic: the key of the authority that
//! the sandbox trusts, and which ports its sockets are for. It lies in the execution's own directory and
//! goes with the execution's end; whoever reads it can deceive that one sandbox.

use std::io;

use serde::{Deserialize, Serialize};
use supervisor_api::ExecutionId;
use supervisor_egress::Authority;
use supervisor_launch::Listeners;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::places::Places;

/// A way out, as it is kept.
pub struct KeptWay {
    /// The sandbox's authority.
    pub authority: Authority,
    /// What its sockets are.
    pub listeners: Listeners,
    /// How often a daemon took it over.
    pub taken_over: u32,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
#[serde(deny_unknown_fields)]
struct Written {
    /// PKCS #8.
    authority_key: Vec<u8>,
    ports: Vec<u16>,
    taken_over: u32,
}

/// Keeps what a way out needs.
pub fn keep(
    places: &Places,
    id: ExecutionId,
    authority: &Authority,
    listeners: Listeners,
    taken_over: u32,
) -> io::Result<()> {
    let authority_key = authority.key().to_vec();
    let written = Written { authority_key, ports: listeners.ports().collect(), taken_over };
    places.keep_way(id, &Zeroizing::new(serde_json::to_vec(&written)?))
}

/// What was kept; nothing if the execution has no way out. Each time counts as one more that it was taken
/// over.
pub fn take_over(places: &Places, id: ExecutionId) -> io::Result<Option<KeptWay>> {
    let Some(bytes) = places.way(id)?.map(Zeroizing::new) else { return Ok(None) };
    let written: Written = serde_json::from_slice(&bytes)?;
    let authority = Authority::with_key(&written.authority_key).map_err(io::Error::other)?;
    let listeners = Listeners::new(&written.ports)
        .ok_or_else(|| io::Error::other("no sandbox has sockets for these ports"))?;
    let taken_over = written.taken_over.saturating_add(1);
    keep(places, id, &authority, listeners, taken_over)?;
    Ok(Some(KeptWay { authority, listeners, taken_over }))
}
