//! What connections cost that are there and do nothing.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::thread;

use super::client::tunnel;
use super::door::{Door, Whose};
use super::ours::Sandbox;
use super::upstream::Addresses;
use crate::failure::Failure;
use crate::memory;

/// Tunnels of ours together, and the descriptors that take them; one sandbox may have 256 connections.
const MOST: usize = 10_000;
/// See [`MOST`]: the daemon gives tunnels' two ends three eighths of its descriptors each.
pub const DESCRIPTORS: u64 = 28_100;

/// Connections to upstreams that sandboxes keep open for what they asked before.
const KEPT: usize = 512;

/// Sandboxes with so many connections each.
pub const SANDBOXES: usize = 40;

/// Connections through a peer's proxy.
const OF_A_PEER: usize = 1000;

/// Memory of a proxy's processes for each of so many idle tunnels.
#[derive(Debug, Clone, Copy)]
pub struct Idle {
    /// Tunnels, each with two connections of the proxy.
    pub connections: usize,
    /// Growth of the processes, in KiB PSS.
    pub growth: f64,
}

/// How many tunnels so many descriptors are enough for.
pub fn affordable(descriptors: u64) -> usize {
    let granted = usize::try_from(descriptors / 8 * 3).unwrap_or(MOST);
    granted.saturating_sub(KEPT).min(MOST)
}

/// So many tunnels of forty sandboxes.
pub fn ours(sandboxes: &[Sandbox], tunnels: usize, at: Addresses) -> Result<Idle, Failure> {
    let Some(first) = sandboxes.first() else {
        return Err(Failure::new("there is no sandbox"));
    };
    let before = size(&first.door)?;
    let mut held = Vec::new();
    for sandbox in sandboxes {
        held.extend(open(&sandbox.door, at.bulk, tunnels / sandboxes.len())?);
    }
    let growth = size(&first.door)? - before;
    Ok(Idle { connections: held.len(), growth })
}

/// A thousand tunnels through a peer's.
pub fn peer(door: &Door, at: Addresses) -> Result<Option<Idle>, Failure> {
    if door.whose == Whose::Direct {
        return Ok(None);
    }
    let before = size(door)?;
    let held = open(door, at.bulk, OF_A_PEER)?;
    let growth = size(door)? - before;
    Ok(Some(Idle { connections: held.len(), growth }))
}

fn size(door: &Door) -> Result<f64, Failure> {
    memory::sum(&memory::descendants(&door.processes))
}

fn open(door: &Door, to: SocketAddr, count: usize) -> Result<Vec<TcpStream>, Failure> {
    let Some(proxy) = door.proxy else { return Ok(Vec::new()) };
    let all = || -> io::Result<Vec<TcpStream>> {
        door.enter()?;
        (0..count).map(|_| tunnel(proxy, to)).collect()
    };
    let opened = thread::scope(|scope| scope.spawn(all).join());
    let lost = |_| Err(io::Error::other("a thread of the benchmark panicked"));
    opened.unwrap_or_else(lost).map_err(Failure::of(format!("keep tunnels of {}", door.whose)))
}
