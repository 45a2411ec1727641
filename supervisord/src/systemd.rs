//! What systemd hands in and what it wants to hear: listening sockets (sd_listen_fds(3)), readiness,
//! status and the watchdog (sd_notify(3)). Without systemd all of this is silence.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use sd_notify::NotifyState;
use supervisor_sys::take_inherited;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// The socket of the API, as its unit names it (`FileDescriptorName=`).
pub const API_SOCKET: &str = "api";

/// The socket of the metrics, where a unit has one.
pub const METRICS_SOCKET: &str = "metrics";

/// How long a start may take, and for how much of that it asks at a time.
const STARTING: Duration = Duration::from_secs(3600);
const MORE_TIME: Duration = Duration::from_secs(30);

/// How many signs of life there are within the time that the watchdog allows for one.
const SIGNS: u32 = 3;

/// The listening sockets that were handed in, by name. To be called once, before anything else opens a
/// descriptor.
pub fn sockets() -> io::Result<BTreeMap<String, OwnedFd>> {
    let mut sockets = BTreeMap::new();
    for (number, name) in sd_notify::listen_fds_with_names()? {
        let socket = take_inherited(number)?;
        if sockets.insert(name.clone(), socket).is_some() {
            return Err(io::Error::other(format!("two sockets with the name {name:?}")));
        }
    }
    Ok(sockets)
}

/// Says that calls are served, and what there is to say about it (`systemctl status` shows it).
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Changes what `systemctl status` shows.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Says that a reload has begun; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "can't tell systemd the time of a reload"),
    }
}

/// Says that the daemon is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Asks for more time to start, again and again, for an hour at the most: what there is to take over may be much.
pub async fn more_time() -> Infallible {
    for _ in 0..STARTING.as_secs() / MORE_TIME.as_secs() {
        let twice = u32::try_from(2 * MORE_TIME.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::ExtendTimeoutUsec(twice)]);
        sleep(MORE_TIME).await;
    }
    std::future::pending().await
}

/// Gives signs of life for as long as the runtime gets round to it; for ever, if nobody watches.
pub async fn signs_of_life() -> Infallible {
    let Some(allowed) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = interval((allowed / SIGNS).max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd takes no notification");
    }
}
