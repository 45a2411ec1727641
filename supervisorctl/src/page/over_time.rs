//! What was used over time, as plots: one below the other on the same time, each with its peak and its limit in words,
//! and all numbers as a table behind them.

use supervisor_api::{Execution, Limit, Sample, SampleList};

use crate::samples::{cpu_shares, each_second};
use crate::units::{show_size, show_time};

use super::markup::Markup;
use super::plots::{WIDTH, begin, float, label, place};

/// Where the area of a plot begins and ends, and where the words below it stand.
const TOP: f64 = 24.0;
const BOTTOM: f64 = 104.0;
const HEIGHT: f64 = 124.0;

/// One line of a plot: its class, and its numbers, one a sample.
type Line = (&'static str, Vec<Option<u64>>);

/// CPU, memory, processes and disks, as far as this host tells them.
pub fn usage(page: &mut Markup, execution: &Execution, list: &SampleList) {
    let samples = &list.samples;
    page.words("h3", "Resources over time");
    if samples.len() < 2 {
        let words = "It ended, or was looked at, before there was more than one moment to show.";
        return page.words("p", words);
    }
    let of = |limit| execution.limits.get(limit);
    let share = |percent: u64| format!("{}.{:02} cores", percent / 100, percent % 100);
    let count = |number: u64| number.to_string();
    let rate = |bytes: u64| format!("{}/s", show_size(bytes));
    let cpu = cpu_shares(samples);
    let words = format!("CPU, at most {} of {}", show(&cpu, share), share(of(Limit::CpuMax)));
    plot(page, samples, &words, &[("line", cpu)]);
    let memory: Vec<_> = samples.iter().map(|sample| sample.memory).collect();
    let most = show_size(of(Limit::MemoryMax));
    let words = format!("Memory, at most {} of {most}", show(&memory, show_size));
    plot(page, samples, &words, &[("line", memory)]);
    let pids: Vec<_> = samples.iter().map(|sample| sample.pids).collect();
    let words = format!("Processes, at most {} of {}", show(&pids, count), of(Limit::PidsMax));
    plot(page, samples, &words, &[("line", pids)]);
    let read = each_second(samples, |sample| sample.read);
    let written = each_second(samples, |sample| sample.written);
    if samples.iter().any(|sample| sample.read.is_some()) {
        let (most_read, most_written) = (show(&read, rate), show(&written, rate));
        let words =
            format!("Disks, read (line) at most {most_read}, written (dashes) {most_written}");
        plot(page, samples, &words, &[("line", read), ("other", written)]);
    } else {
        page.words("p", "This host does not tell what was read from disks and written to them.");
    }
    numbers(page, samples);
}

/// The most of these, in words.
fn show(numbers: &[Option<u64>], words: impl Fn(u64) -> String) -> String {
    numbers.iter().flatten().max().map_or_else(|| "(not known)".to_owned(), |most| words(*most))
}

/// One plot with a line or two, which says what it shows above them and to whoever can't see it.
fn plot(page: &mut Markup, samples: &[Sample], words: &str, lines: &[Line]) {
    let last = samples.last().map_or(1, |sample| sample.at_ms.max(1));
    let most = lines.iter().flat_map(|(_, numbers)| numbers.iter().flatten()).max();
    let most = float(most.copied().unwrap_or_default().max(1));
    begin(page, HEIGHT, &format!("{words}, over {}", show_time(last)));
    label(page, 0.0, 15.0, words);
    let axis = format!("M0 {} H{}", place(BOTTOM), place(WIDTH));
    page.tag("path", &[("d", &axis), ("class", "axis")]);
    page.close("path");
    for (class, numbers) in lines {
        // What is known first holds from the start, and what is known last until the end.
        let mut shape = String::new();
        let mut held = None;
        for (sample, number) in samples.iter().zip(numbers) {
            let Some(number) = number else { continue };
            let x = float(sample.at_ms) / float(last) * WIDTH;
            let y = place(BOTTOM - float(*number) / most * (BOTTOM - TOP));
            if shape.is_empty() {
                shape = format!("M0.0 {y}");
            }
            shape.push_str(&format!(" L{} {y}", place(x)));
            held = Some(y).filter(|_| sample.at_ms < last);
        }
        if let Some(y) = held {
            shape.push_str(&format!(" L{} {y}", place(WIDTH)));
        }
        page.tag("path", &[("d", &shape), ("class", class)]);
        page.close("path");
    }
    label(page, 0.0, HEIGHT - 4.0, "0");
    let (x, y) = (place(WIDTH), place(HEIGHT - 4.0));
    page.tag("text", &[("x", &x), ("y", &y), ("text-anchor", "end")]);
    page.text(&show_time(last));
    page.close("text");
    page.close("svg");
}

/// All that the plots show, for who wants the numbers.
fn numbers(page: &mut Markup, samples: &[Sample]) {
    let shares = cpu_shares(samples);
    let or_nothing = |words: Option<String>| words.unwrap_or_default();
    let rows: Vec<_> = samples
        .iter()
        .zip(shares)
        .map(|(sample, share)| {
            vec![
                show_time(sample.at_ms),
                or_nothing(share.map(|percent| percent.to_string())),
                or_nothing(sample.memory.map(show_size)),
                or_nothing(sample.pids.map(|count| count.to_string())),
                or_nothing(sample.read.map(show_size)),
                or_nothing(sample.written.map(show_size)),
            ]
        })
        .collect();
    page.raw("<details><summary>These numbers</summary>");
    page.table(&["after", "CPU %", "memory", "processes", "read", "written"], &rows);
    page.raw("</details>\n");
}
