//! What the tables say, what the programs do, and that the two are the same.

mod attacks;
mod numbers;
mod oracle;
mod programs;
mod sweep;
mod values;

use std::collections::HashSet;

use crate::seccomp::machine::Data;
use crate::seccomp::verdict::{Clause, Test, Verdict};
use crate::seccomp::{Action, Architecture, Errno, Profile, describe, table};

const PROFILES: [Profile; 11] = [
    Profile::Init,
    Profile::Launcher,
    Profile::Daemon,
    Profile::Unpack,
    Profile::Default,
    Profile::NoNetwork,
    Profile::UnixSockets,
    Profile::Unseen,
    Profile::Unbound,
    Profile::NoExec,
    Profile::Counted,
];
const ARCHITECTURES: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];

/// What the tables say of a call, by walking through them.
fn judge(profile: Profile, architecture: Architecture, data: &Data) -> Action {
    if data.architecture != architecture.audit_number() {
        return Action::Kill;
    }
    if architecture == Architecture::X86_64 && data.number & (1 << 30) != 0 {
        let no_call = data.number == u32::MAX;
        return if no_call { profile.otherwise() } else { Action::Kill };
    }
    let named =
        |entry: &crate::seccomp::Entry| architecture.number(&entry.call) == Some(data.number);
    match describe(profile).find(named).map(|entry| entry.verdict) {
        None => profile.otherwise(),
        Some(Verdict::Allow) => Action::Allow,
        Some(Verdict::Deny(errno)) => Action::Fail(errno),
        Some(Verdict::AllowIf(clauses, errno)) => {
            let holds = clauses.iter().any(|clause| clause.iter().all(|test| passes(test, data)));
            if holds { Action::Allow } else { Action::Fail(errno) }
        }
        Some(Verdict::Ask) => Action::Ask,
        Some(Verdict::AskIf(clauses)) => {
            let holds = clauses.iter().any(|clause| clause.iter().all(|test| passes(test, data)));
            if holds { Action::Ask } else { Action::Allow }
        }
    }
}

fn passes(test: &Test, data: &Data) -> bool {
    let wide = |argument: crate::seccomp::Argument| data.arguments[usize::from(argument.index)];
    let low = |argument| wide(argument) as u32;
    match *test {
        Test::OneOf(argument, values) => values.iter().any(|one| one.value == low(argument)),
        Test::OneOfWithout(argument, mask, values) => {
            values.iter().any(|one| one.value == low(argument) & !mask.value)
        }
        Test::NoneOfBits(argument, mask) => low(argument) & mask.value == 0,
        Test::AllBits(argument, mask) => low(argument) & mask.value == mask.value,
        Test::OnlyBits(argument, mask) => wide(argument) & !u64::from(mask.value) == 0,
    }
}

/// What is tested, any of which decides; none where the call alone does.
fn clauses(verdict: Verdict) -> &'static [Clause] {
    match verdict {
        Verdict::AllowIf(clauses, _) | Verdict::AskIf(clauses) => clauses,
        Verdict::Allow | Verdict::Deny(_) | Verdict::Ask => &[],
    }
}

/// The clauses of every conditional entry of every profile.
fn every_clause() -> impl Iterator<Item = Clause> {
    PROFILES.into_iter().flat_map(describe).flat_map(|entry| clauses(entry.verdict)).copied()
}

#[test]
fn no_call_and_no_number_stands_twice_in_a_profile() {
    for profile in PROFILES {
        let names: Vec<_> = describe(profile).map(|entry| entry.call.name).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len(), "{profile:?}");
        for architecture in ARCHITECTURES {
            let numbers: Vec<_> =
                describe(profile).filter_map(|entry| architecture.number(&entry.call)).collect();
            assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), numbers.len(), "{profile:?}");
        }
    }
}

#[test]
fn no_entry_is_dead() {
    let base: Vec<_> = describe(Profile::Default).collect();
    for profile in [Profile::NoNetwork, Profile::UnixSockets] {
        for own in table::entries(table::layers(profile).0) {
            let replaced = base.iter().find(|entry| entry.call == own.call).unwrap();
            assert_ne!(replaced.verdict, own.verdict, "{profile:?} repeats {}", own.call.name);
        }
    }
    for entry in describe(Profile::Init) {
        assert!(base.iter().any(|other| other.call == entry.call), "{}", entry.call.name);
        assert!(!matches!(entry.verdict, Verdict::Deny(_)), "{}", entry.call.name);
    }
    for clause in every_clause() {
        assert!(!clause.is_empty(), "a clause that always holds");
    }
}

#[test]
fn every_entry_has_a_reason_and_a_wording() {
    for profile in PROFILES {
        for entry in describe(profile) {
            assert!(entry.reason.len() >= 8, "{}", entry.call.name);
            assert!(!entry.reason.contains("  ") && !entry.reason.ends_with('.'));
            assert!(!entry.verdict.to_string().is_empty());
        }
    }
}

#[test]
fn the_published_wording_names_what_is_tested() {
    let wording = |profile, name| {
        describe(profile).find(|entry| entry.call.name == name).unwrap().verdict.to_string()
    };
    assert_eq!(wording(Profile::Default, "read"), "allow");
    assert_eq!(wording(Profile::Default, "mount"), "EPERM");
    assert_eq!(wording(Profile::Default, "clone3"), "ENOSYS");
    assert_eq!(
        wording(Profile::Default, "socketpair"),
        "allow if (family = AF_UNIX and type without SOCK_NONBLOCK|SOCK_CLOEXEC = \
         SOCK_STREAM|SOCK_SEQPACKET and protocol = 0); else EPERM"
    );
    assert_eq!(
        wording(Profile::Default, "clone"),
        "allow if (flags has none of CLONE_NEW*|CLONE_FILES) or (flags has none of CLONE_NEW* \
         and flags has CLONE_THREAD); else EPERM"
    );
    assert_eq!(
        wording(Profile::Counted, "fcntl"),
        "ask init if (cmd = F_SETLK|F_SETLKW); else allow"
    );
    assert_eq!(wording(Profile::Counted, "listen"), "ask init");
    assert_eq!(
        wording(Profile::Init, "mmap"),
        "allow if (prot has at most PROT_READ|PROT_WRITE and flags has MAP_ANONYMOUS); else EPERM"
    );
    assert_eq!(wording(Profile::NoNetwork, "socket"), "EPERM");
}

#[test]
fn a_number_is_refused_as_unknown_and_a_known_danger_as_forbidden() {
    assert_eq!(Profile::Default.otherwise(), Action::Fail(Errno::ENOSYS));
    assert_eq!(Profile::Init.otherwise(), Action::Kill);
}
