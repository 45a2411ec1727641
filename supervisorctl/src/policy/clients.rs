//! `policy hosts`: where the package clients of this host fetch from, by their own account. Policies
//! name a client (`hosts = { from = "pip" }`); what that means here stands in its configuration and
//! nowhere else.
//!
//! The programs run as whoever asks, without a shell, for a bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use supervisor_policy::PolicySet;
use supervisor_policy::egress::{Client, ClientOrigins, Destination, Protocol, Rule};

use crate::cli::{GlobalOptions, HostsOptions, PackageClient};
use crate::console;
use crate::failure::Failure;

/// How long a client may take to tell its configuration. npm on a cold disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks whether one that has told everything has ended.
const LOOK: Duration = Duration::from_millis(5);

/// Bytes of an answer: apt names each of its lists, hundreds at the most.
const MAX_ANSWER: u64 = 1 << 20;

/// What pip says of the index and the file store that it has built in.
const PIP_BUILT_IN: &str = "from pip._internal.models.index import PyPI\n\
                            print(PyPI.url)\nprint('https://' + PyPI.file_storage_domain)";

/// Keys of pip's configuration that hold places, apart from the index itself.
const PIP_MORE: [&str; 2] = ["extra-index-url", "find-links"];

/// `policy hosts`.
pub fn hosts(options: &HostsOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let asked: Vec<Client> = match options.clients.as_slice() {
        [] => Client::ALL.to_vec(),
        some => some.iter().map(|client| of(*client)).collect(),
    };
    let mut origins = ClientOrigins::default();
    for client in asked {
        let urls = ask(client);
        let found: Vec<_> = urls.iter().filter_map(|url| origin(url)).collect();
        if found.is_empty() && !options.clients.is_empty() {
            return Err(Failure::Negative(format!(
                "{client} names no place that it fetches from{}",
                hint(client)
            )));
        }
        if found.is_empty() && !global.quiet {
            console::notice(&format!("{client}: nothing{}\n", hint(client)));
        }
        for (protocol, destination) in found {
            origins.insert(client, protocol, destination);
        }
    }
    if global.json {
        let each = Client::ALL.iter().map(|client| (client.to_string(), origins.urls(*client)));
        return console::print_json(&each.collect::<BTreeMap<_, _>>());
    }
    console::print_bytes(origins.show().as_bytes())
}

/// What the clients answer that a built-in policy has rules for, as text for a private supervisor. None
/// where there is nothing to ask.
pub fn of_builtin(policy: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(policy) = policy else { return Ok(None) };
    let builtin = builtin()?;
    let rules = builtin.resolve(policy).map(|found| found.egress().rules()).unwrap_or_default();
    Ok(of_rules(rules.iter()))
}

/// The same for all built-in policies, where any of them may be asked for.
pub fn of_builtins() -> Result<Option<String>, Failure> {
    let builtin = builtin()?;
    Ok(of_rules(builtin.iter().flat_map(|policy| policy.egress().rules())))
}

fn builtin() -> Result<PolicySet, Failure> {
    PolicySet::builtin()
        .map_err(|error| Failure::Negative(format!("can't use the built-in policies: {error}")))
}

fn of_rules<'a>(rules: impl Iterator<Item = &'a Rule>) -> Option<String> {
    let named: BTreeSet<Client> = rules.filter_map(Rule::client).collect();
    if named.is_empty() {
        return None;
    }
    let mut origins = ClientOrigins::default();
    for client in named {
        for (protocol, destination) in ask(client).iter().filter_map(|url| origin(url)) {
            origins.insert(client, protocol, destination);
        }
    }
    Some(origins.show())
}

fn of(client: PackageClient) -> Client {
    match client {
        PackageClient::Pip => Client::Pip,
        PackageClient::Npm => Client::Npm,
        PackageClient::Cargo => Client::Cargo,
        PackageClient::Apt => Client::Apt,
    }
}

fn hint(client: Client) -> &'static str {
    match client {
        Client::Cargo => "; cargo tells once it has fetched something here, or by its config.toml",
        _ => "; is it installed?",
    }
}

/// The places that a client names; none where it isn't there.
fn ask(client: Client) -> Vec<String> {
    match client {
        Client::Pip => pip(),
        Client::Npm => npm(),
        Client::Cargo => cargo(),
        Client::Apt => words(&run("apt-get", &["indextargets", "--format", "$(REPO_URI)"])),
    }
}

fn pip() -> Vec<String> {
    let settings = run("python3", &["-m", "pip", "config", "list"]);
    let mut index = Vec::new();
    let mut more = Vec::new();
    for line in settings.lines() {
        // A key is `global.index-url`, or `:env:.index-url` for a variable.
        let Some((key, value)) = line.split_once('=') else { continue };
        let key = key.rsplit('.').next().unwrap_or_default();
        let value = value.replace(['\'', '"', '[', ']', ','], " ").replace("\\n", " ");
        if key == "index-url" {
            index.extend(words(&value));
        } else if PIP_MORE.contains(&key) {
            more.extend(words(&value));
        }
    }
    if index.is_empty() {
        index = words(&run("python3", &["-c", PIP_BUILT_IN]));
    }
    index.extend(more);
    index
}

fn npm() -> Vec<String> {
    let settings = run("npm", &["config", "list", "--json"]);
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap_or_default();
    let entries = settings.as_object().into_iter().flatten();
    let registry = |key: &str| key == "registry" || key.ends_with(":registry");
    let named = entries.filter(|(key, _)| registry(key));
    named.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect()
}

/// cargo has no command that tells. What it has fetched from stands in its cache, and what it is to
/// fetch from in its configuration.
fn cargo() -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let Some(home) = home.or_else(|| Some(env::home_dir()?.join(".cargo"))) else {
        return Vec::new();
    };
    let mut places = Vec::new();
    for name in ["config.toml", "config"] {
        places.extend(urls_in(&read(&home.join(name))));
    }
    let Ok(indexes) = fs::read_dir(home.join("registry/index")) else { return places };
    for index in indexes.flatten() {
        let name = index.file_name().to_string_lossy().into_owned();
        // A directory is called HOST-HASH.
        let Some((host, _)) = name.rsplit_once('-') else { continue };
        places.push(format!("https://{host}"));
        places.extend(urls_in(&read(&index.path().join("config.json"))));
    }
    places
}

/// The URLs in a text, each up to what ends it in TOML and JSON.
fn urls_in(text: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}');
    let pieces = text.split(ends).filter(|piece| piece.contains("://"));
    pieces.map(|piece| piece.trim_start_matches("sparse+").to_owned()).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Where a URL leads; none for files, other schemes and what isn't a URL.
fn origin(url: &str) -> Option<(Protocol, Destination)> {
    let (scheme, rest) = url.split_once("://")?;
    let protocol = match scheme {
        "https" => Protocol::Https,
        "http" => Protocol::Http,
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    // A password in it is not ours to keep.
    let host = authority.rsplit('@').next()?;
    Some((protocol, Destination::parse(host, protocol.default_port()).ok()?))
}

fn read(path: &Path) -> String {
    let text = fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(MAX_ANSWER).read_to_string(&mut text).map(|_| text)
    });
    text.unwrap_or_default()
}

/// What a program writes to its standard output; nothing where there is none, it fails or takes too
/// long. It runs in `/`: Python takes modules, and npm its configuration, from where it is, and that may be
/// the tree of whoever is to be held.
fn run(program: &str, arguments: &[&str]) -> String {
    let child = Command::new(program)
        .args(arguments)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0) // a script's own children end with it
        .spawn();
    child.ok().and_then(answer).unwrap_or_default()
}

fn answer(mut child: Child) -> Option<String> {
    let end = Instant::now() + PATIENCE;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // Not waited for: somebody who left the group may hold the pipe.
    thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.take(MAX_ANSWER).read_to_string(&mut text);
        // Nobody listens any more after the time is up.
        sender.send(read.map(|_| text)).ok();
    });
    let text = receiver.recv_timeout(PATIENCE);
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if text.is_ok() && Instant::now() < end => thread::sleep(LOOK),
            None => {
                let group = Pid::from_raw(i32::try_from(child.id()).ok()?);
                killpg(group, Signal::SIGKILL).ok()?;
                break child.wait().ok()?;
            }
        }
    };
    text.ok()?.ok().filter(|_| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_protocol_a_host_and_a_port() {
        for (url, expected) in [
            ("https://index.test/simple/", Some("https index.test:443")),
            ("http://user:secret@mirror.test:8080/x", Some("http mirror.test:8080")),
            ("http://10.1.2.3/x?y", Some("http 10.1.2.3:80")),
            ("file:///srv/wheels", None),
            ("/opt/wheels", None),
            ("https://", None),
        ] {
            let found = origin(url).map(|(protocol, place)| format!("{protocol} {place}"));
            assert_eq!(found.as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn urls_are_found_in_configurations() {
        let text = "[source.mirror]\nregistry = \"sparse+https://mirror.test/index/\"\n";
        assert_eq!(urls_in(text), ["https://mirror.test/index/"]);
        let text = "{\"dl\":\"https://dl.test/crates\",\"api\":\"https://api.test\"}";
        assert_eq!(urls_in(text), ["https://dl.test/crates", "https://api.test"]);
    }
}
