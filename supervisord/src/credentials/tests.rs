//! Credentials from configuration to vault, with everything that a careless hand may write.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde::Deserialize;
use supervisor_egress::credential::{Condition, Connection, Pending, SourceError};
use tempfile::TempDir;

use super::*;

const CANARY: &str = "SVCANARY-0123456789";

/// Dials nothing.
#[derive(Debug)]
struct Nowhere;

impl Dial for Nowhere {
    fn dial<'a>(
        &'a self,
        _: &'a str,
        _: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>> {
        Box::pin(async { Err(SourceError::new("nothing is dialled")) })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    credential: Vec<Configured>,
}

/// A host with files of secrets.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Self(TempDir::new().unwrap());
        host.write("key", &format!("{CANARY}\n"));
        host
    }

    fn write(&self, name: &str, value: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, value).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// The credentials of a configuration, in which `DIR` stands for the directory with the files.
    fn load(&self, text: &str) -> Result<Loaded, String> {
        let text = text.replace("DIR", &self.0.path().display().to_string());
        let section: Section = toml::from_str(&text).map_err(|error| error.to_string())?;
        Loaded::read(&section.credential).map_err(|error| error.in_full())
    }

    fn open(&self, text: &str) -> Credentials {
        let loaded = self.load(text).unwrap();
        // A log of its own for each, as a daemon has that was started anew.
        let log = TempDir::new().unwrap();
        let audit = Audit::open(log.path(), crate::audit::Settings::default()).unwrap();
        Credentials::open(self.0.path(), loaded, Arc::new(Nowhere), audit).unwrap()
    }
}

const ALL: &str = r#"
[[credential]]
name = "forge"
kind = "static"
hosts = ["api.example.com", "*.forge.example:8443"]
source = { file = "DIR/key" }

[[credential]]
name = "store"
kind = "aws"
hosts = ["*.s3.example.com"]
source = { file = "DIR/aws" }

[[credential]]
name = "crm"
kind = "oauth2"
hosts = ["crm.example.com"]
token_url = "https://login.example.com/token"
client_id = "client"
client_secret = { file = "DIR/key" }
refresh_token = { file = "DIR/refresh" }
client_authentication = "post"
scope = "read"

[[credential]]
name = "short-lived"
kind = "broker"
hosts = ["api.example.com"]
socket = "/run/broker.sock"

[[credential]]
name = "decoy"
kind = "canary"
source = { file = "DIR/decoy" }
"#;

fn host_with_all() -> Host {
    let host = Host::new();
    let key = format!(r#"{{"access_key_id": "AKID", "secret_access_key": "{CANARY}"}}"#);
    host.write("aws", &key);
    host.write("refresh", CANARY);
    host.write("decoy", CANARY);
    host
}

#[test]
fn every_kind_is_read_and_listed_without_its_value() {
    let host = host_with_all();
    let credentials = host.open(ALL);
    let list = credentials.list();
    let seen: Vec<_> = list.iter().map(|each| (each.name.as_str(), each.kind)).collect();
    let expected =
        [("crm", "oauth2"), ("forge", "static"), ("short-lived", "broker"), ("store", "aws")];
    assert_eq!(seen, expected);
    assert_eq!(list[0].condition, Condition::Unfetched);
    assert_eq!(list[1].condition, Condition::Ready(None));
    assert_eq!(list[1].bounds[1].to_string(), "*.forge.example:8443");
    let printed = format!("{credentials:?} {list:?} {:?}", host.load(ALL));
    assert!(!printed.contains(CANARY));
}

#[test]
fn a_careless_configuration_is_refused_by_name_and_without_the_value() {
    let host = host_with_all();
    host.write("bad", &format!("{CANARY}\r\nX-Evil: 1"));
    host.write("short", "5");
    host.write("long", &"a".repeat(20_000));
    let credential = |body: &str| format!("[[credential]]\nname = \"x\"\n{body}");
    for (text, problem) in [
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/bad\" }"),
            "line ends",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/short\" }"),
            "shorter",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/long\" }"),
            "longer",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/none\" }"),
            "No such file",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"key\" }"),
            "not absolute",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"a.b\"]\nsource = { systemd = \"../x\" }"),
            "systemd",
        ),
        (
            credential("kind = \"static\"\nhosts = []\nsource = { file = \"DIR/key\" }"),
            "go nowhere",
        ),
        (
            credential("kind = \"static\"\nhosts = [\"*\"]\nsource = { file = \"DIR/key\" }"),
            "not a host",
        ),
        (
            credential(
                "kind = \"static\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/key\" }\nvalue = 1",
            ),
            "unknown field",
        ),
        (credential("kind = \"static\"\nhosts = [\"a.b\"]"), "missing field"),
        (credential("kind = \"magic\"\nhosts = [\"a.b\"]"), "unknown variant"),
        (
            credential("kind = \"aws\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/key\" }"),
            "no JSON",
        ),
        (credential("kind = \"broker\"\nhosts = [\"a.b\"]\nsocket = \"x\""), "not absolute"),
        (
            credential("kind = \"canary\"\nhosts = [\"a.b\"]\nsource = { file = \"DIR/key\" }"),
            "unknown field",
        ),
        (
            credential(
                "kind = \"oauth2\"\nhosts = [\"a.b\"]\ntoken_url = \"http://a.b\"\nclient_id = \"c\"\nclient_secret = { file = \"DIR/key\" }",
            ),
            "https",
        ),
        (
            credential(
                "kind = \"oauth2\"\nhosts = [\"a.b\"]\ntoken_url = \"https://a.b\"\nclient_id = \"c\"",
            ),
            "client_secret",
        ),
        (ALL.replace("\"crm\"", "\"forge\""), "two credentials"),
        (ALL.replace("\"crm\"", "\"NAME\\nNEW\""), "named"),
    ] {
        let error = host.load(&text).expect_err(problem);
        assert!(error.contains(problem), "{error}");
        assert!(!error.contains(CANARY), "{error}");
    }
}

#[test]
fn what_is_revoked_stays_so_over_reloads_and_restarts_until_it_is_rotated() {
    let host = host_with_all();
    let forge: CredentialName = "forge".parse().unwrap();
    let condition = |credentials: &Credentials| {
        let list = credentials.list();
        list.into_iter().find(|each| each.name == forge).unwrap().condition
    };
    let credentials = host.open(ALL);
    credentials.revoke(&forge).unwrap();
    assert_eq!(condition(&credentials), Condition::Revoked);
    credentials.replace(host.load(ALL).unwrap()).unwrap();
    assert_eq!(condition(&credentials), Condition::Revoked);
    let restarted = host.open(ALL);
    assert_eq!(condition(&restarted), Condition::Revoked);
    restarted.rotate(&forge, host.load(ALL).unwrap()).unwrap();
    assert_eq!(condition(&restarted), Condition::Ready(None));
    assert_eq!(condition(&host.open(ALL)), Condition::Ready(None));
    let nobody = "nobody".parse().unwrap();
    assert!(restarted.revoke(&nobody).unwrap_err().is_unknown());
    assert!(restarted.rotate(&nobody, host.load(ALL).unwrap()).unwrap_err().is_unknown());
}
