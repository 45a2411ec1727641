//! What the way out costs, against other proxies in front of the same server under the same loads.
//!
//! Whoever has a turn has the machine, in an order that changes every round. Processor time is that of
//! the proxy's processes alone; the clients, the server and the proxy share the processors, so a rate
//! says something only beside another one of the same table.

mod authority;
mod client;
mod door;
mod idle;
mod load;
mod ours;
mod peers;
mod program;
pub mod report;
mod upstream;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::ClientConfig;

use self::authority::Certificates;
use self::door::{Door, Whose};
use self::idle::Idle;
use self::load::{Load, Slice};
use self::ours::{Ours, Sandbox};
use self::upstream::{Addresses, Upstream};
use crate::arguments::Arguments;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::turns::Turns;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Why nothing was.
    pub nothing: Option<String>,
    /// Who could not take part, and why.
    pub absent: Vec<(Whose, String)>,
    /// Peers that could not stand a load, and why.
    pub failed: BTreeMap<(Load, Whose), String>,
    /// Every slice of every load.
    pub slices: BTreeMap<(Load, Whose), Vec<Slice>>,
    /// Idle tunnels.
    pub idle: BTreeMap<Whose, Idle>,
    /// Processor time for each plain request with one sandbox, and with many.
    pub crowd: Option<(Duration, Duration)>,
}

/// Those who take turns: a door, and the TLS of its clients.
type Contestant<'a> = (&'a Door, Arc<ClientConfig>);

/// Measures everybody.
pub fn measure(
    arguments: &Arguments,
    environment: &Environment,
    scratch: &Path,
) -> Result<Results, Failure> {
    let nothing = |why: &str| Results { nothing: Some(why.to_owned()), ..Results::default() };
    if !environment.is_root {
        return Ok(nothing("not measured (needs root)"));
    }
    let certificates = Certificates::make(scratch)?;
    let upstream = match Upstream::start(scratch, &certificates) {
        Ok(upstream) => upstream,
        Err(why) => return Ok(nothing(&why)),
    };
    let tunnels = tunnels()?;
    let at = upstream.at;
    let candidates = [
        (Whose::Squid, peers::squid(scratch, &certificates)),
        (Whose::Tinyproxy, peers::tinyproxy(scratch)),
        (Whose::Mitmproxy, peers::mitmproxy(scratch, &certificates, at)),
    ];
    let mut ours = Ours::start(&certificates, at);
    let own = ours.sandbox()?;
    let direct = Door::direct();
    let mut results = Results::default();
    let mut doors = vec![&direct, &own.door];
    for (whose, candidate) in &candidates {
        match candidate {
            Ok((_, door)) => doors.push(door),
            Err(why) => results.absent.push((*whose, why.clone())),
        }
    }
    let root = peers::certificate(&certificates.root).map_err(Failure::new)?;
    let mut contestants = Vec::new();
    for door in doors {
        contestants.push((door, load::trust(door, &root)?));
    }
    take_turns(&mut contestants, arguments, at, &mut results)?;
    for (door, _) in contestants.iter().filter(|(door, _)| door.whose != Whose::Ours) {
        results.idle.extend(idle::peer(door, at)?.map(|idle| (door.whose, idle)));
    }
    let tls = load::trust(&own.door, &root)?;
    let mut crowd = vec![own];
    while crowd.len() < idle::SANDBOXES {
        crowd.push(ours.sandbox()?);
    }
    let many = with_a_crowd(&crowd, arguments, at, &tls)?;
    results.idle.insert(Whose::Ours, idle::ours(&crowd, tunnels, at)?);
    for sandbox in crowd.drain(1..) {
        ours.end(&sandbox)?;
    }
    results.crowd = Some((with_a_crowd(&crowd, arguments, at, &tls)?, many));
    Ok(results)
}

fn take_turns(
    contestants: &mut [Contestant<'_>],
    arguments: &Arguments,
    at: Addresses,
    results: &mut Results,
) -> Result<(), Failure> {
    let (length, rounds) = arguments.egress_slices();
    let mut turns = Turns::new();
    for load in Load::ALL {
        // The first turn doesn't count: connections are made, certificates minted, caches filled.
        for round in 0..=rounds {
            turns.shuffle(contestants);
            for (door, tls) in contestants.iter().filter(|(door, _)| load.is_for(door.whose)) {
                let place = (load, door.whose);
                if results.failed.contains_key(&place) {
                    continue;
                }
                let length = if round == 0 { length / 4 } else { length };
                match load::run(door, load, at, tls, length) {
                    Ok(slice) if round > 0 => results.slices.entry(place).or_default().push(slice),
                    Ok(_) => {}
                    Err(failure) if matches!(door.whose, Whose::Direct | Whose::Ours) => {
                        return Err(failure);
                    }
                    Err(failure) => {
                        results.slices.remove(&place);
                        results
                            .failed
                            .insert(place, format!("not measured ({})", failure.in_full()));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Processor time of a plain request from the first of these sandboxes; in the others nothing happens.
/// What the daemon uses for so many sandboxes without any request, such as to read their use, is no part
/// of it.
fn with_a_crowd(
    crowd: &[Sandbox],
    arguments: &Arguments,
    at: Addresses,
    tls: &Arc<ClientConfig>,
) -> Result<Duration, Failure> {
    let own = crowd.first().ok_or_else(|| Failure::new("there is no sandbox"))?;
    let (length, rounds) = arguments.egress_slices();
    let mut slices = Vec::new();
    for round in 0..=rounds {
        let mut slice = load::run(&own.door, Load::Plain, at, tls, length)?;
        let (begun, used) = (Instant::now(), own.door.used()?);
        sleep(length);
        let idle = (own.door.used()? - used).as_secs_f64() / begun.elapsed().as_secs_f64();
        slice.used = slice.used.saturating_sub(slice.took.mul_f64(idle));
        if round > 0 {
            slices.push(slice); // in the first, what was before is still being ended
        }
    }
    report::each(&slices).ok_or_else(|| Failure::new("nothing was answered"))
}

/// How many tunnels a process can have that may have as many descriptors as this one: each takes two of
/// the proxy's. Those of ours are as many as the goal says, if that can be.
fn tunnels() -> Result<usize, Failure> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)
        .map_err(Failure::of("read how many descriptors there may be"))?;
    let wanted = hard.max(idle::DESCRIPTORS);
    // Without the privilege to have more, it is what there is.
    let granted = match setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted) {
        Ok(()) => wanted,
        Err(_) => hard,
    };
    setrlimit(Resource::RLIMIT_NOFILE, granted, granted)
        .map_err(Failure::of("have as many descriptors as there may be"))?;
    Ok(idle::affordable(granted))
}
