//! That a reload is all or nothing.

use std::fs;

use nix::sys::stat::Mode as FileMode;
use nix::unistd::mkfifo;

use tempfile::TempDir;

use super::*;

const POLICY: &str = "name = \"NAME\"\ndescription = \"A test's\"\nextends = \"default\"\n";

struct Host {
    directory: TempDir,
}

impl Host {
    fn new() -> Self {
        let host = Self { directory: TempDir::new().unwrap() };
        fs::create_dir(host.directory.path().join("policies")).unwrap();
        let default = include_str!("../../../policies/default.toml");
        host.write("policies/default.toml", default);
        host.configure("");
        host
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.path().join(name), text).unwrap();
    }

    fn configure(&self, more: &str) {
        let policies = self.directory.path().join("policies");
        self.write("config.toml", &format!("policies = {policies:?}\n{more}"));
    }

    fn settings(&self) -> Settings {
        Settings::read(&self.directory.path().join("config.toml")).unwrap().0
    }
}

#[test]
fn a_reload_puts_all_files_in_force_at_once() {
    let host = Host::new();
    let settings = host.settings();
    let held = settings.current();
    host.write("policies/own.toml", &POLICY.replace("NAME", "own"));
    host.configure("default_policy = \"own\"\nmode = \"best-effort\"\nbounds = { running = 3 }");
    let mut applied = 0;
    let new =
        settings.reload(|_| Ok(()), |generation| applied = generation.bounds.running).unwrap();
    assert_eq!((new.number, applied, new.mode), (2, 3, Mode::BestEffort));
    assert_eq!(new.policy_names(), ["default", "own"]);
    assert!(held.policies.resolve("own").is_none(), "whoever decides by the old one goes on");
}

#[test]
fn anything_wrong_leaves_everything_as_it_was() {
    let host = Host::new();
    let settings = host.settings();
    let broken: [(&str, String); 6] = [
        ("unknown_key = 1", POLICY.replace("NAME", "own")),
        ("default_policy = \"nowhere\"", POLICY.replace("NAME", "own")),
        ("admins = { groups = [\"no such group\"] }", POLICY.replace("NAME", "own")),
        ("state = \"/elsewhere\"", POLICY.replace("NAME", "own")),
        ("mode = \"best-effort\"", "name = 7".to_owned()),
        ("mode = \"best-effort\"", POLICY.replace("NAME", "own") + "[limits]\npids_max = 0\n"),
    ];
    for (config, policy) in broken {
        host.configure(config);
        host.write("policies/own.toml", &policy);
        let refused = settings.reload(|_| Ok(()), |_| panic!("{config}")).unwrap_err();
        let current = settings.current();
        assert_eq!((current.number, current.mode), (1, Mode::Strict), "{config}");
        assert!(!refused.in_full().is_empty());
    }
    host.configure("");
    host.write("policies/own.toml", &POLICY.replace("NAME", "own"));
    assert_eq!(settings.reload(|_| Ok(()), |_| ()).unwrap().number, 2);
}

#[test]
fn a_refused_reload_names_the_file_and_the_place() {
    let host = Host::new();
    let settings = host.settings();
    host.write("policies/own.toml", "name = \"own\"\nmemory = 1\n");
    let words = settings.reload(|_| Ok(()), |_| ()).unwrap_err().in_full();
    assert!(words.contains("own.toml") && words.contains("memory"), "{words}");
}

/// What is said of a reload that is refused, after which the first reading is in force as before.
fn refused(settings: &Settings) -> String {
    let refused = settings.reload(|_| Ok(()), |_| panic!("it is in force")).unwrap_err();
    assert_eq!(settings.current().number, 1);
    refused.in_full()
}

#[test]
fn a_directory_of_policies_that_is_not_there_puts_no_others_in_force() {
    let host = Host::new();
    let settings = host.settings();
    let policies = host.directory.path().join("policies");
    fs::rename(&policies, host.directory.path().join("elsewhere")).unwrap();
    let words = refused(&settings);
    assert!(
        words.contains(policies.to_str().unwrap()) && words.contains("put the files"),
        "{words}"
    );
    assert_eq!(settings.current().policy_names(), ["default"]);
    let started = Settings::read(&host.directory.path().join("config.toml"));
    assert_eq!(started.unwrap_err().in_full(), words, "a start has nothing to fall back on either");
}

#[test]
fn a_floor_that_is_there_no_more_keeps_bounding_what_is_in_force() {
    let host = Host::new();
    host.write("policies/floor.toml", include_str!("../../../policies/floor.toml"));
    let settings = host.settings();
    fs::remove_file(host.directory.path().join("policies/floor.toml")).unwrap();
    let words = refused(&settings);
    assert!(words.contains("policies/floor.toml") && words.contains("put it back"), "{words}");
    assert_eq!(host.settings().current().number, 1, "a start goes by what is there");
}

#[test]
fn what_is_no_file_or_too_long_is_refused_by_name_without_being_read() {
    let host = Host::new();
    let settings = host.settings();
    let place = host.directory.path().join("policies/own.toml");
    let put: [(&dyn Fn(), &str); 5] = [
        (&|| std::os::unix::fs::symlink("nowhere", &place).unwrap(), "No such file"),
        (&|| mkfifo(&place, FileMode::S_IRWXU).unwrap(), "not a regular file"),
        (&|| std::os::unix::fs::symlink("/dev/zero", &place).unwrap(), "not a regular file"),
        (
            &|| fs::File::create(&place).unwrap().set_len(1 << 40).unwrap(),
            "longer than 2097152 bytes",
        ),
        (&|| fs::write(&place, [0xff]).unwrap(), "not UTF-8"),
    ];
    for (put, expected) in put {
        put();
        let words = refused(&settings);
        assert!(words.contains("own.toml") && words.contains(expected), "{words}");
        fs::remove_file(&place).unwrap();
    }
    let text = "#".repeat(1 << 20);
    for number in 0..32 {
        host.write(&format!("policies/{number}.toml"), &text);
    }
    assert!(refused(&settings).contains("there are more than"));
}

#[test]
fn a_standalone_supervisor_has_nothing_to_reload() {
    let settings = Settings::builtin(Mode::BestEffort, "").unwrap();
    assert!(settings.reload(|_| Ok(()), |_| ()).is_err());
}
