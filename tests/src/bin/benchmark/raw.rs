//! Every number as JSON, for whoever wants to look at more than medians.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::environment::Environment;
use crate::failure::Failure;
use crate::report::Results;
use crate::statistics::milliseconds;
use crate::throughput::Slice;

/// Writes the file.
pub fn write(
    path: &Path,
    environment: &Environment,
    parts: impl IntoIterator<Item = (&'static str, Option<Value>)>,
) -> Result<(), Failure> {
    let mut document = json!({
        "environment": {
            "kernel": environment.kernel,
            "cores": environment.cores,
            "load": environment.load,
            "root": environment.is_root,
            "versions": environment.versions,
        },
    });
    if let Some(document) = document.as_object_mut() {
        let parts = parts.into_iter();
        document.extend(parts.map(|(name, part)| (name.to_owned(), part.unwrap_or_default())));
    }
    let text = format!("{document:#}\n");
    fs::write(path, text).map_err(Failure::of(format!("write {}", path.display())))
}

/// Those of executions.
pub fn executions(results: &Results) -> Value {
    let absent = results.absent.iter().map(|(who, why)| (who.to_string(), json!(why)));
    let latency: Vec<Value> = results
        .latency
        .iter()
        .map(|((program, who), samples)| {
            let (program, who) = (program.to_string(), who.to_string());
            json!({"program": program, "who": who, "ms": self::samples(samples)})
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

/// Samples in milliseconds.
pub fn samples(samples: &[Duration]) -> Vec<f64> {
    samples.iter().copied().map(milliseconds).collect()
}

fn raw(slices: &[Slice]) -> Vec<Value> {
    let each = slices.iter();
    each.map(|slice| json!({"finished": slice.finished, "seconds": slice.took.as_secs_f64()}))
        .collect()
}
