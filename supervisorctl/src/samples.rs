//! What an execution used over time, as a table: `status --samples`.

use supervisor_api::{Sample, SampleList, show_size, show_time};

use crate::cli::GlobalOptions;
use crate::console;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};

/// Prints them, one a line.
pub fn show(list: &SampleList, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(list);
    }
    if list.samples.is_empty() {
        console::notice(
            "there is nothing to show: it ended before it was looked at, or does not run yet\n",
        );
        return Ok(());
    }
    let mut rows = table_of(&["AT", "CPU %", "MEMORY", "PROCESSES", "READ", "WRITTEN"]);
    let shares = cpu_shares(&list.samples);
    for (sample, share) in list.samples.iter().zip(shares) {
        let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
        let size = |bytes: Option<u64>| bytes.map_or_else(String::new, show_size);
        rows.add_row([
            cell(&show_time(sample.at_ms)),
            cell(&number(share)),
            cell(&size(sample.memory)),
            cell(&number(sample.pids)),
            cell(&size(sample.read)),
            cell(&size(sample.written)),
        ]);
    }
    console::print(&text(&rows))
}

/// CPU in use from the sample before to each one, in percent of one core.
pub fn cpu_shares(samples: &[Sample]) -> Vec<Option<u64>> {
    rates(samples, |sample| sample.cpu_us, |used, elapsed_ms| used / elapsed_ms / 10)
}

/// What was moved a second from the sample before to each one.
pub fn each_second(samples: &[Sample], of: fn(&Sample) -> Option<u64>) -> Vec<Option<u64>> {
    rates(samples, of, |moved, elapsed_ms| moved.saturating_mul(1000) / elapsed_ms)
}

/// From the payload's start on, at which nothing of this had been used.
fn rates(
    samples: &[Sample],
    of: fn(&Sample) -> Option<u64>,
    rate: fn(u64, u64) -> u64,
) -> Vec<Option<u64>> {
    let mut before = (0, 0);
    let each = samples.iter().map(|sample| {
        let so_far = of(sample)?;
        let elapsed = sample.at_ms.checked_sub(before.0).filter(|elapsed| *elapsed > 0)?;
        let used = so_far.saturating_sub(before.1);
        before = (sample.at_ms, so_far);
        Some(rate(used, elapsed))
    });
    each.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_since_the_sample_before() {
        let sample = |at_ms, cpu_us| Sample { at_ms, cpu_us, ..Sample::default() };
        let samples = [
            sample(1000, Some(500_000)),
            sample(1500, Some(1_500_000)),
            sample(1500, Some(1_500_000)),
            sample(2000, None),
            sample(2500, Some(1_600_000)),
        ];
        assert_eq!(cpu_shares(&samples), [Some(50), Some(200), None, None, Some(10)]);
        let read = |sample: &Sample| sample.cpu_us;
        assert_eq!(each_second(&samples, read)[0], Some(500_000));
    }
}
