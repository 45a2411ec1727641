//! What runs just now and what it uses, for whoever may see it. One reading serves everybody who asks
//! within a fifth of a second, so that asking often costs no more than asking.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use supervisor_api::{State, TopLine};
use supervisor_launch::Descriptor;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use crate::accounting;
use crate::launcher::Sandbox;
use crate::live::Live;
use crate::supervisor::Inner;

/// How old a reading may be.
const FRESH: Duration = Duration::from_millis(200);

/// Characters of a command line that are shown.
const COMMAND: usize = 120;

/// What is read to tell what a sandbox uses: copies of its driver's descriptors, for as long as it lives.
#[derive(Debug)]
pub struct Meter {
    /// Its cgroup, where it has one.
    pub cgroup: Option<OwnedFd>,
    /// Its init.
    pub process: Option<OwnedFd>,
    /// CPU time that is not its execution's.
    pub spent: u64,
    /// Whether it was parked ahead.
    pub was_parked: bool,
}

impl Meter {
    /// A meter for this sandbox.
    pub fn new(sandbox: &Sandbox) -> Self {
        // One that can't be had for want of descriptors is a line with fewer numbers.
        let copy = |place| sandbox.get(place).and_then(|fd| fd.try_clone().ok());
        Self {
            cgroup: copy(Descriptor::Cgroup),
            process: copy(Descriptor::Process),
            spent: sandbox.spent,
            was_parked: sandbox.was_parked,
        }
    }
}

/// The last reading.
#[derive(Debug, Default)]
pub struct Readings {
    last: Mutex<Option<(Instant, Arc<[TopLine]>)>>,
}

impl Readings {
    /// Everything that has its turn, read not long ago.
    ///
    /// # Errors
    ///
    /// When the daemon is being stopped.
    pub async fn now(&self, inner: &Arc<Inner>) -> Result<Arc<[TopLine]>, JoinError> {
        let mut last = self.last.lock().await;
        if let Some((when, lines)) = &*last
            && when.elapsed() < FRESH
        {
            return Ok(lines.clone());
        }
        let (inner, all) = (inner.clone(), inner.live.all());
        let read = move || all.iter().filter_map(|each| line(each, &inner)).collect();
        let lines: Arc<[TopLine]> = spawn_blocking(read).await?;
        *last = Some((Instant::now(), lines.clone()));
        Ok(lines)
    }
}

/// One line; nothing for what waits or has finished.
fn line(live: &Live, inner: &Inner) -> Option<TopLine> {
    let execution = live.snapshot();
    if matches!(execution.state, State::Queued | State::Finished) {
        return None;
    }
    let now = live.meter().map(|meter| accounting::now(&meter)).unwrap_or_default();
    let output = execution.output;
    Some(TopLine {
        id: execution.id,
        session: execution.session,
        owner_uid: execution.owner_uid,
        policy: execution.policy.name,
        state: execution.state,
        started_at: execution.started_at,
        read_at_us: inner.start.elapsed().as_micros() as u64,
        cpu_us: now.cpu,
        memory: now.memory,
        memory_max: execution.limits.memory_max,
        pids: now.pids,
        pressure: now.pressure,
        output_bytes: [output.stdout, output.stderr].iter().map(|each| each.kept + each.cut).sum(),
        egress: inner.gauges.of(execution.id),
        command: execution.argv.join(" ").chars().take(COMMAND).collect(),
    })
}
