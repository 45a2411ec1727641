//! Memory of a sandbox's processes, as /proc tells it: what they wrote for themselves, what they share, and the tables
//! of their address spaces. What belongs to a file of a disk can be had back and doesn't count.

use std::collections::{HashMap, HashSet};
use std::fs;

/// How often the memory of a sandbox that was parked is looked at for one reading, of which the least counts.
const LOOKS: u32 = 3;

/// What the processes of a sandbox have, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    /// All of them. A page that two processes have counts twice, so this errs towards the limit.
    pub all: u64,
    /// The largest of them, in which nothing counts twice.
    pub largest: u64,
}

/// What these processes have. In a sandbox that was parked, two of them may be seen before and after something was
/// mapped, and not be known for a pair.
pub fn of(processes: &HashSet<u32>, was_parked: bool) -> Memory {
    let looks = if was_parked { LOOKS } else { 1 };
    (0..looks).map(|_| look(processes, was_parked)).min().unwrap_or_default()
}

fn look(processes: &HashSet<u32>, was_parked: bool) -> Memory {
    add_up(processes.iter().filter_map(|pid| shown(*pid)), was_parked)
}

/// What a process shows. One whose first thread has ended shows nothing itself while others go on; each of those shows
/// what all of them have.
fn shown(pid: u32) -> Option<Shown> {
    let read = |path| Shown::read(&fs::read_to_string(path).ok()?);
    read(format!("/proc/{pid}/status")).or_else(|| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let mut paths = threads
            .filter_map(|thread| thread.path().join("status").into_os_string().into_string().ok());
        paths.find_map(read)
    })
}

/// What a process shows of its memory.
struct Shown {
    /// What belongs to no file of a disk, in bytes.
    own: u64,
    /// Sizes that two processes in one address space have alike, and that seldom change.
    layout: [u64; 5],
}

impl Shown {
    /// proc(5), status: sizes in KiB. A table maps 2 MiB and takes 4 KiB, also where all that it maps are pages that
    /// were only read and take nothing. What was swapped out is no less the process's own.
    fn read(text: &str) -> Option<Self> {
        let value = |name| {
            let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
            rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()
        };
        let parts = ["RssAnon:", "RssShmem:", "VmPTE:", "VmSwap:"];
        let own = parts.into_iter().map(value).sum::<Option<u64>>()? * 1024;
        let layout = ["VmSize:", "VmData:", "VmStk:", "VmExe:", "VmLib:"];
        Some(Self { own, layout: layout.map(|name| value(name).unwrap_or_default()) })
    }
}

/// The sum of them. In a sandbox that was parked, one process more is in the interpreter's address space and has
/// no memory of its own: there, two that show the same count once, of all such pairs the largest alone. Both are
/// read one after the other, so what they show may differ a little. A payload that takes that process over can
/// have one more address space for it that is laid out alike.
fn add_up(processes: impl Iterator<Item = Shown>, was_parked: bool) -> Memory {
    let (mut sum, mut twice, mut largest) = (0_u64, 0, 0);
    let mut seen: HashMap<[u64; 5], u64> = HashMap::new();
    for Shown { own, layout } in processes {
        sum = sum.saturating_add(own);
        largest = own.max(largest);
        if let Some(other) = seen.insert(layout, own)
            && own.abs_diff(other) <= own.max(other) / 8
        {
            twice = own.min(other).max(twice);
        }
    }
    Memory { all: if was_parked { sum.saturating_sub(twice) } else { sum }, largest }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test that panics is a test that fails")]
mod tests {
    use super::*;

    fn shown(size: u64, own: u64) -> Shown {
        let text = format!(
            "Name:\tpython3\nVmSize:\t{size} kB\nVmData:\t7 kB\nVmStk:\t1 kB\nVmExe:\t1 kB\nVmLib:\t1 kB\n\
             RssAnon:\t{own} kB\nRssShmem:\t0 kB\nVmPTE:\t0 kB\nVmSwap:\t0 kB\n"
        );
        Shown::read(&text).expect("all of its lines")
    }

    #[test]
    fn memory_that_two_processes_of_a_parked_sandbox_show_counts_once() {
        let of = |sizes: &[(u64, u64)], was_parked| {
            add_up(sizes.iter().map(|(size, own)| shown(*size, *own)), was_parked).all / 1024
        };
        let interpreter_and_init = [(900, 80), (900, 80), (20, 1)];
        assert_eq!(of(&interpreter_and_init, true), 81);
        assert_eq!(of(&interpreter_and_init, false), 161);
        assert_eq!(of(&[(900, 80), (900, 79)], true), 80, "one was read a little later");
        assert_eq!(of(&[(900, 80), (900, 20)], true), 100, "what differs is two");
        assert_eq!(of(&[(900, 80), (901, 80)], true), 160, "what is laid out otherwise is two");
        assert_eq!(of(&[(900, 80), (900, 80), (50, 8), (50, 8)], true), 96, "one pair and no more");
    }

    #[test]
    fn what_is_shared_swapped_out_or_maps_counts_as_what_was_written_and_the_largest_is_told() {
        let text = "RssAnon:\t1 kB\nRssFile:\t1000 kB\nRssShmem:\t20 kB\nVmPTE:\t300 kB\nVmSwap:\t4000 kB\n";
        let shown = || Shown::read(text).expect("all of its lines");
        assert_eq!(shown().own, 4321 * 1024);
        assert!(Shown::read("Name:\tended\n").is_none());
        let of = |count| add_up((0..count).map(|_| shown()), false);
        assert_eq!(of(3), Memory { all: 3 * 4321 * 1024, largest: 4321 * 1024 });
        assert_eq!(of(0), Memory::default());
    }
}
