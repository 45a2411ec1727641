//! What an execution uses over time: its cgroup is looked at every quarter of a second at first, and half as often
//! each time there are too many samples. They are kept beside its output, now and then while it runs and at its
//! end, so that a daemon that comes back goes on with them.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use supervisor_api::{ExecutionId, Sample, SampleList};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::accounting;
use crate::driver::pausing::{SharedClock, lock};
use crate::live::Live;
use crate::places::Places;
use crate::supervisor::Inner;

/// Samples of one execution. A plot has no more places, and a record of it stays under 32 KiB.
const MOST: usize = 240;

/// From one look to the next at first. With 64 sandboxes that is 256 looks a second, of four small files each.
const FIRST_INTERVAL_MS: u64 = 250;

/// Samples from one time that they are kept to the next: what a killed daemon loses of them.
const KEPT_EVERY: u32 = 16;

/// The samples of one execution.
#[derive(Debug)]
pub struct Series {
    list: SampleList,
    /// Whoever keeps them holds this, also where nobody waits for that any more.
    keeping: Arc<tokio::sync::Mutex<()>>,
}

impl Default for Series {
    fn default() -> Self {
        let list = SampleList { interval_ms: FIRST_INTERVAL_MS, samples: Vec::new() };
        Self { list, keeping: Arc::default() }
    }
}

impl Series {
    const fn list(&self) -> &SampleList {
        &self.list
    }

    fn add(&mut self, sample: Sample) {
        let SampleList { interval_ms, samples } = &mut self.list;
        if samples.len() >= MOST {
            *samples =
                samples.chunks(2).filter_map(|pair| pair.iter().copied().reduce(both)).collect();
            *interval_ms = interval_ms.saturating_mul(2);
        }
        samples.push(sample);
    }
}

/// One sample for two: what was counted by the later, and the more of what was in use.
fn both(earlier: Sample, later: Sample) -> Sample {
    Sample { memory: earlier.memory.max(later.memory), pids: earlier.pids.max(later.pids), ..later }
}

/// Looks at what a payload uses, for as long as it is attended. Nobody looks while it is paused.
pub async fn look(inner: &Inner, live: &Live, clock: &SharedClock) -> Infallible {
    let (mut since_kept, mut is_first) = (0, true);
    loop {
        sleep(interval(live)).await;
        if is_first {
            go_on(&inner.places, live).await;
            is_first = false;
        }
        if lock(clock).rests() {
            continue;
        }
        let Some(meter) = live.meter() else { continue };
        let looked = spawn_blocking(move || (accounting::in_use(&meter), accounting::disk(&meter)));
        let Ok((used, disk)) = looked.await else { continue }; // the runtime is shutting down
        with(live, |series| {
            series.add(Sample {
                at_ms: millis(lock(clock).ran()),
                cpu_us: used.cpu,
                memory: used.memory,
                pids: used.pids,
                read: disk.map(|disk| disk.read),
                written: disk.map(|disk| disk.written),
            });
        });
        since_kept += 1;
        if since_kept >= KEPT_EVERY {
            since_kept = 0;
            keep(&inner.places, live).await;
        }
    }
}

/// Adds what is known at the end, where there is anything to add it to, and keeps all of it.
pub async fn end(places: &Arc<Places>, live: &Live, ran: Duration, cpu_ms: u64) {
    let sampled = with(live, |series| {
        let last = series.list().samples.last().copied();
        if let Some(last) = last {
            let cpu_us = cpu_ms.saturating_mul(1000).max(last.cpu_us.unwrap_or_default());
            let Sample { read, written, .. } = last;
            let at_ms = millis(ran).max(last.at_ms);
            series.add(Sample { at_ms, cpu_us: Some(cpu_us), read, written, ..Sample::default() });
        }
        last.is_some()
    });
    if sampled {
        keep(places, live).await;
    }
}

/// What an earlier daemon kept of it.
async fn go_on(places: &Arc<Places>, live: &Live) {
    let (places, id) = (places.clone(), live.id());
    let found = spawn_blocking(move || kept(&places, id)).await;
    match found.map_err(io::Error::other).flatten() {
        Ok(Some(list)) => with(live, |series| series.list = list),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(%error, execution_id = %live.id(), "can't read its samples, and begins anew");
        }
    }
}

/// Not to be had is a plot with a gap, and no reason to end anything.
async fn keep(places: &Arc<Places>, live: &Live) {
    let one = with(live, |series| series.keeping.clone()).lock_owned().await;
    let (places, id, list) = (places.clone(), live.id(), so_far(live));
    let kept = spawn_blocking(move || {
        let result = places.keep_samples(id, &serde_json::to_vec(&list)?);
        drop(one); // written, so what is written next is later
        result
    });
    if let Err(error) = kept.await.map_err(io::Error::other).flatten() {
        tracing::warn!(%error, execution_id = %live.id(), "can't keep its samples");
    }
}

/// What was kept of it.
pub fn kept(places: &Places, id: ExecutionId) -> io::Result<Option<SampleList>> {
    let text = places.samples(id)?;
    Ok(text.map(|text| serde_json::from_slice(&text)).transpose()?)
}

fn interval(live: &Live) -> Duration {
    Duration::from_millis(with(live, |series| series.list().interval_ms.max(FIRST_INTERVAL_MS)))
}

/// What there is by now of one that lives.
pub fn so_far(live: &Live) -> SampleList {
    with(live, |series| series.list().clone())
}

/// Of one that nobody has looked at.
pub fn none() -> SampleList {
    Series::default().list
}

/// Nothing between two changes of a series panics, so a poisoned one is whole.
fn with<T>(live: &Live, act: impl FnOnce(&mut Series) -> T) -> T {
    act(&mut live.samples.lock().unwrap_or_else(PoisonError::into_inner))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_long_it_runs_the_samples_are_few_and_tell_its_peaks_and_sums() {
        let mut series = Series::default();
        for look in 0..100_000u64 {
            let memory = Some(if look == 777 { 9_999 } else { 10 });
            let cpu_us = Some(look * 5);
            series.add(Sample { at_ms: look * 250, cpu_us, memory, ..Sample::default() });
        }
        let SampleList { interval_ms, samples } = series.list();
        assert!((MOST / 2..=MOST).contains(&samples.len()), "{}", samples.len());
        assert_eq!(samples.iter().filter_map(|each| each.memory).max(), Some(9_999));
        assert_eq!(samples.last().and_then(|each| each.cpu_us), Some(99_999 * 5));
        assert!(samples.is_sorted_by(|one, next| one.at_ms < next.at_ms));
        assert!(interval_ms / FIRST_INTERVAL_MS >= 256, "{interval_ms}");
    }
}
