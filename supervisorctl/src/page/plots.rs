//! Plots as inline SVG: lengths and places are numbers of ours, and colours are classes of the style.

use jiff::Timestamp;
use supervisor_api::{AuditRecord, Execution, Limit, Verdict, What};

use crate::units::{show_size, show_time};

use super::markup::Markup;

/// Width of a plot, in its own units.
pub const WIDTH: f64 = 720.0;

/// Width of the names beside the bars, and of the numbers.
const NAMES: f64 = 130.0;
const NUMBERS: f64 = 220.0;

/// Height of a bar with its distance to the next.
const ROW: f64 = 26.0;

/// What was used of what there was.
struct Share {
    name: &'static str,
    used: u64,
    limit: u64,
    show: fn(u64) -> String,
}

/// Bars: what was used of each limit, where that is known.
pub fn usage(page: &mut Markup, execution: &Execution) {
    let usage = &execution.usage;
    let limits = &execution.limits;
    let number: fn(u64) -> String = |count| count.to_string();
    let output = execution.output.stdout.kept.max(execution.output.stderr.kept);
    let shares: Vec<Share> = [
        ("wall time", Some(usage.wall_ms), Limit::WallTime, show_time as fn(u64) -> String),
        ("CPU time", Some(usage.cpu_ms), Limit::CpuTime, show_time),
        ("memory, peak", usage.memory_peak, Limit::MemoryMax, show_size),
        ("processes, peak", usage.pids_peak, Limit::PidsMax, number),
        ("workspace", usage.workspace_bytes, Limit::WorkspaceBytes, show_size),
        ("files in it", usage.workspace_inodes, Limit::WorkspaceInodes, number),
        ("output", Some(output), Limit::OutputBytes, show_size),
    ]
    .into_iter()
    .filter_map(|(name, used, limit, show)| {
        Some(Share { name, used: used?, limit: limits.get(limit), show })
    })
    .filter(|share| share.limit > 0)
    .collect();
    let height = ROW * count(shares.len());
    begin(page, height, "What was used of each limit");
    for (share, row) in shares.iter().zip(0u32..) {
        let top = ROW * f64::from(row);
        let most = WIDTH - NAMES - NUMBERS;
        let part = (float(share.used) / float(share.limit)).clamp(0.0, 1.0);
        label(page, 0.0, top + 17.0, share.name);
        bar(page, top, most, "track");
        bar(page, top, (most * part).max(2.0), if part > 0.9 { "full" } else { "bar" });
        let words = format!("{} of {}", (share.show)(share.used), (share.show)(share.limit));
        label(page, WIDTH - NUMBERS + 10.0, top + 17.0, &words);
    }
    page.close("svg");
}

/// When something was asked for on the way out, and whether it was let through.
pub fn traffic(page: &mut Markup, records: &[AuditRecord]) {
    let moments: Vec<(f64, &'static str)> = records
        .iter()
        .filter_map(|record| {
            let (What::Egress(traffic) | What::Dns(traffic)) = &record.event.what else {
                return None;
            };
            let moment = record.time.parse::<Timestamp>().ok()?;
            let class = match traffic.ruling.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
                Verdict::Ask => "ask",
            };
            Some((float(u64::try_from(moment.as_millisecond()).ok()?), class))
        })
        .collect();
    let Some((first, _)) = moments.first() else { return };
    let last = moments.iter().map(|(moment, _)| *moment).fold(*first, f64::max);
    let span = (last - first).max(1.0);
    begin(page, 60.0, "Requests out of the sandbox over time");
    for (moment, class) in &moments {
        let row = match *class {
            "allow" => 14.0,
            _ => 34.0,
        };
        let x = place(10.0 + (moment - first) / span * (WIDTH - 20.0));
        page.tag("circle", &[("cx", &x), ("cy", &place(row)), ("r", "4"), ("class", class)]);
        page.close("circle");
    }
    label(page, 0.0, 56.0, "first request");
    label(page, WIDTH - 170.0, 56.0, &format!("last, {} later", show_time(whole(span))));
    page.close("svg");
}

/// Begins a plot, which says in words what it shows.
pub fn begin(page: &mut Markup, height: f64, title: &str) {
    let frame = format!("0 0 {} {}", place(WIDTH), place(height));
    page.tag("svg", &[("viewBox", &frame), ("role", "img"), ("aria-label", title)]);
}

fn bar(page: &mut Markup, top: f64, width: f64, class: &'static str) {
    page.tag(
        "rect",
        &[
            ("x", &place(NAMES)),
            ("y", &place(top + 5.0)),
            ("width", &place(width)),
            ("height", "16"),
            ("rx", "3"),
            ("class", class),
        ],
    );
    page.close("rect");
}

/// Words that begin at a place.
pub fn label(page: &mut Markup, x: f64, y: f64, words: &str) {
    page.tag("text", &[("x", &place(x)), ("y", &place(y))]);
    page.text(words);
    page.close("text");
}

/// A place as markup has it.
pub fn place(number: f64) -> String {
    format!("{number:.1}")
}

/// A number as a length.
#[expect(clippy::cast_precision_loss, reason = "a plot is not exact")]
pub fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time between two")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[expect(clippy::cast_precision_loss, reason = "there are few rows")]
fn count(number: usize) -> f64 {
    number as f64
}
