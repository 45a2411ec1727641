//! A private supervisor for one call: as root, as an ordinary user, and where that is not to be had.
//! Nothing of it is left, however it ends.

use std::fs;
use std::process::Child;

use serde_json::{Value, json};
use supervisor_tests::{
    Account, Told, children, command_line, namespace, owner_uid, process_ids, status_field, until,
};

/// An ordinary user.
const USER: u32 = 64_017;

/// The two that the programs are started as.
const CALLERS: [u32; 2] = [0, USER];

/// A call that goes on, or was refused.
fn begun(user: &Account) -> Result<Child, Told> {
    let words = ["run", "--standalone", "--", "sh", "-c", "echo begun; sleep 300 & sleep 300"];
    Told::begun(user.supervisorctl(&words))
}

/// Where the distribution keeps ordinary users from making user namespaces, a refusal with the
/// control's name and the remedy is what is promised, and nothing else can be tried.
#[track_caller]
fn is_refused_here(user: &Account, told: &Told) -> bool {
    let switch = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
    let is_restricted = fs::read_to_string(switch).is_ok_and(|text| text.trim() == "1");
    if user.uid() == 0 || !is_restricted {
        return false;
    }
    let words = &told.stderr;
    assert_eq!(told.code, Some(125), "{words}");
    assert!(words.contains("user_namespace") && words.contains("apparmor"), "{words}");
    true
}

fn status<'a>(execution: &'a Value, control: &str) -> Option<&'a str> {
    let lines = execution["controls"].as_array()?;
    lines.iter().find(|line| line["control"] == control)?["status"].as_str()
}

#[test]
fn one_call_gives_the_result_says_what_held_it_and_leaves_nothing() {
    for user in CALLERS.map(Account::new) {
        user.write("look.py", include_str!("payloads/look_around.py"));
        let words = "run --standalone --json --language python --artifact made \
                     --artifacts-to out look.py";
        let told = user.run(&words.split_whitespace().collect::<Vec<_>>());
        user.expect_nothing_left();
        if is_refused_here(&user, &told) {
            continue;
        }
        assert_eq!(told.code, Some(0), "{told:?}");
        let result = told.json();
        let seen: Value = serde_json::from_str(result["stdout"].as_str().expect("text"))
            .unwrap_or_else(|error| panic!("{error}: {result}"));
        let expected = json!({
            "uid": 1000, "places": ["user"], "interfaces": ["lo"], "capabilities": 0, "confined": "21",
            "few processes": true, "shadow denied": true, "usr denied": true,
            "init denied": true, "namespaces denied": true,
        });
        assert_eq!(seen, expected);
        assert_eq!(user.read("out/made"), "made");
        let execution = &result["execution"];
        assert_eq!(execution["owner_uid"], user.uid());
        let separate = if user.uid() == 0 { "enforced" } else { "weaker" };
        assert_eq!(status(execution, "separate_uids"), Some(separate));
        for control in ["network_namespace", "pid_namespace", "seccomp", "landlock_files"] {
            assert_eq!(status(execution, control), Some("enforced"), "{control}");
        }
    }
}

#[test]
fn statuses_and_limits_are_the_same_as_with_a_daemon() {
    for user in CALLERS.map(Account::new) {
        for (words, expected) in [
            (vec!["--", "sh", "-c", "exit 9"], 9),
            (vec!["--time", "300ms", "--", "sleep", "300"], 124),
            (vec!["--", "no-such-program"], 127),
            (vec!["--disk", "1M", "--", "sh", "-c", "head -c 2M /dev/zero >a || exit 28"], 28),
            (vec!["--policy", "nothing", "--", "true"], 125),
        ] {
            let all = [["run", "--standalone", "-q"].as_slice(), words.as_slice()].concat();
            let told = user.run(&all);
            if !is_refused_here(&user, &told) {
                assert_eq!(told.code, Some(expected), "{words:?}: {told:?}");
            }
        }
        user.expect_nothing_left();
    }
}

/// Ignored signals, blocked ones and the file mode mask pass from a process to all that it starts.
#[test]
fn what_a_caller_left_in_its_process_reaches_neither_the_supervisor_nor_the_payload() {
    let look = "umask; grep -E '^Sig(Blk|Ign)' /proc/self/status; sleep 0 & wait; echo waited";
    for user in CALLERS.map(Account::new) {
        user.write("odd_start.py", include_str!("payloads/odd_start.py"));
        let program = user.program("supervisorctl");
        let program = program.to_str().expect("its path is text");
        let words = ["odd_start.py", program, "run", "--standalone", "--", "sh", "-c", look];
        let told = Told::of(user.command("/usr/bin/python3", &words));
        user.expect_nothing_left();
        if is_refused_here(&user, &told) {
            continue;
        }
        assert_eq!(told.code, Some(0), "{told:?}");
        let lines: Vec<&str> = told.stdout.split_whitespace().collect();
        let none = "0000000000000000";
        assert_eq!(lines, ["0022", "SigBlk:", none, "SigIgn:", none, "waited"]);
    }
}

/// A caller's hard limits are its supervisor's, and nobody gets them back.
#[test]
fn a_caller_with_too_low_a_limit_is_told_which_one_the_numbers_and_the_remedy() {
    let limits = [
        ("t", "5", "RLIMIT_CPU 11, and who started the supervisor left it 5"),
        ("l", "16", "RLIMIT_MEMLOCK 65536, and who started the supervisor left it 16384"),
        ("n", "40", "takes 256 descriptors, and who started it left it 40 (RLIMIT_NOFILE)"),
        ("n", "300", "RLIMIT_NOFILE 1024, and who started the supervisor left it 300"),
    ];
    for user in CALLERS.map(Account::new) {
        let program = user.program("supervisorctl").display().to_string();
        for (flag, most, words) in limits {
            let script = format!(
                "ulimit -S{flag} {most} -H{flag} {most} && exec {program} run --standalone -- true"
            );
            let told = Told::of(user.command("/bin/bash", &["-c", &script]));
            if is_refused_here(&user, &told) {
                continue;
            }
            assert_eq!(told.code, Some(125), "{told:?}");
            assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
            assert!(told.stderr.contains("raise the hard limit there"), "{}", told.stderr);
        }
        user.expect_nothing_left();
    }
}

#[test]
fn a_place_for_a_supervisor_that_is_not_there_is_told_by_its_path() {
    for user in CALLERS.map(Account::new) {
        let mut command = user.supervisorctl(&["run", "--standalone", "--", "true"]);
        command.env("TMPDIR", user.path("nowhere"));
        let told = Told::of(command);
        assert_eq!(told.code, Some(125), "{told:?}");
        let place = user.path("nowhere/supervisord-").display().to_string();
        assert!(told.stderr.contains(&place) && told.stderr.contains("TMPDIR"), "{}", told.stderr);
    }
}

#[test]
fn a_place_that_no_supervisor_can_be_at_is_told_with_the_variable_that_names_it() {
    let long = format!("/tmp/{}", "n".repeat(100));
    let wrong = [
        ("here", "does not begin with a slash"),
        ("/tmp/two\nlines", "has control characters"),
        (&long, "too long for the path of a socket in it: 53 bytes are the most"),
    ];
    for user in CALLERS.map(Account::new) {
        for (place, words) in wrong {
            let mut command = user.supervisorctl(&["run", "--standalone", "--", "true"]);
            command.env("TMPDIR", place);
            let told = Told::of(command);
            assert_eq!(told.code, Some(125), "{told:?}");
            assert!(told.stderr.contains(words), "{}", told.stderr);
            assert!(told.stderr.contains(&format!("TMPDIR is {place:?}")), "{}", told.stderr);
            assert!(told.stderr.contains("or leave TMPDIR out"), "{}", told.stderr);
        }
        let mut command = user.supervisorctl(&["run", "--standalone", "--", "true"]);
        command.env("TMPDIR", "");
        let told = Told::of(command);
        assert!(told.code == Some(0) || is_refused_here(&user, &told), "{told:?}");
        user.expect_nothing_left();
    }
}

/// However the caller ends, its supervisor sees the end of its standard input.
#[test]
fn a_caller_that_is_killed_leaves_nothing_behind() {
    for user in CALLERS.map(Account::new) {
        match begun(&user) {
            Ok(mut caller) => {
                assert!(!children(caller.id()).is_empty());
                caller.kill().expect("killed");
                caller.wait().expect("ended");
            }
            Err(told) => assert!(is_refused_here(&user, &told), "{told:?}"),
        }
        user.expect_nothing_left();
    }
}

/// Looked at from the host: payload and caller share one host id and nothing else.
#[test]
fn the_payload_of_an_ordinary_user_is_confined_as_well() {
    let user = Account::new(USER);
    user.write("secret", "secret");
    match begun(&user) {
        Ok(mut caller) => {
            let payloads = until("both of them sleep", || {
                let mut payloads = process_ids();
                payloads.retain(|pid| {
                    owner_uid(*pid) == Some(USER) && command_line(*pid) == b"sleep\x00300\x00"
                });
                (payloads.len() == 2).then_some(payloads)
            });
            for pid in payloads {
                let file = format!("/proc/{pid}/status");
                let none = "0000000000000000";
                for (name, value) in
                    [("Seccomp", "2"), ("NoNewPrivs", "1"), ("CapBnd", none), ("CapEff", none)]
                {
                    let held = status_field(file.as_ref(), name);
                    assert_eq!(held.as_deref(), Some(value), "{name}");
                }
                for kind in ["net", "pid", "mnt", "ipc", "uts", "user", "cgroup"] {
                    assert_ne!(namespace(pid, kind), namespace(std::process::id(), kind));
                }
                let home = user.path("secret").display().to_string();
                assert!(fs::metadata(format!("/proc/{pid}/root{home}")).is_err());
            }
            caller.kill().expect("killed");
            caller.wait().expect("ended");
        }
        Err(told) => assert!(is_refused_here(&user, &told), "{told:?}"),
    }
    user.expect_nothing_left();
}

/// A user namespace in which no other one may be made: what a host looks like that restricts them.
#[test]
fn without_user_namespaces_an_ordinary_user_is_told_the_control_and_the_remedy() {
    let user = Account::new(USER);
    let program = user.program("supervisorctl").display().to_string();
    let script = format!(
        "echo 0 >/proc/sys/user/max_user_namespaces && exec setpriv --inh-caps=-all \
         --ambient-caps=-all {program} run --standalone -- true"
    );
    let words = ["--user", "--map-current-user", "--keep-caps", "sh", "-c", &script];
    let told = Told::of(user.command("unshare", &words));
    assert_eq!(told.code, Some(125), "{told:?}");
    for word in ["user_namespace", "user.max_user_namespaces", "run as root", "sysctl"] {
        assert!(told.stderr.contains(word), "{word} in {}", told.stderr);
    }
    user.expect_nothing_left();
}

/// The one address that pip names here is documentation's, where nothing is; how far the proxy lets a
/// program go towards it tells whether pip was asked.
#[test]
fn a_policy_for_packages_knows_what_the_package_clients_of_this_host_fetch_from() {
    for user in CALLERS.map(Account::new) {
        let script = "for last in 77 78; do
                          exec 3<>/dev/tcp/127.0.0.1/3128
                          printf 'CONNECT 192.0.2.%s:443 HTTP/1.1\\r\\nHost: 192.0.2.%s:443\\r\\n\\r\\n' \
                              $last $last >&3
                          read -r answer <&3; echo \"$last $answer\"
                      done";
        let words = ["run", "--standalone", "--policy", "package-install", "bash", "-c", script];
        let mut command = user.supervisorctl(&words);
        command
            .env("PIP_INDEX_URL", "https://192.0.2.77/simple")
            .env("PIP_CONFIG_FILE", "/dev/null");
        let told = Told::of(command);
        user.expect_nothing_left();
        if is_refused_here(&user, &told) {
            continue;
        }
        assert!(told.stdout.contains("77 HTTP/1.1 200"), "{told:?}");
        assert!(told.stdout.contains("78 HTTP/1.1 403"), "{told:?}");
    }
}

/// As nohup(1) and shells do to what they start in the background.
#[test]
fn signals_that_the_supervisor_was_started_with_ignored_are_not_ignored_by_the_payload() {
    let user = Account::new(0);
    let program = user.program("supervisorctl").display().to_string();
    let ignoring = ["--ignore-signal=HUP,INT,QUIT,TERM,USR1,PIPE", "--block-signal=USR2", &program];
    let words = ["run", "--standalone", "--", "grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"];
    let told = Told::of(user.command("/usr/bin/env", &[&ignoring[..], &words[..]].concat()));
    let nothing = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
    assert_eq!(told.stdout, nothing, "{told:?}");
}
