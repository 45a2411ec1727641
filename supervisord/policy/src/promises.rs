//! What policies promise, each in a sentence.

use crate::control::Control;
use crate::diagnostic::Diagnostics;
use crate::example::RefusalReason;
use crate::floor::Floor;
use crate::limit::{Limit, LimitsAsked};
use crate::place::WorkspacePlace;
use crate::profile::SyscallProfile;
use crate::resolved::Resolved;
use crate::set::{MAX_FILE_BYTES, MAX_FILES, PolicySet};

/// A policy that stands by itself, to be changed by the tests.
const BASE: &str = include_str!("../../../policies/default.toml");

fn load(files: &[(&str, &str)]) -> Result<PolicySet, Diagnostics> {
    let base = ("default.toml".to_owned(), BASE.to_owned());
    let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    PolicySet::load(std::iter::once(base).chain(files), Floor::builtin().unwrap())
}

fn child(text: &str) -> Resolved {
    let text = format!("name = \"child\"\nextends = \"default\"\n{text}");
    let set = load(&[("child.toml", &text)]).unwrap_or_else(|wrong| panic!("{wrong}"));
    Resolved::clone(set.resolve("child").unwrap())
}

fn refused(text: &str) -> String {
    let text = format!("name = \"child\"\nextends = \"default\"\n{text}");
    load(&[("child.toml", &text)]).unwrap_err().to_string()
}

fn asking(limit: Limit, value: u64) -> LimitsAsked {
    let mut asked = LimitsAsked::default();
    asked.set(limit, value);
    asked
}

#[test]
fn the_policies_of_the_program_load() {
    let set = PolicySet::builtin().unwrap_or_else(|wrong| panic!("{wrong}"));
    let names: Vec<_> = set.iter().map(|policy| policy.name().to_owned()).collect();
    let known = [
        "default",
        "forge-read",
        "git-fetch",
        "llm-api",
        "offline-analysis",
        "package-install",
        "quarantine",
        "rest-oauth",
        "untrusted-strict",
    ];
    assert_eq!(names, known);
    for policy in set.iter() {
        let expected = match policy.name() {
            "package-install" => 3,
            "quarantine" => 2, // about every host, and void: both are meant
            _ => 0,
        };
        let warnings = policy.warnings();
        assert_eq!(warnings.len(), expected, "{}: {warnings:?}", policy.name());
    }
    assert!(set.resolve("floor").is_none() && set.resolve("").is_none());
    assert_eq!(set.nearest("defualt"), Some("default"));
}

#[test]
fn the_strict_policy_has_the_limits_of_the_acceptance_tests() {
    let set = PolicySet::builtin().unwrap();
    let strict = set.resolve("untrusted-strict").unwrap();
    let limits = strict.defaults();
    assert_eq!(limits, strict.maximum());
    assert_eq!((limits.cpu_max, limits.memory_max, limits.pids_max), (50, 128 << 20, 64));
    assert_eq!((limits.workspace_bytes, limits.workspace_inodes), (64 << 20, 4096));
    assert_eq!((limits.open_files, limits.output_bytes, limits.wall_time), (256, 1 << 20, 10_000));
    assert!(!strict.exec());
    assert_eq!(strict.profile(), SyscallProfile::NoNetwork);
    let io = Control::IoMax;
    let all_but_io: Vec<_> = Control::ALL.iter().copied().filter(|known| *known != io).collect();
    assert_eq!(strict.required_controls(&limits), all_but_io);
}

#[test]
fn a_submission_that_asks_for_nothing_gets_the_defaults() {
    let policy = child("");
    assert_eq!(policy.limits(&LimitsAsked::default()), Ok(policy.defaults()));
}

#[test]
fn asking_for_more_than_the_maximum_is_refused_with_the_rule_and_the_remedy() {
    let policy = child("[limits.max]\nmemory_max = \"1 GiB\"\n");
    let refusal = policy.limits(&asking(Limit::MemoryMax, (1 << 30) + 1)).unwrap_err();
    assert_eq!((refusal.limit, refusal.maximum), (Limit::MemoryMax, 1 << 30));
    assert_eq!(refusal.reason, RefusalReason::AboveMaximum);
    assert_eq!(refusal.rule, "limits.max of policy child (child.toml:4)");
    let remedy = "Ask for 1 GiB at the most, or have memory_max raised in policy child.";
    assert_eq!(refusal.remedy, remedy);
    assert_eq!(policy.limits(&asking(Limit::MemoryMax, 1 << 30)).unwrap().memory_max, 1 << 30);
}

#[test]
fn zero_is_refused_except_where_it_means_no_limit() {
    let policy = child("");
    let refusal = policy.limits(&asking(Limit::WallTime, 0)).unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::Zero);
    assert_eq!(policy.limits(&asking(Limit::IoReadBps, 0)).unwrap().io_read_bps, 0);
    let bound = "io_read_bps = \"10 MiB/s\"\n";
    let bounded = child(&format!("[limits]\n{bound}[limits.max]\n{bound}"));
    let refusal = bounded.limits(&asking(Limit::IoReadBps, 0)).unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::AboveMaximum);
    assert!(refusal.to_string().contains("no limit is above the maximum of 10 MiB/s"), "{refusal}");
}

#[test]
fn what_nothing_runs_under_is_refused_with_the_least_that_something_does() {
    let policy = child("");
    let refusal = policy.limits(&asking(Limit::OpenFiles, 15)).unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::BelowLeast);
    let said = "open_files: 15 is below 16, the least that anything runs under";
    assert_eq!(refusal.to_string(), said);
    assert_eq!(refusal.remedy, "Ask for 16 at the least, or leave open_files out to get 1024.");
    assert_eq!(policy.limits(&asking(Limit::OpenFiles, 16)).unwrap().open_files, 16);
    for (text, least) in [
        ("[limits]\nopen_files = 15\n", "open_files can be 16 at the least"),
        ("[limits.max]\nmemory_max = \"64 KiB\"\n", "memory_max can be 1 MiB at the least"),
    ] {
        let wrong = refused(text);
        assert!(wrong.contains("nothing can run under so little"), "{wrong}");
        assert!(wrong.contains("child.toml:4") && wrong.contains(least), "{wrong}");
    }
    let floor = Floor::load("floor.toml", "name = \"floor\"\n[limits.max]\nopen_files = 1\n");
    assert!(floor.unwrap_err().to_string().contains("open_files can be 16 at the least"));
    let wrong = refused("[[expect]]\nsubmit = { open_files = 1 }\nverdict = \"accepted\"\n");
    assert!(wrong.contains("1 is below the least, 16"), "{wrong}");
}

#[test]
fn a_child_replaces_values_and_keeps_the_rest() {
    let text = "[limits]\npids_max = 200\n[limits.max]\npids_max = 300\n\
                [environment]\nA = \"1\"\n[filesystem]\nimage = \"other\"\n";
    let policy = child(text);
    assert_eq!((policy.defaults().pids_max, policy.maximum().pids_max), (200, 300));
    assert_eq!(policy.defaults().memory_max, 512 << 20);
    assert_eq!(policy.image(), "other:latest");
    assert!(policy.images().is_empty());
    let choice = child("[filesystem]\nimages = [\"node:22\", \"default\", \"node:22\"]\n");
    assert_eq!(
        (choice.image(), choice.images()),
        ("default", &["default", "node:22"].map(String::from)[..])
    );
    assert!(choice.canonical().contains("filesystem.images = [\"default\", \"node:22\"]"));
    assert_eq!(policy.environment().collect::<Vec<_>>(), [("A", "1")]);
    assert_eq!(policy.description(), "");
}

#[test]
fn a_maximum_that_is_left_out_everywhere_is_the_default_value() {
    let base = BASE.replace("[limits.max]\nmemory_max = \"4 GiB\"\n", "[limits.max]\n");
    let (head, examples) = base.split_once("[[expect]]").unwrap();
    assert!(!examples.is_empty());
    let text = head.replace("name = \"default\"", "name = \"alone\"");
    let set = load(&[("alone.toml", &text)]).unwrap();
    let policy = set.resolve("alone").unwrap();
    let refusal = policy.limits(&asking(Limit::MemoryMax, (512 << 20) + 1)).unwrap_err();
    assert_eq!(refusal.maximum, 512 << 20);
    assert!(refusal.rule.starts_with("limits of policy alone (alone.toml:"), "{}", refusal.rule);
}

#[test]
fn a_child_cannot_undo_a_restriction_of_its_parent() {
    let strict = "name = \"strict\"\nextends = \"default\"\n\
                  [filesystem]\nexec = false\n[syscalls]\nprofile = \"no-network\"\n";
    let loose = "name = \"loose\"\nextends = \"strict\"\n\
                 [filesystem]\nexec = true\n[syscalls]\nprofile = \"default\"\n";
    let wrong = load(&[("strict.toml", strict), ("loose.toml", loose)]).unwrap_err().to_string();
    assert!(wrong.contains("loose.toml:4:8"), "{wrong}");
    assert!(wrong.contains("execution is forbidden by policy strict (strict.toml:4)"), "{wrong}");
    assert!(wrong.contains("`default` allows more than `no-network`"), "{wrong}");
}

#[test]
fn required_controls_add_up() {
    let policy = child("[requires]\ncontrols = [\"landlock_network\"]\n");
    let required = policy.required_controls(&policy.defaults());
    assert!(required.contains(&Control::LandlockNetwork));
    assert!(required.contains(&Control::WorkspaceDisk));
    assert!(!required.contains(&Control::LandlockScopes));
    assert!(!required.contains(&Control::IoMax), "nothing limits block I/O");
    let mut limits = policy.defaults();
    limits.set(Limit::IoWriteBps, 1);
    assert!(policy.required_controls(&limits).contains(&Control::IoMax));
}

#[test]
fn the_floor_bounds_every_policy_and_says_so() {
    let text = "name = \"floor\"\n[limits.max]\nmemory_max = \"256 MiB\"\nio_write_iops = 50\n\
                [filesystem]\nexec = false\n[requires]\ncontrols = [\"landlock_scopes\"]\n";
    let floor = Floor::load("floor.toml", text).unwrap();
    let (head, _) = BASE.split_once("[[expect]]").unwrap();
    let files = [("default.toml".to_owned(), head.to_owned())];
    let set = PolicySet::load(files, floor).unwrap();
    let policy = set.resolve("default").unwrap();
    assert_eq!((policy.defaults().memory_max, policy.maximum().memory_max), (256 << 20, 256 << 20));
    assert_eq!((policy.defaults().io_write_iops, policy.maximum().io_write_iops), (50, 50));
    assert!(!policy.exec());
    assert!(policy.required_controls(&policy.defaults()).contains(&Control::LandlockScopes));
    let refusal = policy.limits(&asking(Limit::MemoryMax, 1 << 30)).unwrap_err();
    assert_eq!(refusal.rule, "limits.max of the floor (floor.toml:3)");
    let shown = policy.show_resolved();
    let line = shown.lines().find(|line| line.starts_with("memory_max")).unwrap();
    assert!(line.contains("# from floor.toml:3, which bounds 512 MiB of default.toml:"), "{line}");
}

#[test]
fn a_workspace_is_in_memory_unless_the_policy_says_disk_and_the_floor_allows_it() {
    assert_eq!(child("").workspace(), WorkspacePlace::Memory);
    let (head, _) = BASE.split_once("[[expect]]").unwrap();
    let bare = head.replace("workspace = \"memory\"", "#");
    let policy = |text: &str, floor: &str| {
        let floor = Floor::load("floor.toml", &format!("name = \"floor\"\n{floor}")).unwrap();
        let files = [("default.toml".to_owned(), text.to_owned())];
        let set = PolicySet::load(files, floor);
        set.map(|set| set.resolve("default").unwrap().workspace())
            .map_err(|wrong| wrong.to_string())
    };
    assert_eq!(policy(&bare, ""), Ok(WorkspacePlace::Memory));
    let disk = head.replace("workspace = \"memory\"", "workspace = \"disk\"");
    assert_eq!(policy(&disk, ""), Ok(WorkspacePlace::Disk));
    let memory_only = "[filesystem]\nallowed_workspaces = [\"memory\"]\n";
    let wrong = policy(&disk, memory_only).unwrap_err();
    assert!(wrong.contains("the floor doesn't allow a workspace in `disk`"), "{wrong}");
    assert!(wrong.contains("floor.toml:3 allows: memory"), "{wrong}");
    let misspelt = refused("[filesystem]\nworkspace = \"dsk\"\n");
    assert!(misspelt.contains("did you mean `disk`?"), "{misspelt}");
}

#[test]
fn a_profile_that_the_floor_does_not_allow_does_not_load() {
    let text = "name = \"floor\"\n[syscalls]\nallowed_profiles = [\"no-network\"]\n";
    let floor = Floor::load("floor.toml", text).unwrap();
    let files = [("default.toml".to_owned(), BASE.to_owned())];
    let wrong = PolicySet::load(files, floor).unwrap_err().to_string();
    assert!(wrong.contains("the floor doesn't allow the system-call profile `default`"), "{wrong}");
    assert!(wrong.contains("floor.toml:3 allows: no-network"), "{wrong}");
}

#[test]
fn an_example_that_fails_keeps_the_file_from_loading() {
    for (example, says) in [
        ("submit = { pids_max = 1024 }\nverdict = \"refused\"\nlimit = \"pids_max\"", "accepted"),
        ("submit = { pids_max = 1025 }\nverdict = \"accepted\"", "refused for pids_max: 1025"),
        (
            "submit = { pids_max = 1025, memory_max = \"5 GiB\" }\n\
             verdict = \"refused\"\nlimit = \"pids_max\"",
            "refused for memory_max: 5 GiB is above the maximum, 4 GiB",
        ),
    ] {
        let wrong = refused(&format!("[[expect]]\n{example}\n"));
        assert!(
            wrong.contains(&format!("this example fails: the submission is {says}")),
            "{wrong}"
        );
        assert!(wrong.contains("child.toml:5:"), "{wrong}");
    }
}

#[test]
fn an_example_has_to_say_what_it_is_refused_for() {
    for (example, says) in [
        ("submit = {}\nverdict = \"refused\"", "the limit it is refused for is missing"),
        ("submit = {}\nverdict = \"accepted\"\nlimit = \"pids_max\"", "not refused"),
        ("submit = {}\nverdict = \"refuse\"", "did you mean `refused`?"),
        ("submit = {}\nverdict = \"refused\"\nlimit = \"pid_max\"", "did you mean `pids_max`?"),
        ("submit = { wall_time = 3 }\nverdict = \"accepted\"", "wall_time: the unit is missing"),
        ("verdict = \"accepted\"", "this example asks nothing"),
    ] {
        let wrong = refused(&format!("[[expect]]\n{example}\n"));
        assert!(wrong.contains(says), "{wrong}");
    }
}

#[test]
fn every_error_of_a_file_is_reported_at_once() {
    let text = "[limits]\nmemory_max = \"1 M\"\npids_max = 0\nwall_time = 60\n\
                [filesystem]\nimage = \"../x\"\n[environment]\n\"A=B\" = \"1\"\n\
                [syscalls]\nprofile = \"defualt\"\n[requires]\ncontrols = [\"sekkomp\"]\n";
    let wrong = refused(text);
    for place in ["4:14", "5:12", "6:13", "8:9", "10:1", "12:11", "14:13"] {
        assert!(wrong.contains(&format!("child.toml:{place}")), "{place}\n{wrong}");
    }
    assert!(wrong.contains("did you mean `default`?"), "{wrong}");
    assert!(wrong.contains("did you mean `seccomp`?"), "{wrong}");
}

#[test]
fn a_policy_without_a_parent_leaves_nothing_to_chance() {
    let wrong = load(&[("bare.toml", "name = \"bare\"\n")]).unwrap_err().to_string();
    for key in ["limits.memory_max", "limits.io_write_iops", "filesystem.exec", "syscalls.profile"]
    {
        assert!(wrong.contains(key), "{wrong}");
    }
}

#[test]
fn a_default_above_the_maximum_does_not_load() {
    let wrong = refused("[limits]\nmemory_max = \"5 GiB\"\n");
    assert!(wrong.contains("limits.memory_max is 5 GiB (child.toml:4)"), "{wrong}");
    assert!(wrong.contains("--> child.toml:4:14"), "{wrong}");
    let wrong = refused("[limits.max]\nmemory_max = \"1 MiB\"\n");
    assert!(wrong.contains("--> child.toml:4:14"), "{wrong}");
    let wrong = refused("[limits.max]\nio_read_bps = 5\n");
    assert!(wrong.contains("limits.io_read_bps is no limit"), "{wrong}");
}

#[test]
fn parents_have_to_exist_end_and_be_few() {
    let wrong = load(&[("a.toml", "name = \"a\"\nextends = \"defualt\"")]).unwrap_err().to_string();
    assert!(wrong.contains("did you mean `default`?"), "{wrong}");
    let circle =
        [("a.toml", "name = \"a\"\nextends = \"b\""), ("b.toml", "name = \"b\"\nextends = \"a\"")];
    let wrong = load(&circle).unwrap_err().to_string();
    assert!(wrong.contains("in a circle: a → b → a"), "{wrong}");
    let line = |count: usize| {
        let files: Vec<_> = (1..count)
            .map(|n| {
                let parent = if n == 1 { "default".to_owned() } else { format!("p{}", n - 1) };
                (format!("p{n}.toml"), format!("name = \"p{n}\"\nextends = \"{parent}\""))
            })
            .collect();
        let files: Vec<_> = files.iter().map(|(f, t)| (f.as_str(), t.as_str())).collect();
        load(&files)
    };
    assert!(line(9).is_ok());
    assert!(line(10).unwrap_err().to_string().contains("more than 8 parents"));
}

#[test]
fn a_policy_cannot_pose_as_another_or_as_the_floor() {
    for (file, text, says) in [
        ("a.toml", "name = \"default\"", "not its file's"),
        ("floor.toml", "name = \"floor\"", "the floor is not a policy"),
        ("dir/default.toml", BASE, "has another file already"),
        ("a.txt", "name = \"a\"", "called NAME.toml"),
        ("A.toml", "name = \"A\"", "called NAME.toml"),
        (".toml", "name = \"\"", "called NAME.toml"),
    ] {
        let wrong = load(&[(file, text)]).unwrap_err().to_string();
        assert!(wrong.contains(says), "{wrong}");
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_read() {
    let text = "[".repeat(MAX_FILE_BYTES + 1);
    assert!(load(&[("a.toml", &text)]).unwrap_err().to_string().contains("larger than 2 MiB"));
    let files = (0..=MAX_FILES)
        .map(|n| (format!("p{n}.toml"), format!("name = \"p{n}\"\nextends = \"p0\"")));
    let wrong = PolicySet::load(files, Floor::builtin().unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("more than 1000 policy files"), "{wrong}");
    let padding = "#".repeat(MAX_FILE_BYTES - 100);
    let files = (0..65).map(|n| (format!("p{n}.toml"), format!("name = \"p{n}\"\n{padding}")));
    let wrong = PolicySet::load(files, Floor::builtin().unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("over 16 MiB"), "{wrong}");
}

#[test]
fn the_canonical_text_changes_with_what_is_enforced_and_with_nothing_else() {
    let plain = child("").canonical();
    assert_eq!(child("description = \"x\"\n# a comment\n").canonical(), plain);
    assert_eq!(child("[limits]\nmemory_max = 536870912\n").canonical(), plain);
    for change in [
        "[limits]\nmemory_max = 536870911\n",
        "[limits.max]\nio_read_bps = 0\nwall_time = \"3599999 ms\"\n",
        "[filesystem]\nexec = false\n",
        "[filesystem]\nimage = \"x\"\n",
        "[filesystem]\nworkspace = \"disk\"\n",
        "[filesystem]\nimage = \"x\"\nroot = \"writable\"\n",
        "[filesystem]\npseudo_terminals = true\n",
        "[environment]\nA = \"1\"\n",
        "[syscalls]\nprofile = \"no-network\"\n",
        "[warm]\nstarts = false\n",
        "[warm]\nmodules = [\"numpy\"]\n",
        "[requires]\ncontrols = [\"landlock_scopes\"]\n",
    ] {
        assert_ne!(child(change).canonical(), plain, "{change}");
    }
}

#[test]
fn warm_starts_are_as_the_policy_says_and_a_child_can_only_refuse_them() {
    let plain = child("");
    assert!(plain.warm_starts() && plain.warm_modules().is_none());
    assert_eq!(child("[warm]\nstarts = true\n").canonical(), plain.canonical());
    let own = child("[warm]\nstarts = false\nmodules = [\"numpy\", \"pandas.io\"]\n");
    assert!(!own.warm_starts());
    assert_eq!(own.warm_modules().unwrap(), ["numpy", "pandas.io"]);
    assert!(own.show_resolved().contains("\nmodules = [\"numpy\", \"pandas.io\"] "));
    let firm = "name = \"firm\"\nextends = \"default\"\n[warm]\nstarts = false\n";
    let loose = "name = \"loose\"\nextends = \"firm\"\n[warm]\nstarts = true\n";
    let wrong = load(&[("firm.toml", firm), ("loose.toml", loose)]).unwrap_err().to_string();
    assert!(wrong.contains("warm starts are refused by"), "{wrong}");
    assert!(refused("[warm]\nmodules = [\"a b\"]\n").contains("not a module's name"));
}

#[test]
fn pseudo_terminals_are_there_where_a_policy_says_so_and_a_child_can_only_refuse_them() {
    let plain = child("");
    assert!(!plain.pseudo_terminals());
    let none = child("[filesystem]\npseudo_terminals = false\n");
    assert_eq!(none.canonical(), plain.canonical());
    let own = child("[filesystem]\npseudo_terminals = true\n");
    assert!(own.pseudo_terminals());
    let shown = own.show_resolved();
    assert!(shown.contains("\npseudo_terminals = true "), "{shown}");
    let firm = "name = \"firm\"\nextends = \"default\"\n[filesystem]\npseudo_terminals = false\n";
    let loose = "name = \"loose\"\nextends = \"firm\"\n[filesystem]\npseudo_terminals = true\n";
    let wrong = load(&[("firm.toml", firm), ("loose.toml", loose)]).unwrap_err().to_string();
    assert!(wrong.contains("pseudo-terminals are forbidden by"), "{wrong}");
}

#[test]
fn the_resolved_text_names_the_origin_of_every_value() {
    let shown = child("[limits]\npids_max = 200\n[environment]\nLANG = \"de\"\n").show_resolved();
    assert!(
        shown.contains("pids_max = 200                           # from child.toml:4\n"),
        "{shown}"
    );
    assert!(shown.contains("\nLANG = \"de\" "), "{shown}");
    for line in shown.lines().filter(|line| line.contains(" = ") && !line.ends_with('[')) {
        assert!(line.contains(" # from "), "{line}");
    }
}

#[test]
fn a_flood_of_errors_costs_no_flood_of_work() {
    let controls = "\"x\",".repeat(60_000);
    let variables: String = (0..12_000).map(|n| format!("\"={n}\" = \"\"\n")).collect();
    for text in [
        format!("[requires]\ncontrols = [{controls}]\n"),
        format!("[environment]\n{variables}"),
        format!("[environment]\n{}", variables.replace('=', "V").replace(" V ", " = ")),
    ] {
        let wrong = refused(&text);
        assert!(wrong.len() < 100_000, "{}", wrong.len());
        assert!(!wrong.contains("2 MiB"), "{wrong}");
        assert!(!text.contains("V11999") || wrong.contains("more than 256 variables"), "{wrong}");
    }
}

#[test]
fn what_a_file_repeats_is_bounded() {
    let long = "x".repeat(40 << 10);
    for (text, says) in [
        (format!("description = \"{}\"\n", "x".repeat(1025)), "description is too long"),
        ("[[expect]]\nsubmit = {}\nverdict = \"accepted\"\n".repeat(257), "more than 256 examples"),
        (
            format!("[environment]\nA = \"{long}\"\nB = \"{long}\"\n"),
            "the environment has 81922 bytes and can have 65536",
        ),
    ] {
        let wrong = refused(&text);
        assert!(wrong.contains(says), "{wrong}");
    }
}
