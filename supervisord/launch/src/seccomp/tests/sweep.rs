//! Inputs that bring a filter to each of its instructions.

use crate::seccomp::machine::Data;
use crate::seccomp::tests::clauses;
use crate::seccomp::verdict::{Argument, Test};
use crate::seccomp::{Architecture, Profile, describe};

/// Where the ranges of numbers meet that the kernel treats differently.
const BORDERS: [u32; 14] = [
    0x3FFF_FFFF,
    0x4000_0000,
    0x4000_0001,
    0x4000_0029,
    0x4000_01FF,
    0x4000_0224,
    0x7FFF_FFFF,
    0x8000_0000,
    0x8000_0029,
    0xBFFF_FFFF,
    0xC000_0000,
    0xC000_0029,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
];

/// Architectures that one CPU or another can switch to, and numbers that aren't any.
const ARCHITECTURES: [u32; 8] = [
    0xC000_003E, // x86_64
    0x4000_0003, // i386
    0xC000_00B7, // aarch64
    0x4000_0028, // arm
    0x8000_00B7, // aarch64, big-endian
    0x0000_003E,
    0,
    u32::MAX,
];

const ARGUMENTS: [[u64; 6]; 4] = [[0; 6], [1; 6], [u64::MAX; 6], [0xFFFF_FFFF_FFFF_FF00; 6]];

/// Calls of every number worth trying, and of every argument that a test of the profile tells
/// apart from its neighbours.
pub fn inputs(profile: Profile, architecture: Architecture) -> Vec<Data> {
    let mut inputs = Vec::new();
    let native = architecture.audit_number();
    for number in (0..=600).chain(BORDERS) {
        let data = |architecture, arguments| Data { number, architecture, arguments };
        inputs.extend(ARGUMENTS.map(|arguments| data(native, arguments)));
        inputs.extend(ARCHITECTURES.map(|architecture| data(architecture, [0; 6])));
    }
    for entry in describe(profile) {
        let tests: Vec<Test> = clauses(entry.verdict).iter().copied().flatten().copied().collect();
        if let (Some(number), false) = (architecture.number(&entry.call), tests.is_empty()) {
            let all = combinations(&tests);
            inputs.extend(all.into_iter().map(|arguments| Data {
                number,
                architecture: native,
                arguments,
            }));
        }
    }
    inputs
}

/// Every combination of telling values for the arguments that the tests look at.
fn combinations(tests: &[Test]) -> Vec<[u64; 6]> {
    let mut all = vec![[0; 6]];
    for index in 0..6 {
        let mut values: Vec<u64> =
            tests.iter().filter(|test| tested(test).index == index).flat_map(telling).collect();
        values.sort_unstable();
        values.dedup();
        if values.is_empty() {
            continue;
        }
        let with = |arguments: &[u64; 6], value: u64| {
            let mut arguments = *arguments;
            arguments[usize::from(index)] = value;
            arguments
        };
        all = all
            .iter()
            .flat_map(|arguments| values.iter().map(move |value| with(arguments, *value)))
            .collect();
    }
    all
}

fn tested(test: &Test) -> Argument {
    match *test {
        Test::OneOf(argument, _)
        | Test::OneOfWithout(argument, _, _)
        | Test::NoneOfBits(argument, _)
        | Test::OnlyBits(argument, _)
        | Test::AllBits(argument, _) => argument,
    }
}

/// Values around those of a test, with and without the bits of its mask, and dirty ones.
fn telling(test: &Test) -> Vec<u64> {
    let around = |value: u32| [value.wrapping_sub(1), value, value.wrapping_add(1)].map(u64::from);
    let mut values: Vec<u64> = match *test {
        Test::OneOf(_, values) => values.iter().flat_map(|one| around(one.value)).collect(),
        Test::OneOfWithout(_, mask, values) => values
            .iter()
            .flat_map(|one| around(one.value).map(|value| [value, value | u64::from(mask.value)]))
            .flatten()
            .collect(),
        Test::NoneOfBits(_, mask) | Test::OnlyBits(_, mask) | Test::AllBits(_, mask) => {
            (0..32).map(|bit| 1 << bit).chain([0, mask.value, !mask.value]).map(u64::from).collect()
        }
    };
    if let Some(first) = values.get(1).copied() {
        values.extend([first | 1 << 32, first | 1 << 63]);
    }
    values
}
