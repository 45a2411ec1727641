//! The tables and the goals of warm starts.

use serde_json::{Value, json};

use super::{PARKED, Program, Results, Way};
use crate::goals::{Bound, Goal};
use crate::raw::samples;
use crate::report::{number, ratio};
use crate::statistics::quantile;
use crate::table::Table;

/// The rows of a table.
const ROWS: [(Way, &str); 2] = [(Way::Bare, "bare"), (Way::Warm, "supervisord, warm")];

/// Prints the tables.
pub fn print(results: &Results) {
    for program in Program::ALL {
        let mut table = Table::default();
        table.row(["", "p50", "p99", "bare's p50 / p50"].map(str::to_owned));
        if let Some(why) = results.absent.get(&program) {
            table.row(["not measured".to_owned(), why.clone()]);
        }
        for (way, name) in ROWS {
            let of = |way, part| time(results, program, way, part);
            table.row([
                name.to_owned(),
                number(of(way, 0.5), 2),
                number(of(way, 0.99), 2),
                ratio(of(Way::Bare, 0.5), of(way, 0.5)),
            ]);
        }
        table.print(&format!("start to finish of python3 -c '{}', ms", program.source()));
    }
    if results.cold > 0 {
        println!("{} submissions found nothing parked and are not counted", results.cold);
    }
    let mut table = Table::default();
    table.row(["", "its interpreter", "the rest"].map(str::to_owned));
    match &results.memory {
        Some(memory) => {
            let shown = |kib| number(Some(kib), 0);
            table.row(["supervisord".to_owned(), shown(memory.interpreter), shown(memory.rest)]);
        }
        None => table.row(["supervisord".to_owned(), "not measured (needs root)".to_owned()]),
    }
    table.print(&format!("memory of one of {PARKED} parked sandboxes, KiB PSS"));
}

/// The goals of warm starts.
pub fn goals(results: &Results) -> [Goal; 3] {
    let faster = |program| {
        let of = |way| time(results, program, way, 0.5);
        of(Way::Bare).zip(of(Way::Warm)).map(|(bare, warm)| bare / warm)
    };
    [
        Goal {
            words: "p50 of bare print(1) against a warm start's",
            value: faster(Program::Plain),
            bound: Bound::AtLeast(5.0),
        },
        Goal {
            words: "p50 of bare import numpy, pandas against a warm start's",
            value: faster(Program::Data),
            bound: Bound::AtLeast(100.0),
        },
        Goal {
            words: "MiB of a parked sandbox besides its interpreter",
            value: results.memory.map(|memory| memory.rest / 1024.0),
            bound: Bound::AtMost(1.0),
        },
    ]
}

/// Every sample.
pub fn raw(results: &Results) -> Value {
    let latency = results.samples.iter().map(|((program, way), times)| {
        json!({"program": program.source(), "way": format!("{way:?}"), "ms": samples(times)})
    });
    let memory = results
        .memory
        .map(|memory| json!({"interpreter": memory.interpreter, "rest": memory.rest}));
    json!({"latency": latency.collect::<Vec<_>>(), "cold": results.cold, "memory_kib": memory})
}

fn time(results: &Results, program: Program, way: Way, part: f64) -> Option<f64> {
    quantile(results.samples.get(&(program, way))?, part)
}
