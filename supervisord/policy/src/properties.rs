//! What holds for every text, however hostile.

use proptest::prelude::*;

use crate::control::Control;
use crate::diagnostic::is_deceptive;
use crate::floor::Floor;
use crate::limit::{Limit, Limits, LimitsAsked, PerLimit};
use crate::profile::SyscallProfile;
use crate::resolved::Resolved;
use crate::set::PolicySet;

const BASE: &str = include_str!("../../../policies/default.toml");
const FLOOR: &str = include_str!("../../../policies/floor.toml");

/// Bytes that diagnostics may take for a few hundred bytes of hostile text.
const MAX_REPORT: usize = 200_000;

/// Pieces from which text is made that is nearly a policy.
const PIECES: &[&str] = &[
    "name = ",
    "\"x\"",
    "extends = ",
    "\"default\"",
    "\n",
    "[limits]",
    "[limits.max]",
    "memory_max",
    " = ",
    "\"512 MiB\"",
    "0",
    "-1",
    "9223372036854775807",
    "1e400",
    "nan",
    "1979-05-27",
    "true",
    "[[expect]]",
    "submit",
    "{",
    "}",
    "verdict",
    "\"refused\"",
    "limit",
    "[",
    "]",
    ",",
    ".",
    "'''",
    "\"\"\"",
    "#",
    "\\u0000",
    "\u{1b}",
    "\u{202e}",
    "é",
    "\t",
    "[requires]",
    "controls",
    "\"seccomp\"",
    "[environment]",
    "\"A=B\"",
    "[filesystem]",
    "exec",
    "workspace",
    "root",
    "pseudo_terminals",
    "\"writable\"",
    "\"disk\"",
    "[syscalls]",
    "profile",
    "\u{feff}",
    "\r\n",
];

fn load_both(text: &str) {
    let floor = Floor::builtin().unwrap();
    let files = [("default.toml", BASE), ("x.toml", text)];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let errors = [PolicySet::load(files, floor).err(), Floor::load("floor.toml", text).err()];
    for error in errors.into_iter().flatten() {
        let shown = error.to_string();
        assert!(!shown.is_empty() && shown.len() < MAX_REPORT);
        assert!(shown.chars().all(|c| c == '\n' || !is_deceptive(c)), "{shown:?}");
    }
}

/// The least that a limit can be, written once more.
fn least(limit: Limit) -> u64 {
    match limit.name() {
        "memory_max" => 1024 * 1024,
        "open_files" => 16,
        name if name.starts_with("io_") => 0,
        _ => 1,
    }
}

/// A value that the limit can have, with small and large ones alike.
fn value(limit: Limit) -> impl Strategy<Value = u64> {
    let least = least(limit);
    (0u32..63, any::<u64>())
        .prop_map(move |(shift, bits)| (bits >> shift).clamp(least, limit.ceiling()))
}

fn limits() -> impl Strategy<Value = Limits> {
    let values: Vec<_> = Limit::ALL.iter().map(|limit| value(*limit)).collect();
    values.prop_map(|values| {
        let mut values = values.into_iter();
        PerLimit::from_fn(|_| values.next().unwrap())
    })
}

fn asked() -> impl Strategy<Value = LimitsAsked> {
    let values: Vec<_> = Limit::ALL
        .iter()
        .map(|limit| prop::option::weighted(0.2, prop_oneof![Just(0), value(*limit), any::<u64>()]))
        .collect();
    values.prop_map(|values| {
        let mut values = values.into_iter();
        PerLimit::from_fn(|_| values.next().unwrap())
    })
}

fn section(name: &str, limits: &Limits) -> String {
    let each = Limit::ALL.iter().map(|limit| {
        let text = limit.unit().show(limits.get(*limit));
        // Without a unit there is nothing to quote, and quoting does no harm.
        format!("{limit} = \"{text}\"\n")
    });
    format!("[{name}]\n{}", each.collect::<String>())
}

fn policy(defaults: &Limits, maximum: &Limits, profile: SyscallProfile, exec: bool) -> String {
    let variables = "A = \"\\u001b\\\"\\\\\\n\\u202E\"\n\"b c\" = \"\\ufeff\"\n";
    format!(
        "name = \"x\"\n{}{}[filesystem]\nimage = \"default\"\nexec = {exec}\n\
         [environment]\n{variables}[syscalls]\nprofile = \"{profile}\"\n",
        section("limits", defaults),
        section("limits.max", maximum),
    )
}

/// The larger of two, per limit, where zero may be no limit.
fn larger(one: &Limits, other: &Limits) -> Limits {
    PerLimit::from_fn(|limit| {
        let (one, other) = (one.get(limit), other.get(limit));
        if limit.exceeds(one, other) { one } else { other }
    })
}

fn load(text: &str, floor: Floor) -> Result<Resolved, TestCaseError> {
    let set = PolicySet::load([("x.toml".to_owned(), text.to_owned())], floor);
    let set = set.map_err(|wrong| TestCaseError::fail(wrong.to_string()))?;
    Ok(Resolved::clone(set.resolve("x").unwrap()))
}

/// Whether a value lets through no more than a bound, written without the crate's own comparison.
fn within(limit: Limit, value: u64, bound: u64) -> bool {
    let unlimited = limit.name().starts_with("io_");
    match (value, bound) {
        (_, 0) if unlimited => true,
        (0, _) if unlimited => false,
        (value, bound) => value <= bound,
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_loading(text in any::<String>()) {
        load_both(&text);
    }

    #[test]
    fn no_bytes_break_the_loading(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        load_both(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_nearly_right_text_breaks_the_loading(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..60),
    ) {
        load_both(&format!("name = \"x\"\n{}", pieces.concat()));
        load_both(&pieces.concat());
    }

    #[test]
    fn no_damage_to_a_good_file_breaks_the_loading(
        of_floor in any::<bool>(),
        at in any::<prop::sample::Index>(),
        length in 0usize..40,
        put in prop::collection::vec(prop::sample::select(PIECES), 0..4),
    ) {
        let good = if of_floor { FLOOR } else { BASE };
        let mut characters: Vec<char> = good.chars().collect();
        let start = at.index(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, put.concat().chars());
        load_both(&characters.into_iter().collect::<String>());
    }

    #[test]
    fn depth_and_repetition_break_nothing(
        piece in prop::sample::select(PIECES),
        other in prop::sample::select(PIECES),
        count in 1usize..4_000,
    ) {
        load_both(&format!("{piece}{other}").repeat(count));
    }

    #[test]
    fn a_resolved_policy_never_exceeds_the_floor(
        (defaults, maximum, bounds) in (limits(), limits(), limits()),
        profile in prop::sample::select(SyscallProfile::ALL),
        (exec, floor_exec) in any::<(bool, bool)>(),
        control in prop::sample::select(Control::ALL),
    ) {
        let floor = format!(
            "name = \"floor\"\n{}[filesystem]\nexec = {floor_exec}\n\
             [requires]\ncontrols = [\"{control}\"]\n",
            section("limits.max", &bounds),
        );
        let floor = Floor::load("floor.toml", &floor).unwrap();
        let text = policy(&defaults, &larger(&defaults, &maximum), profile, exec)
            + "[requires]\ncontrols = []\n";
        let resolved = load(&text, floor)?;
        for limit in Limit::ALL {
            let bound = bounds.get(*limit);
            prop_assert!(within(*limit, resolved.defaults().get(*limit), bound), "{}", limit);
            prop_assert!(within(*limit, resolved.maximum().get(*limit), bound), "{}", limit);
            let (default, most) = (resolved.defaults().get(*limit), resolved.maximum().get(*limit));
            prop_assert!(within(*limit, default, most), "{}", limit);
        }
        prop_assert_eq!(resolved.exec(), exec && floor_exec);
        prop_assert_eq!(resolved.requires.keys().copied().collect::<Vec<_>>(), [control]);
    }

    #[test]
    fn a_refused_limit_is_above_the_maximum_and_an_accepted_one_is_not(
        (defaults, maximum, asked) in (limits(), limits(), asked()),
    ) {
        let text = policy(&defaults, &larger(&defaults, &maximum), SyscallProfile::Default, true);
        let resolved = load(&text, Floor::builtin().unwrap())?;
        let maximum = resolved.maximum();
        match resolved.limits(&asked) {
            Ok(limits) => for limit in Limit::ALL {
                let expected = asked.get(*limit).unwrap_or(resolved.defaults().get(*limit));
                prop_assert_eq!(limits.get(*limit), expected);
                prop_assert!(within(*limit, expected, maximum.get(*limit)));
                prop_assert!(expected >= least(*limit));
            },
            Err(refusal) => {
                prop_assert_eq!(asked.get(refusal.limit), Some(refusal.asked));
                prop_assert_eq!(maximum.get(refusal.limit), refusal.maximum);
                let above = !within(refusal.limit, refusal.asked, refusal.maximum);
                prop_assert!(above || refusal.asked < least(refusal.limit));
                prop_assert!(!refusal.to_string().is_empty() && !refusal.remedy.is_empty());
            }
        }
    }

    #[test]
    fn the_text_forms_of_a_policy_load_as_the_same_policy(
        (defaults, maximum) in (limits(), limits()),
        profile in prop::sample::select(SyscallProfile::ALL),
        exec in any::<bool>(),
    ) {
        let text = policy(&defaults, &larger(&defaults, &maximum), profile, exec);
        let resolved = load(&text, Floor::builtin().unwrap())?;
        for form in [resolved.show_resolved(), resolved.canonical()] {
            let again = load(&form, Floor::builtin().unwrap())?;
            prop_assert_eq!(again.canonical(), resolved.canonical());
            prop_assert!(form.chars().all(|c| c == '\n' || !is_deceptive(c)));
        }
    }
}
