//! What a sandbox used over time: what its commands and code contexts used in each second, together.

use std::collections::BTreeMap;

use hyper::{StatusCode, Uri};
use jiff::Timestamp;
use serde_json::{Value, json};
use supervisor_api::{Execution, SampleList, Session};

use crate::client::Page;
use crate::samples::cpu_shares;

use super::answer::{Refusal, Reply, json as answer_json};
use super::endpoint::Endpoint;
use super::request::query;

/// Commands and code contexts that are looked at: the newest.
const EXECUTIONS: usize = 50;

/// Executions on a page of the list.
const PAGE: u16 = 200;

/// What was in use in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    /// CPU in percent of one core.
    cpu: u64,
    /// Memory in bytes.
    memory: u64,
}

/// Answers a request for metrics.
pub async fn answer(endpoint: &Endpoint, session: &Session, uri: &Uri) -> Result<Reply, Refusal> {
    let asked = query(uri);
    let moment = |name: &str| asked.get(name).map(|text| text.parse::<i64>()).transpose();
    let [start, end] = [moment("start"), moment("end")]
        .map(|moment| moment.map_err(|_| Refusal::invalid("start and end are seconds since 1970")));
    let (start, end) = (start?.unwrap_or(i64::MIN), end?.unwrap_or(i64::MAX));
    let (mut seconds, mut memory, mut cpu) = (BTreeMap::new(), 0, 100);
    for execution in executions(endpoint, session).await? {
        let list = endpoint.client.samples(execution.id).await?;
        memory = memory.max(execution.limits.memory_max);
        cpu = cpu.max(execution.limits.cpu_max);
        for (second, used) in each_second(&execution, &list) {
            let sum: &mut Used = seconds.entry(second).or_default();
            sum.cpu = sum.cpu.saturating_add(used.cpu);
            sum.memory = sum.memory.saturating_add(used.memory);
        }
    }
    let disk = session.usage.map_or(0, |usage| usage.workspace_bytes);
    let cores = cpu.div_ceil(100);
    let told: Vec<Value> = seconds
        .range(start..=end.max(start))
        .filter_map(|(second, used)| {
            Some(json!({
                "timestamp": Timestamp::from_second(*second).ok()?.to_string(),
                "timestampUnix": second,
                "cpuCount": cores,
                "cpuUsedPct": used.cpu / cores,
                "memUsed": used.memory,
                "memTotal": memory,
                "memCache": 0,
                "diskUsed": disk,
                "diskTotal": session.workspace_bytes,
            }))
        })
        .collect();
    Ok(answer_json(StatusCode::OK, &told))
}

/// The newest of what ran or runs in a sandbox.
async fn executions(endpoint: &Endpoint, session: &Session) -> Result<Vec<Execution>, Refusal> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = Page { limit: PAGE, after, state: None, all: false };
        let list = endpoint.client.list(page).await?;
        found.extend(list.executions.into_iter().filter(|each| each.session == session.id));
        after = list.next;
        if after.is_none() || found.len() >= EXECUTIONS {
            found.truncate(EXECUTIONS);
            return Ok(found);
        }
    }
}

/// What one of them used in each second of which there is a sample. The last of two counts, and a sample that is
/// about CPU time alone is the end of it.
fn each_second(execution: &Execution, list: &SampleList) -> BTreeMap<i64, Used> {
    let start: Option<Timestamp> =
        execution.started_at.as_deref().and_then(|time| time.parse().ok());
    let Some(start) = start else { return BTreeMap::new() };
    let samples = list.samples.iter().zip(cpu_shares(&list.samples));
    let seconds = samples.filter_map(|(sample, share)| {
        let at = i64::try_from(sample.at_ms).ok()?.saturating_add(start.as_millisecond());
        let used = Used { cpu: share.unwrap_or_default(), memory: sample.memory? };
        Some((at.div_euclid(1000), used))
    });
    seconds.collect()
}
