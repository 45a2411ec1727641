//! The programs against the tables.

use std::collections::HashSet;

use proptest::collection::btree_map;
use proptest::prelude::*;

use crate::seccomp::assembler::{Assembler, Comparison, Label, answer_value};
use crate::seccomp::machine::{Data, run};
use crate::seccomp::tests::{ARCHITECTURES, PROFILES, judge, sweep};
use crate::seccomp::verdict::Verdict;
use crate::seccomp::{
    Action, Architecture, Errno, Instruction, Profile, compile, describe, program, search,
};

/// Instructions of a program and the most that a call goes through whose arguments don't matter,
/// on x86_64. The module's documentation says the same.
const SIZES: [(Profile, usize, usize); 4] = [
    (Profile::Default, 381, 15),
    (Profile::NoNetwork, 354, 15),
    (Profile::UnixSockets, 393, 15),
    (Profile::Init, 45, 13),
];

#[test]
fn a_program_says_what_the_tables_say() {
    for profile in PROFILES {
        for architecture in ARCHITECTURES {
            let program = compile(profile, architecture);
            for data in sweep::inputs(profile, architecture) {
                let told = answer_value(judge(profile, architecture, &data));
                let answer = run(&program, &data).answer;
                assert_eq!(answer, told, "{profile:?} {architecture:?} {data:x?}");
            }
        }
    }
}

#[test]
fn every_instruction_of_a_program_is_of_use() {
    for profile in PROFILES {
        for architecture in ARCHITECTURES {
            let program = compile(profile, architecture);
            let reached: HashSet<usize> = sweep::inputs(profile, architecture)
                .iter()
                .flat_map(|data| run(&program, data).path)
                .collect();
            let idle: Vec<_> = (0..program.len()).filter(|at| !reached.contains(at)).collect();
            assert!(idle.is_empty(), "{profile:?} {architecture:?} never reaches {idle:?}");
        }
    }
}

#[test]
fn a_program_is_short_and_a_search_in_it_shallow() {
    for (profile, instructions, depth) in SIZES {
        let program = compile(profile, Architecture::X86_64);
        let deepest = (0..600).filter_map(|number| plain_depth(&program, number)).max();
        assert_eq!((program.len(), deepest), (instructions, Some(depth)), "{profile:?}");
        assert!(program.len() <= program::MAX_INSTRUCTIONS);
    }
}

/// How many instructions decide a call, unless an argument is among what they look at.
fn plain_depth(program: &[Instruction], number: u32) -> Option<usize> {
    let architecture = Architecture::X86_64.audit_number();
    let path = run(program, &Data { number, architecture, arguments: [0; 6] }).path;
    let looks_at_arguments =
        path.iter().any(|at| program[*at].code == 0x20 && program[*at].k >= 16);
    (!looks_at_arguments).then_some(path.len())
}

#[test]
fn the_documentation_gives_the_sizes() {
    let text = include_str!("../../seccomp.rs");
    for (profile, instructions, depth) in SIZES {
        let wording = format!("{} {instructions} and {depth}", profile.name());
        assert!(text.contains(&wording), "{wording}");
    }
}

#[test]
fn a_load_goes_on_where_it_is_told_even_if_something_else_was_written_since() {
    let mut assembler = Assembler::default();
    let allow = assembler.answer(Action::Allow);
    assembler.answer(Action::Kill);
    assembler.load(0, allow);
    let data = Data { number: 0, architecture: 0, arguments: [0; 6] };
    assert_eq!(run(&assembler.finish(), &data).answer, answer_value(Action::Allow));
}

/// Any number, but mostly those of calls whose arguments matter.
fn number() -> impl Strategy<Value = u32> {
    let tested: Vec<u32> = describe(Profile::Default)
        .chain(describe(Profile::Init))
        .filter(|entry| matches!(entry.verdict, Verdict::AllowIf(..)))
        .filter_map(|entry| Architecture::X86_64.number(&entry.call))
        .collect();
    prop_oneof![8 => proptest::sample::select(tested), 2 => 0..600_u32, 1 => any::<u32>()]
}

fn argument() -> impl Strategy<Value = u64> {
    let small = prop_oneof![0..70_u64, (0..32_u32).prop_map(|bit| 1 << bit), 0x5400..0x5460_u64];
    prop_oneof![
        small.clone(),
        (small, any::<u32>()).prop_map(|(low, high)| low | u64::from(high) << 32),
        any::<u64>()
    ]
}

proptest! {
    #[test]
    fn any_call_gets_the_verdict_of_the_tables(
        number in number(),
        arguments in proptest::array::uniform6(argument()),
    ) {
        let architecture = Architecture::X86_64;
        let data = Data { number, architecture: architecture.audit_number(), arguments };
        for profile in PROFILES {
            let told = answer_value(judge(profile, architecture, &data));
            prop_assert_eq!(run(&compile(profile, architecture), &data).answer, told);
        }
    }

    #[test]
    fn the_upper_half_of_a_payloads_argument_decides_nothing(
        number in number(),
        arguments in proptest::array::uniform6(argument()),
        upper in proptest::array::uniform6(any::<u32>()),
    ) {
        let architecture = Architecture::X86_64.audit_number();
        let mut dirty = arguments.map(|argument| argument & 0xFFFF_FFFF);
        let clean = Data { number, architecture, arguments: dirty };
        for (argument, upper) in dirty.iter_mut().zip(upper) {
            *argument |= u64::from(upper) << 32;
        }
        let dirty = Data { number, architecture, arguments: dirty };
        // The kernel takes all of a pointer.
        prop_assume!(i64::from(number) != libc::SYS_prlimit64);
        for profile in Profile::PAYLOAD {
            let program = compile(profile, Architecture::X86_64);
            prop_assert_eq!(run(&program, &clean).answer, run(&program, &dirty).answer);
        }
    }

    #[test]
    fn jumps_reach_as_far_as_they_must(
        blocks in 2..400_usize,
        points in btree_map(0..2_000_u32, any::<prop::sample::Index>(), 1..600),
        asked in proptest::collection::vec(0..2_100_u32, 100),
    ) {
        let mut assembler = Assembler::default();
        let blocks: Vec<Label> = (0..blocks).map(|block| numbered(&mut assembler, block)).collect();
        let nowhere = assembler.answer(Action::Kill);
        let place = |index: &prop::sample::Index| index.index(blocks.len());
        let search = search::search_points(
            &mut assembler,
            nowhere,
            points.iter().map(|(point, index)| (*point, blocks[place(index)])),
        );
        assembler.load(0, search);
        let program = assembler.finish();
        for number in asked {
            let told = match points.get(&number) {
                None => answer_value(Action::Kill),
                Some(index) if place(index) % 2 == 0 => answer_value(Action::Allow),
                Some(_) => answer_value(Action::Fail(Errno::EPERM)),
            };
            let argument = points.get(&number).map_or(0, |index| place(index) as u64);
            let data = Data { number, architecture: 0, arguments: [argument; 6] };
            prop_assert_eq!(run(&program, &data).answer, told);
        }
    }
}

/// A block that only its own number gets through: to one answer if it is even, to another if odd.
fn numbered(assembler: &mut Assembler, block: usize) -> Label {
    let action = if block.is_multiple_of(2) { Action::Allow } else { Action::Fail(Errno::EPERM) };
    let through = assembler.answer(action);
    let astray = assembler.answer(Action::Fail(Errno::EINVAL));
    let same = assembler.branch(Comparison::Equal(block as u32), through, astray);
    assembler.load(16, same)
}
