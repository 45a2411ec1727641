//! The programs against those that another compiler makes of the same tables.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use crate::seccomp::assembler::answer_value;
use crate::seccomp::machine::run;
use crate::seccomp::tests::{ARCHITECTURES, PROFILES, sweep};
use crate::seccomp::verdict::{Argument, Clause, Test, Verdict};
use crate::seccomp::{Action, Architecture, Instruction, Profile, compile, describe};

#[test]
fn another_compiler_allows_the_same_calls() {
    let allow = answer_value(Action::Allow);
    // The launcher's is no allow-list, which is all that the other compiler's filter is built for.
    for profile in PROFILES.into_iter().filter(|each| each.otherwise() != Action::Allow) {
        for architecture in ARCHITECTURES {
            let ours = compile(profile, architecture);
            let theirs = theirs(profile, architecture);
            for data in sweep::inputs(profile, architecture) {
                let allowed = run(&theirs, &data).answer == allow;
                assert_eq!(run(&ours, &data).answer == allow, allowed, "{profile:?} {data:x?}");
            }
        }
    }
}

/// Their program allows what the tables allow and has one answer for all the rest, which is all
/// that their compiler can express.
fn theirs(profile: Profile, architecture: Architecture) -> Vec<Instruction> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for entry in describe(profile) {
        let Some(number) = architecture.number(&entry.call) else { continue };
        match entry.verdict {
            Verdict::Deny(_) | Verdict::Ask | Verdict::AskIf(_) => {}
            Verdict::Allow => drop(rules.insert(number.into(), Vec::new())),
            Verdict::AllowIf(clauses, _) => {
                let clauses = clauses.iter().copied().flat_map(rules_of);
                rules.insert(number.into(), clauses.collect());
            }
        }
    }
    let target = match architecture {
        Architecture::X86_64 => TargetArch::x86_64,
        Architecture::Aarch64 => TargetArch::aarch64,
    };
    let (mismatch, matched) = (SeccompAction::Errno(1), SeccompAction::Allow);
    let filter = SeccompFilter::new(rules, mismatch, matched, target).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    program
        .into_iter()
        .map(|theirs| Instruction { code: theirs.code, jt: theirs.jt, jf: theirs.jf, k: theirs.k })
        .collect()
}

/// A rule for each way to fulfil a clause.
fn rules_of(clause: Clause) -> Vec<SeccompRule> {
    let mut ways: Vec<Vec<SeccompCondition>> = vec![Vec::new()];
    for test in clause {
        let alternatives = alternatives(test);
        ways = ways
            .iter()
            .flat_map(|way| {
                alternatives.iter().map(|one| way.iter().chain([one]).cloned().collect())
            })
            .collect();
    }
    ways.into_iter().map(|way| SeccompRule::new(way).unwrap()).collect()
}

fn alternatives(test: &Test) -> Vec<SeccompCondition> {
    use SeccompCmpOp::{Eq, MaskedEq};
    let narrow = |argument: Argument, operator, value: u32| {
        let (index, length) = (argument.index, SeccompCmpArgLen::Dword);
        SeccompCondition::new(index, length, operator, value.into()).unwrap()
    };
    match *test {
        Test::OneOf(argument, values) => {
            values.iter().map(|one| narrow(argument, Eq, one.value)).collect()
        }
        Test::OneOfWithout(argument, mask, values) => {
            let operator = || MaskedEq(u64::from(!mask.value));
            values.iter().map(|one| narrow(argument, operator(), one.value)).collect()
        }
        Test::NoneOfBits(argument, mask) => {
            vec![narrow(argument, MaskedEq(mask.value.into()), 0)]
        }
        Test::AllBits(argument, mask) => {
            vec![narrow(argument, MaskedEq(mask.value.into()), mask.value)]
        }
        Test::OnlyBits(argument, mask) => {
            let (index, length) = (argument.index, SeccompCmpArgLen::Qword);
            let operator = MaskedEq(!u64::from(mask.value));
            vec![SeccompCondition::new(index, length, operator, 0).unwrap()]
        }
    }
}
