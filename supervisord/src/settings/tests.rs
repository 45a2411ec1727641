//! That a reload is all or nothing.

use std::fs;

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

#[test]
fn a_standalone_supervisor_has_nothing_to_reload() {
    let settings = Settings::builtin(Mode::BestEffort, "").unwrap();
    assert!(settings.reload(|_| Ok(()), |_| ()).is_err());
}
