//! From a profile to the program that the kernel runs for each system call.
//!
//! The number of a call is found by a search over ranges of equal fate; tests of arguments come
//! behind, and equal ones are written once.

use crate::seccomp::assembler::{Assembler, Comparison, Label};
use crate::seccomp::search::{Range, partition, search, search_points};
use crate::seccomp::verdict::{Argument, Call, Clause, Constant, Test, Verdict};
use crate::seccomp::{Action, Profile, table};

/// The longest program that the kernel takes (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
/// Bytes of an argument, and of its lower half, which comes first on both architectures.
const ARGUMENT: u32 = 8;
const LOWER_HALF: u32 = 4;

/// The bit that marks calls of the x32 interface.
const X32: u32 = 0x4000_0000;
/// What a program calls whose headers lack a call, and what a tracer leaves in place of one. It
/// has the bit of x32, but the kernel knows it is no call.
const NO_CALL: u32 = u32::MAX;

/// One instruction, with the fields of `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to pass over when its comparison holds.
    pub jt: u8,
    /// Instructions to pass over when it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// The kernel's own interface of an architecture; those of its other word lengths are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// 64-bit x86.
    X86_64,
    /// 64-bit ARM, little-endian.
    Aarch64,
}

impl Architecture {
    /// That of this build.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// That of this build.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// The kernel's number for it (AUDIT_ARCH_*).
    pub const fn audit_number(self) -> u32 {
        match self {
            Architecture::X86_64 => 0xC000_003E,
            Architecture::Aarch64 => 0xC000_00B7,
        }
    }

    /// A call's number on it.
    pub(super) fn number(self, call: &Call) -> Option<u32> {
        match self {
            Architecture::X86_64 => call.x86_64,
            Architecture::Aarch64 => call.aarch64,
        }
        .map(u32::from)
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ends(Action),
    /// The first action if one of the clauses holds, else the second.
    Depends(&'static [Clause], Action, Action),
}

/// Where the program goes on for each fate; equal tests are written once.
#[derive(Debug, Default)]
struct Places(Vec<(Fate, Label)>);

impl Places {
    fn of(&mut self, assembler: &mut Assembler, fate: Fate) -> Label {
        if let Some((_, label)) = self.0.iter().find(|(known, _)| *known == fate) {
            return *label;
        }
        let label = match fate {
            Fate::Ends(action) => assembler.answer(action),
            Fate::Depends(clauses, holds, fails) => depends(assembler, clauses, holds, fails),
        };
        self.0.push((fate, label));
        label
    }
}

/// The program of a profile. It is at most [`MAX_INSTRUCTIONS`] long.
pub fn compile(profile: Profile, architecture: Architecture) -> Vec<Instruction> {
    let mut assembler = Assembler::default();
    let mut places = Places::default();
    let ranges: Vec<Range<Label>> = fates(profile, architecture)
        .into_iter()
        .map(|Range { first, last, to }| Range { first, last, to: places.of(&mut assembler, to) })
        .collect();
    let search = search(&mut assembler, &ranges);
    let numbered = match architecture {
        Architecture::X86_64 => refuse_x32(&mut assembler, profile, search),
        Architecture::Aarch64 => search,
    };
    let numbered = assembler.load(NUMBER, numbered);
    let stranger = assembler.answer(Action::Kill);
    let same = Comparison::Equal(architecture.audit_number());
    let start = assembler.branch(same, numbered, stranger);
    assembler.load(ARCHITECTURE, start);
    assembler.finish()
}

/// The whole space of numbers in ranges of equal fate.
fn fates(profile: Profile, architecture: Architecture) -> Vec<Range<Fate>> {
    let mut entries: Vec<(u32, Fate)> = table::describe(profile)
        .filter_map(|entry| Some((architecture.number(&entry.call)?, fate(entry.verdict))))
        .collect();
    entries.sort_unstable_by_key(|(number, _)| *number);
    partition(Fate::Ends(profile.otherwise()), entries.into_iter())
}

fn fate(verdict: Verdict) -> Fate {
    match verdict {
        Verdict::Allow => Fate::Ends(Action::Allow),
        Verdict::Deny(errno) => Fate::Ends(Action::Fail(errno)),
        Verdict::AllowIf(clauses, errno) => {
            Fate::Depends(clauses, Action::Allow, Action::Fail(errno))
        }
        Verdict::Ask => Fate::Ends(Action::Ask),
        Verdict::AskIf(clauses) => Fate::Depends(clauses, Action::Ask, Action::Allow),
    }
}

fn depends(assembler: &mut Assembler, clauses: &[Clause], holds: Action, fails: Action) -> Label {
    clauses.iter().rev().fold(assembler.answer(fails), |miss, clause| {
        let hit = assembler.answer(holds);
        clause.iter().rev().fold(hit, |hit, test| examine(assembler, test, hit, miss))
    })
}

/// Goes on at `hit` if a test holds and at `miss` if it doesn't.
fn examine(assembler: &mut Assembler, test: &Test, hit: Label, miss: Label) -> Label {
    match *test {
        Test::OneOf(argument, values) => {
            let found = find(assembler, values, hit, miss);
            assembler.load(lower(argument), found)
        }
        Test::OneOfWithout(argument, mask, values) => {
            let found = find(assembler, values, hit, miss);
            let kept = assembler.keep(!mask.value, found);
            assembler.load(lower(argument), kept)
        }
        Test::NoneOfBits(argument, mask) => {
            let none = assembler.branch(Comparison::AnyBit(mask.value), miss, hit);
            assembler.load(lower(argument), none)
        }
        Test::AllBits(argument, mask) => {
            let all = assembler.branch(Comparison::Equal(mask.value), hit, miss);
            let kept = assembler.keep(mask.value, all);
            assembler.load(lower(argument), kept)
        }
        Test::OnlyBits(argument, mask) => {
            let empty = assembler.branch(Comparison::Equal(0), hit, miss);
            let upper = assembler.load(upper(argument), empty);
            let only = assembler.branch(Comparison::AnyBit(!mask.value), miss, upper);
            assembler.load(lower(argument), only)
        }
    }
}

/// Goes on at `hit` if the loaded word is one of the values.
fn find(assembler: &mut Assembler, values: &[Constant], hit: Label, miss: Label) -> Label {
    let mut values: Vec<u32> = values.iter().map(|constant| constant.value).collect();
    values.sort_unstable();
    search_points(assembler, miss, values.into_iter().map(|value| (value, hit)))
}

/// Kills for numbers of the x32 interface.
fn refuse_x32(assembler: &mut Assembler, profile: Profile, search: Label) -> Label {
    let kill = assembler.answer(Action::Kill);
    let otherwise = assembler.answer(profile.otherwise());
    let marked = assembler.branch(Comparison::Equal(NO_CALL), otherwise, kill);
    assembler.branch(Comparison::AnyBit(X32), marked, search)
}

/// The offset of an argument's lower 32 bits.
fn lower(argument: Argument) -> u32 {
    ARGUMENTS + ARGUMENT * u32::from(argument.index)
}

/// The offset of an argument's upper 32 bits.
fn upper(argument: Argument) -> u32 {
    lower(argument) + LOWER_HALF
}
