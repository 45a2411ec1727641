//! Limits that no single kernel control holds. CPU time has none anywhere; memory and CPU share
//! have none where their controllers are missing, and there this is the weaker control that the
//! result names.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use supervisor_api::{Limit, Limits};
use supervisor_launch::{Applied, Descriptor, Storage};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::accounting::{cpu, memory as memory_of};
use crate::launcher::Sandbox;
use crate::workspace::usage;

/// How often is looked where the kernel holds memory and CPU share. A payload on four cores is
/// 400 ms of CPU time past its limit at the most.
const CALM: Duration = Duration::from_millis(100);

/// How often is looked where we are the only ones who do.
const ALERT: Duration = Duration::from_millis(20);

/// Looks that are all over the memory limit before it ends an execution, and how long they are apart: a tenth of a second
/// at the most. A child that was forked shows what its parent has once more until it has executed its program. That
/// takes a millisecond, and some ten where it has to wait for a processor.
const LOOKS: u32 = 50;
const APART: Duration = Duration::from_millis(1);
const MOST: Duration = Duration::from_millis(100);

/// CPU time in microseconds that a payload may be ahead of its share before it is held back.
const BURST: u64 = 20_000;

/// Looks at a running sandbox until it reaches a limit. Never returns otherwise; `seen` says how
/// much memory was in use at the most, where we had to look.
pub async fn watch(sandbox: &Sandbox, limits: &Limits, seen: &AtomicU64) -> Limit {
    let held = sandbox.applied.controllers;
    let memory = held & Applied::MEMORY == 0;
    let share = held & Applied::CPU == 0;
    let period = if memory || share { ALERT } else { CALM };
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    // What was used before the first look is owed to nobody: an adopted payload has paid for it, and
    // most are done by then.
    let mut since = None;
    loop {
        ticks.tick().await;
        if memory {
            let used = memory_in_use(sandbox, limits.memory_max).await;
            seen.fetch_max(used, Ordering::Relaxed);
            if used > limits.memory_max {
                return Limit::MemoryMax;
            }
        }
        let Some(used) = cpu(sandbox) else { continue };
        if used / 1000 >= limits.cpu_time {
            return Limit::CpuTime;
        }
        if share {
            let (start, before) = *since.get_or_insert((Instant::now(), used));
            hold_back(sandbox, start, used.saturating_sub(before), limits.cpu_max).await;
        }
    }
}

/// What is in use; where that is more than the limit, the least that is seen for a while. It is beyond doubt where one
/// process alone is over it, or all together are twice.
async fn memory_in_use(sandbox: &Sandbox, most: u64) -> u64 {
    let (mut least, until) = (u64::MAX, Instant::now() + MOST);
    for number in 0..LOOKS {
        if number > 0 && Instant::now() > until {
            break; // a look at hundreds of processes takes longer than they are apart
        }
        let (memory, files) = (memory_of(sandbox), in_workspace(sandbox));
        let all = memory.all.saturating_add(files);
        let is_over = memory.largest.saturating_add(files) > most || all / 2 > most;
        if all <= most || is_over {
            return all;
        }
        least = all.min(least);
        sleep(APART).await;
    }
    least
}

fn in_workspace(sandbox: &Sandbox) -> u64 {
    if sandbox.applied.workspace != Storage::Memory {
        return 0;
    }
    let workspace = sandbox.get(Descriptor::Workspace);
    workspace.and_then(|fd| usage(fd.as_fd()).ok()).map_or(0, |usage| usage.bytes)
}

/// Lets a sandbox run that a daemon which is no more may have frozen.
pub fn thaw(sandbox: &Sandbox) {
    let thawed = sandbox.get(Descriptor::Freeze).map(|freeze| nix::unistd::write(freeze, b"0"));
    if let Some(Err(error)) = thawed {
        tracing::error!(%error, "can't thaw a sandbox"); // its wall time ends it: the safe side
    }
}

/// Freezes a sandbox for as long as it is ahead of its share (cgroup-v2.rst, `cgroup.freeze`).
async fn hold_back(sandbox: &Sandbox, start: Instant, used: u64, percent: u64) {
    let Some(freeze) = sandbox.get(Descriptor::Freeze) else { return };
    let elapsed = start.elapsed().as_micros() as u64;
    let due = used.saturating_sub(BURST).saturating_mul(100) / percent.max(1);
    if due <= elapsed {
        return;
    }
    if nix::unistd::write(freeze, b"1").is_ok() {
        sleep(Duration::from_micros(due - elapsed)).await;
        thaw(sandbox);
    }
}
