//! What programs in a sandbox reach the network with: each unchanged, through the proxy that its
//! variables name and past it, believing in what the proxy shows it. Real servers, real clients.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::process::{Command, Stdio};

use supervisor_api::{Content, InputFile, SubmitRequest};
use supervisor_tests::{AGENT, Ended, Settings, Upstream, World, bash, program};

const HOSTS: [&str; 3] = [
    "127.0.0.2 api.example.com git.example.com index.example.com",
    "127.0.0.3 h2.example.com",
    "127.0.0.4 ws.example.com",
];

/// Without any variable that a program could find the proxy by.
const BARE: &str = "env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY";

/// The two ways to the network: by the variables, and as if there were no proxy.
const WAYS: [(&str, &str); 2] = [("with", ""), ("without", BARE)];

const PAIR: [&str; 2] = ["leaf.pem", "leaf.key"];

/// All three servers.
fn servers() -> Upstream {
    let mut upstream = Upstream::open(&HOSTS);
    upstream.serve("/usr/bin/python3", include_str!("clients/server.py"), &PAIR);
    upstream.serve("/usr/bin/node", include_str!("clients/http2.js"), &PAIR);
    upstream.serve("/usr/bin/python3", include_str!("clients/socket.py"), &PAIR);
    upstream
}

fn world(upstream: &Upstream) -> World {
    World::with(upstream.settings(&[("servers", include_str!("clients/policy.toml"))]))
}

/// Fails with a sentence unless the image's own programs do this.
#[track_caller]
fn needs(package: &str, line: &str) {
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-c", line]).env("PATH", "/usr/bin:/bin").output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "this test needs {package}: {words}");
}

fn file(path: &str, content: impl Into<Vec<u8>>) -> InputFile {
    InputFile { path: path.to_owned(), content: Content(content.into()), executable: true }
}

/// Runs a line under a policy, with files, one way or the other.
#[track_caller]
fn run(world: &World, policy: &str, files: &[InputFile], bare: &str, line: &str) -> Ended {
    world.agent(AGENT).run(&SubmitRequest {
        policy: Some(policy.to_owned()),
        files: files.to_vec(),
        ..bash(&format!("{bare} {line}"))
    })
}

/// Runs a line both ways, and fails unless all of this is in what it prints.
#[track_caller]
fn works_both_ways(policy: &str, world: &World, files: &[InputFile], line: &str, words: &[&str]) {
    for (how, bare) in WAYS {
        let ended = run(world, policy, files, bare, line);
        let output = format!("{}{}", ended.stdout, ended.stderr);
        for expected in words {
            let outcome = &ended.execution.outcome;
            let found = output.contains(expected);
            assert!(found, "{how} variables: no {expected:?} in\n{output}{outcome:?}");
        }
    }
}

#[test]
fn python_s_http_libraries_work_unchanged() {
    needs(
        "python3-requests, python3-httpx, python3-h2 and python3-aiohttp",
        "python3 -c 'import requests, httpx, h2, aiohttp'",
    );
    let upstream = servers();
    let took = "POST /v1/a took 5 bytes";
    works_both_ways(
        "servers",
        &world(&upstream),
        &[file("libraries.py", include_str!("clients/libraries.py"))],
        "python3 libraries.py",
        &[
            &format!("requests: {took}"),
            &format!("httpx: {took}"),
            &format!("httpx over HTTP/2: {took}"),
            &format!("aiohttp: {took}"),
            &format!("aiohttp with its environment: {took}"),
            "addresses of configured families: 1",
        ],
    );
}

#[test]
fn a_program_in_go_works_unchanged() {
    needs("golang-go", "go version");
    let upstream = servers();
    let source = upstream.place("client.go");
    fs::write(&source, include_str!("clients/client.go")).unwrap();
    let built = Command::new("/usr/bin/go")
        .args(["build", "-ldflags=-s -w", "-o", "client", "client.go"])
        .current_dir(upstream.path())
        .env("CGO_ENABLED", "0") // static, so its resolver is Go's own
        .env("GOCACHE", upstream.place("cache"))
        .env("HOME", upstream.path())
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let client = fs::read(upstream.place("client")).unwrap();
    works_both_ways(
        "servers",
        &world(&upstream),
        &[file("client", client)],
        "./client",
        &[
            "api over HTTP/2.0: POST /v1/a took 5 bytes",
            "h2 over HTTP/2.0: POST /v1/a took 5 bytes",
        ],
    );
}

#[test]
fn java_s_http_clients_work_unchanged_with_the_store_that_is_theirs() {
    needs("default-jdk-headless", "javac -version");
    let upstream = servers();
    let line = "bash -c 'java Client.java
        keytool -list -cacerts -storepass changeit -alias supervisord-session-authority'";
    works_both_ways(
        "servers",
        &world(&upstream),
        &[file("Client.java", include_str!("clients/Client.java"))],
        line,
        &[
            "api over HTTP_2: POST /v1/a took 5 bytes",
            "h2 over HTTP_2: POST /v1/a took 5 bytes",
            "connection: GET /v1/b took 0 bytes",
            "trustedCertEntry",
        ],
    );
}

#[test]
fn http_2_and_its_trailers_arrive_and_a_websocket_is_one() {
    needs("python3-websockets", "python3 -c 'import websockets'");
    needs("nodejs and curl", "node --version && curl --version");
    let upstream = servers();
    let world = world(&upstream);
    let curl = "curl -sS --http2 -d 12345 -w 'over %{http_version}' https://h2.example.com/v1/a";
    let words = ["POST /v1/a took 5 bytes", "over 2"];
    works_both_ways("servers", &world, &[], curl, &words);
    let rpc = [file("rpc.js", include_str!("clients/rpc.js"))];
    let words = ["status 200", "body POST /v1/rpc took 5 bytes", "trailers 0 well"];
    works_both_ways("servers", &world, &rpc, "node rpc.js", &words);
    let socket = [file("client.py", include_str!("clients/socket_client.py"))];
    let words = ["said over a socket", "refused with 403"];
    works_both_ways("servers", &world, &socket, "python3 client.py", &words);
}

#[test]
fn git_fetches_and_its_push_is_refused_with_the_rule() {
    needs("git", "git --version");
    let upstream = servers();
    let policy = include_str!("../../policies/git-fetch.toml");
    let allowed = "hosts = [\"git.example.com\"]\nmethods";
    assert_eq!(policy.matches(allowed).count(), 2, "the policy has two rules that allow");
    let here = "hosts = [\"git.example.com\"]\naddresses = [\"127.0.0.2/32\"]\nmethods";
    let policy = policy.replace(allowed, here);
    let world = World::with(upstream.settings(&[("git-fetch", &policy)]));
    let files = [file("git.sh", include_str!("clients/git.sh"))];
    for (how, bare) in WAYS {
        let ended = run(&world, "git-fetch", &files, bare, "bash git.sh");
        let output = format!("{}{}", ended.stdout, ended.stderr);
        for expected in ["fetched by git", "fetched again", "403"] {
            assert!(output.contains(expected), "{how} variables: no {expected:?} in\n{output}");
        }
        assert!(!output.contains("push ended with 0"), "{how} variables: {output}");
        let target = format!("/v1/executions/{}/decisions", ended.execution.id);
        let decisions = world.agent(AGENT).call("GET", &target, None).expect("an answer");
        let decisions = String::from_utf8(decisions.body).unwrap();
        assert!(decisions.contains("no-push"), "{decisions}");
    }
    upstream.run(
        "test \"$(git -C source rev-parse main)\" = \
         \"$(git -c safe.directory='*' -C git/project.git rev-parse main)\"",
    );
}

/// Networks that aren't public, in which a host may have its mirror or its way to the index.
const NOT_PUBLIC: &str = "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"100.64.0.0/10\", \
     \"192.0.2.0/24\", \"198.51.100.0/24\", \"203.0.113.0/24\", \"fc00::/7\"";

/// The policy for packages, with indexes that may be in these networks.
fn installing_from(networks: &str) -> String {
    let policy = include_str!("../../policies/package-install.toml");
    policy.replace("max_body = 0", &format!("max_body = 0\naddresses = [{networks}]"))
}

/// What the package clients of this host say they fetch from, as a file for policies.
#[track_caller]
fn clients_of_this_host(variables: &[(&str, &str)]) -> String {
    let output = Command::new(program("supervisorctl"))
        .args(["policy", "hosts", "pip", "npm"])
        .envs(variables.iter().copied())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "pip and npm tell where they fetch from");
    String::from_utf8(output.stdout).unwrap()
}

/// Installs with pip and npm, with a configuration that is this host's own.
#[track_caller]
fn installs(world: &World, configuration: &str, pip: &str, npm: &str) {
    let script = format!(
        "export {configuration} PIP_PACKAGE={pip} NPM_PACKAGE={npm}\n{}",
        include_str!("clients/install.sh")
    );
    let words = [&format!("{}-", pip.replace('-', "_")), npm];
    let files = [file("install.sh", script)];
    works_both_ways("package-install", world, &files, "bash install.sh", &words);
}

#[test]
fn pip_and_npm_install_from_an_index_that_their_own_configuration_names() {
    needs("python3-pip and npm", "python3 -m pip --version && npm --version");
    let upstream = servers();
    let (index, registry) = ("https://index.example.com/simple", "https://index.example.com/npm/");
    let variables = [
        ("PIP_CONFIG_FILE", "/dev/null"),
        ("PIP_INDEX_URL", index),
        ("npm_config_registry", registry),
    ];
    let clients = clients_of_this_host(&variables);
    let policy = installing_from("\"127.0.0.2/32\"");
    let settings = upstream.settings(&[("package-install", &policy), ("clients", &clients)]);
    let configuration = format!("PIP_INDEX_URL={index} npm_config_registry={registry}");
    installs(&World::with(settings), &configuration, "sample-package", "sample-package");
}

/// What a command says of this host's configuration; nothing if it says nothing.
fn said(command: &mut Command) -> String {
    let output = command.current_dir("/").output().expect("it is there");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Over the real network, from where this host's own clients are set to fetch.
#[test]
fn pip_and_npm_install_from_the_real_index_and_nothing_else_is_reached() {
    needs("python3-pip and npm", "python3 -m pip --version && npm --version");
    let policy = |name: &str, text: &str| (name.to_owned(), text.to_owned());
    let all = vec![
        policy("default.toml", include_str!("../../policies/default.toml")),
        policy("floor.toml", include_str!("../../policies/floor.toml")),
        policy("package-install.toml", &installing_from(NOT_PUBLIC)),
        policy("clients.toml", &clients_of_this_host(&[])),
    ];
    let world = World::with(Settings { policies: all, ..Settings::default() });
    let registry = said(Command::new("npm").args(["config", "get", "registry"]));
    let index =
        said(Command::new("python3").args(["-m", "pip", "config", "get", "global.index-url"]));
    let index = match (std::env::var("PIP_INDEX_URL"), index.as_str()) {
        (Ok(variable), _) => format!("PIP_INDEX_URL={variable}"),
        (Err(_), "") => String::new(), // the one that pip has built in
        (Err(_), configured) => format!("PIP_INDEX_URL={configured}"),
    };
    installs(&world, &format!("npm_config_registry={registry} {index}"), "six", "semver");
    let elsewhere = "curl -sS --max-time 20 https://example.com/; echo \"ended with $?\"";
    for (how, bare) in WAYS {
        let ended = run(&world, "package-install", &[], bare, elsewhere);
        assert!(!ended.stdout.contains("ended with 0"), "{how} variables: {}", ended.stdout);
    }
}
