//! The tables for people, and what goes into the file for others.

use std::time::Duration;

use serde_json::{Value, json};

use super::Results;
use super::door::{ROWS, Whose};
use super::idle::{Idle, SANDBOXES};
use super::load::{Load, Slice};
use crate::goals::{Bound, Goal};
use crate::report::{number, ratio};
use crate::statistics::{milliseconds, quantile};
use crate::table::Table;

/// Processor time of the proxy for each request or connection.
pub fn each(slices: &[Slice]) -> Option<Duration> {
    let used: Duration = slices.iter().map(|slice| slice.used).sum();
    let count = u32::try_from(slices.iter().map(|slice| slice.each.len()).sum::<usize>()).ok()?;
    used.checked_div(count)
}

impl Results {
    fn of(&self, load: Load, whose: Whose) -> &[Slice] {
        self.slices.get(&(load, whose)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Requests or connections a second.
    fn rate(&self, load: Load, whose: Whose) -> Option<f64> {
        let slices = self.of(load, whose);
        let count: usize = slices.iter().map(|slice| slice.each.len()).sum();
        let took: Duration = slices.iter().map(|slice| slice.took).sum();
        (count > 0).then(|| count as f64 / took.as_secs_f64())
    }

    /// Gigabytes a second.
    fn throughput(&self, whose: Whose) -> Option<f64> {
        let slices = self.of(Load::Bulk, whose);
        let bytes: u64 = slices.iter().map(|slice| slice.bytes).sum();
        let took: Duration = slices.iter().map(|slice| slice.took).sum();
        (bytes > 0).then(|| bytes as f64 / took.as_secs_f64() / 1e9)
    }

    /// Microseconds of the proxy for each request or connection.
    fn cost(&self, load: Load, whose: Whose) -> Option<f64> {
        each(self.of(load, whose))
            .filter(|_| whose != Whose::Direct)
            .map(|time| time.as_secs_f64() * 1e6)
    }

    /// A quantile of their times, in milliseconds.
    fn time(&self, load: Load, whose: Whose, part: f64) -> Option<f64> {
        let all: Vec<Duration> =
            self.of(load, whose).iter().flat_map(|slice| slice.each.iter().copied()).collect();
        quantile(&all, part)
    }

    /// Milliseconds that a proxy adds to going straight.
    fn added(&self, load: Load, whose: Whose, part: f64) -> Option<f64> {
        let straight = self.time(load, Whose::Direct, part)?;
        self.time(load, whose, part).map(|time| time - straight)
    }
}

/// Prints the tables.
pub fn print(results: &Results) {
    if let Some(why) = &results.nothing {
        println!("\nthe way out: {why}");
        return;
    }
    println!(
        "\nThe way out: nginx behind each proxy, answers of 1 KiB. supervisord has its policy, budgets \
         and audit log on, and is asked from within a sandbox; peers have no rules. tinyproxy \
         closes each connection after one answer."
    );
    for load in Load::ALL {
        one(results, load);
    }
    idle(results);
    if let Some((one, many)) = results.crowd {
        let shown = |time: Duration| number(Some(time.as_secs_f64() * 1e6), 1);
        println!(
            "\na plain request with one sandbox: {} µs of the proxy; with {SANDBOXES}: {} µs",
            shown(one),
            shown(many)
        );
    }
}

fn one(results: &Results, load: Load) {
    let mut table = Table::default();
    let is_alone = matches!(load, Load::PlainAlone | Load::InspectedAlone);
    let columns = match load {
        _ if is_alone => ["", "p50 ms", "p99 ms", "added p50", "added p99"],
        Load::Bulk => ["", "GB/s", "x direct", "CPU s per GB", "x squid"],
        _ => ["", "a second", "x squid", "CPU µs each", "x squid"],
    };
    table.row(columns.map(str::to_owned));
    for whose in ROWS {
        let name = whose.to_string();
        if let Some((_, why)) = results.absent.iter().find(|(absent, _)| *absent == whose) {
            table.row([name, why.clone()]);
            continue;
        }
        if let Some(why) = results.failed.get(&(load, whose)) {
            table.row([name, why.clone()]);
            continue;
        }
        if !load.is_for(whose) {
            table.row([name, "can't".to_owned()]);
            continue;
        }
        table.row(match load {
            _ if is_alone => [
                name,
                number(results.time(load, whose, 0.5), 3),
                number(results.time(load, whose, 0.99), 3),
                number(results.added(load, whose, 0.5), 3),
                number(results.added(load, whose, 0.99), 3),
            ],
            Load::Bulk => {
                let of_a_gigabyte =
                    |whose| Some(results.cost(load, whose)? / (64 << 20) as f64 * 1e3);
                [
                    name,
                    number(results.throughput(whose), 2),
                    ratio(results.throughput(whose), results.throughput(Whose::Direct)),
                    number(of_a_gigabyte(whose), 3),
                    ratio(of_a_gigabyte(whose), of_a_gigabyte(Whose::Squid)),
                ]
            }
            _ => [
                name,
                number(results.rate(load, whose), 0),
                ratio(results.rate(load, whose), results.rate(load, Whose::Squid)),
                number(results.cost(load, whose), 1),
                ratio(results.cost(load, whose), results.cost(load, Whose::Squid)),
            ],
        });
    }
    table.print(load.title());
}

fn idle(results: &Results) {
    let mut table = Table::default();
    table.row(["", "tunnels", "MiB", "KiB each"].map(str::to_owned));
    for whose in ROWS {
        let Some(idle) = results.idle.get(&whose) else { continue };
        table.row([
            whose.to_string(),
            idle.connections.to_string(),
            number(Some(idle.growth / 1024.0), 1),
            number(Some(idle.growth / idle.connections as f64), 1),
        ]);
    }
    table.print("tunnels in which nothing happens, growth of the proxy's processes (PSS)");
}

/// What was set as a goal.
pub fn goals(results: &Results) -> Vec<Goal> {
    let cost = |load, peer| {
        let (own, peer) = (results.cost(load, Whose::Ours)?, results.cost(load, peer)?);
        Some(own / peer)
    };
    let rate = |load, peer| Some(results.rate(load, Whose::Ours)? / results.rate(load, peer)?);
    let goal = |words, value, bound| Goal { words, value, bound };
    let idle = |idle: &Idle| idle.growth / idle.connections as f64 * 10_000.0 / 1000.0 * 1.024;
    vec![
        goal(
            "CPU of a plain request against squid",
            cost(Load::Plain, Whose::Squid),
            Bound::AtMost(0.6),
        ),
        goal(
            "CPU of a tunnelled TLS handshake against tinyproxy",
            cost(Load::Handshake, Whose::Tinyproxy),
            Bound::AtMost(1.0),
        ),
        goal(
            "CPU of an inspected request against squid",
            cost(Load::Inspected, Whose::Squid),
            Bound::AtMost(0.6),
        ),
        goal(
            "inspected requests a second against mitmproxy",
            rate(Load::Inspected, Whose::Mitmproxy),
            Bound::AtLeast(15.0),
        ),
        goal(
            "CPU of an inspected request on a new connection against squid",
            cost(Load::InspectedNew, Whose::Squid),
            Bound::AtMost(0.3),
        ),
        goal(
            "throughput of a tunnel against going straight",
            rate(Load::Bulk, Whose::Direct),
            Bound::AtLeast(0.8),
        ),
        goal(
            "MB for idle tunnels, as many as 10,000,",
            results.idle.get(&Whose::Ours).map(idle),
            Bound::AtMost(200.0),
        ),
        goal(
            "CPU of a plain request with 40 sandboxes against one",
            results.crowd.map(|(one, many)| many.as_secs_f64() / one.as_secs_f64()),
            Bound::AtMost(1.1),
        ),
    ]
}

/// Every number, without the time of each request.
pub fn raw(results: &Results) -> Value {
    let slices = results.slices.iter().flat_map(|((load, whose), slices)| {
        slices.iter().map(move |slice| {
            json!({
                "load": load.title(),
                "who": whose.to_string(),
                "count": slice.each.len(),
                "bytes": slice.bytes,
                "seconds": slice.took.as_secs_f64(),
                "cpu_seconds": slice.used.as_secs_f64(),
                "p50_ms": quantile(&slice.each, 0.5),
                "p99_ms": quantile(&slice.each, 0.99),
            })
        })
    });
    let idle = results.idle.iter().map(|(whose, idle)| {
        json!({"who": whose.to_string(), "tunnels": idle.connections, "growth_kib": idle.growth})
    });
    let absent = results.absent.iter();
    json!({
        "nothing": results.nothing,
        "absent": absent.map(|(whose, why)| json!([whose.to_string(), why])).collect::<Vec<_>>(),
        "slices": slices.collect::<Vec<_>>(),
        "idle": idle.collect::<Vec<_>>(),
        "one_and_many_ms": results.crowd.map(|(one, many)| [milliseconds(one), milliseconds(many)]),
    })
}
