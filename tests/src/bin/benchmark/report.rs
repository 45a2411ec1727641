//! The tables for people.

use std::time::Duration;

use crate::contestant::{Program, Who};
use crate::latency::Latency;
use crate::memory::{Memory, SANDBOXES};
use crate::statistics::{milliseconds, quantile};
use crate::table::Table;
use crate::throughput::{IN_FLIGHT, Sustained, Throughput, rate};

/// The order of the rows.
const ROWS: [Who; 4] = [Who::Bare, Who::Bubblewrap, Who::Crun, Who::Ours];

/// Everything that was measured.
#[derive(Debug)]
pub struct Results {
    /// Who could not take part, and why.
    pub absent: Vec<(Who, String)>,
    /// One at a time.
    pub latency: Latency,
    /// Several in flight.
    pub throughput: Throughput,
    /// Ours, without a pause.
    pub sustained: Sustained,
    /// Idle.
    pub memory: Memory,
}

impl Results {
    /// A quantile of a program's times, in milliseconds.
    pub fn time(&self, program: Program, who: Who, part: f64) -> Option<f64> {
        quantile(self.latency.get(&(program, who))?, part)
    }

    /// Executions per second.
    pub fn rate(&self, in_flight: usize, who: Who) -> Option<f64> {
        rate(self.throughput.get(&(in_flight, who))?)
    }

    fn note(&self, who: Who) -> Option<&String> {
        self.absent.iter().find(|(absent, _)| *absent == who).map(|(_, why)| why)
    }
}

/// Prints the tables.
pub fn print(results: &Results) {
    for program in [Program::True, Program::Python] {
        times(results, program);
    }
    rates(results);
    sustained(results);
    memory(results);
}

fn times(results: &Results, program: Program) {
    let mut table = Table::default();
    table.row(["", "p50", "p99", "p50 x bwrap", "p99 x bwrap"].map(str::to_owned));
    for who in ROWS {
        if let Some(why) = results.note(who) {
            table.row([who.to_string(), why.clone()]);
            continue;
        }
        let of = |who, part| results.time(program, who, part);
        let against = |part| ratio(of(who, part), of(Who::Bubblewrap, part));
        table.row([
            who.to_string(),
            number(of(who, 0.5), 2),
            number(of(who, 0.99), 2),
            against(0.5),
            against(0.99),
        ]);
    }
    table.print(&format!("start to finish of {program}, one at a time, ms"));
}

fn rates(results: &Results) {
    let mut table = Table::default();
    let columns = IN_FLIGHT.map(|count| [format!("{count} in flight"), "x bwrap".to_owned()]);
    table.row([String::new()].into_iter().chain(columns.into_iter().flatten()));
    for who in ROWS {
        if let Some(why) = results.note(who) {
            table.row([who.to_string(), why.clone()]);
            continue;
        }
        let cells = IN_FLIGHT.map(|count| {
            let (own, peer) = (results.rate(count, who), results.rate(count, Who::Bubblewrap));
            [number(own, 0), ratio(own, peer)]
        });
        table.row([who.to_string()].into_iter().chain(cells.into_iter().flatten()));
    }
    table.print("executions of /bin/true per second");
}

fn sustained(results: &Results) {
    let mut table = Table::default();
    let Sustained { slices, used } = &results.sustained;
    let rates = slices.iter().map(|slice| number(rate(&[*slice]), 0));
    table.row([Who::Ours.to_string()].into_iter().chain(rates));
    let costs = slices.iter().zip(used);
    let costs = costs.map(|(slice, used)| number(Some(cost(*used, slice.finished)), 2));
    table.row(["ms of ours each".to_owned()].into_iter().chain(costs));
    let each = slices.first().map_or(0, |slice| slice.took.as_secs());
    table.print(&format!("the same with 8 in flight, slices of {each} s without a pause"));
}

fn memory(results: &Results) {
    let mut table = Table::default();
    let columns = ["", "its processes", "growth of ours", "together", "x bwrap", "payload"];
    table.row(columns.map(str::to_owned));
    let together = |who| results.memory.get(&who).map(|cost| cost.own + cost.growth);
    for who in ROWS {
        match (results.note(who), results.memory.get(&who)) {
            (Some(why), _) => table.row([who.to_string(), why.clone()]),
            (None, None) => table.row([who.to_string(), "not measured (needs root)".to_owned()]),
            (None, Some(cost)) => table.row([
                who.to_string(),
                number(Some(cost.own), 0),
                number(Some(cost.growth), 0),
                number(together(who), 0),
                ratio(together(who), together(Who::Bubblewrap)),
                number(Some(cost.payload), 0),
            ]),
        }
    }
    table.print(&format!("memory of one of {SANDBOXES} idle sandboxes (sleep 60), KiB PSS"));
}

/// Processor time of one of so many executions, in milliseconds.
pub fn cost(used: Duration, finished: u64) -> f64 {
    milliseconds(used) / finished as f64
}

/// A number with so many digits after the point; a dash where there is none.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

/// One number against another.
pub fn ratio(own: Option<f64>, peer: Option<f64>) -> String {
    number(own.zip(peer).map(|(own, peer)| own / peer), 2)
}
