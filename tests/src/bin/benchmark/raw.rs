//! Every number as JSON, for whoever wants to look at more than medians.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::egress;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::report::Results;
use crate::statistics::milliseconds;
use crate::throughput::Slice;

/// Writes the file.
pub fn write(
    path: &Path,
    environment: &Environment,
    results: Option<&Results>,
    egress: Option<&egress::Results>,
) -> Result<(), Failure> {
    let document = json!({
        "environment": {
            "kernel": environment.kernel,
            "cores": environment.cores,
            "load": environment.load,
            "root": environment.is_root,
            "versions": environment.versions,
        },
        "executions": results.map(executions),
        "egress": egress.map(egress::report::raw),
    });
    let text = format!("{document:#}\n");
    fs::write(path, text).map_err(Failure::of(format!("write {}", path.display())))
}

fn executions(results: &Results) -> Value {
    let absent = results.absent.iter().map(|(who, why)| (who.to_string(), json!(why)));
    let latency: Vec<Value> = results
        .latency
        .iter()
        .map(|((program, who), samples)| {
            let samples: Vec<f64> = samples.iter().copied().map(milliseconds).collect();
            json!({"program": program.to_string(), "who": who.to_string(), "ms": samples})
        })
        .collect();
    let throughput: Vec<Value> = results
        .throughput
        .iter()
        .map(|((in_flight, who), slices)| {
            json!({"in_flight": in_flight, "who": who.to_string(), "slices": raw(slices)})
        })
        .collect();
    let memory = results.memory.iter().map(|(who, cost)| {
        let cost = json!({"own": cost.own, "growth": cost.growth, "payload": cost.payload});
        (who.to_string(), cost)
    });
    json!({
        "absent": absent.collect::<Map<_, _>>(),
        "latency": latency,
        "throughput": throughput,
        "sustained": raw(&results.sustained.slices),
        "sustained_cpu_seconds": results
            .sustained
            .used
            .iter()
            .map(Duration::as_secs_f64)
            .collect::<Vec<_>>(),
        "memory_kib": memory.collect::<Map<_, _>>(),
    })
}

fn raw(slices: &[Slice]) -> Vec<Value> {
    let each = slices.iter();
    each.map(|slice| json!({"finished": slice.finished, "seconds": slice.took.as_secs_f64()}))
        .collect()
}
