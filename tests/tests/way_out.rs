//! There is one way out of a sandbox, it is that sandbox's own, and it is closed whenever it can't be
//! watched.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream, UdpSocket};

use nix::mount::{MsFlags, mount};
use supervisor_api::{ErrorCode, SubmitRequest};
use supervisor_tests::{
    AGENT, Ended, OTHER_AGENT, Settings, Upstream, World, attack, bash, python,
};

/// A policy with one host that it may ask.
fn policy(name: &str, host: &str) -> String {
    format!(
        "name = {name:?}\nextends = \"default\"\n[[egress]]\nname = \"read\"\nhosts = [{host:?}]\n\
         addresses = [\"127.0.0.2/32\"]\nmethods = [\"GET\"]\npaths = [\"/v1/**\"]\n"
    )
}

fn upstream() -> Upstream {
    let mut upstream = Upstream::open(&["127.0.0.2 api.example.com other.example.com"]);
    let source = include_str!("egress/upstream.py");
    upstream.serve("/usr/bin/python3", source, &["leaf.pem", "leaf.key", "no secret"]);
    upstream
}

fn settings(upstream: &Upstream) -> Settings {
    upstream.settings(&[
        ("api", &policy("api", "api.example.com")),
        ("other", &policy("other", "other.example.com")),
    ])
}

fn under(policy: &str, request: SubmitRequest) -> SubmitRequest {
    SubmitRequest { policy: Some(policy.to_owned()), ..request }
}

/// Servers that must hear of nothing, at addresses that the daemon could reach.
struct Canaries {
    listeners: Vec<TcpListener>,
    names: UdpSocket,
}

impl Canaries {
    fn listen(upstream: &Upstream) -> Self {
        upstream.run(
            "for each in 203.0.113.10 203.0.113.53 169.254.169.254; do
                 ip address add $each/32 dev lo
             done",
        );
        let places =
            ["203.0.113.10:80", "203.0.113.10:8080", "127.0.0.9:9999", "169.254.169.254:80"];
        let listeners = places.map(|place| TcpListener::bind(place).unwrap());
        let names = UdpSocket::bind("203.0.113.53:53").unwrap();
        listeners.iter().for_each(|listener| listener.set_nonblocking(true).unwrap());
        names.set_nonblocking(true).unwrap();
        Self { listeners: listeners.into(), names }
    }

    #[track_caller]
    fn expect_silence(&self) {
        for listener in &self.listeners {
            let heard = listener.accept();
            let error = heard.expect_err("somebody has connected").kind();
            assert_eq!(error, ErrorKind::WouldBlock);
        }
        let heard = self.names.recv(&mut [0; 512]);
        assert_eq!(heard.expect_err("a query has arrived").kind(), ErrorKind::WouldBlock);
    }
}

/// NT-01.
#[test]
fn there_is_no_way_out_but_the_proxy_and_without_one_there_is_none() {
    let upstream = upstream();
    let canaries = Canaries::listen(&upstream);
    let world = World::with(settings(&upstream));
    for name in ["default", "api"] {
        let ended = world.agent(AGENT).run(&under(name, attack(include_str!("way_out/reach.py"))));
        ended.attempts().expect_all_denied(&[
            "ENETUNREACH",
            "EADDRNOTAVAIL",
            "EHOSTUNREACH",
            "ECONNREFUSED",
            "EACCES",
            "ENOENT",
        ]);
        assert!(ended.numbers("seconds") < vec![8], "{name}: {}", ended.stdout);
        assert!(ended.stdout.contains("interfaces ['lo']"), "{name}: {}", ended.stdout);
        canaries.expect_silence();
    }
}

/// Whether anything in this network listens at a port, by proc_net_tcp(5).
fn is_taken(port: u16) -> bool {
    let end = format!(":{port:04X}");
    ["tcp", "tcp6", "udp", "udp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{table}")).unwrap();
        text.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|at| at.ends_with(&end)))
    })
}

const ASK_BOTH: &str = "for host in api other; do
    curl -sS -o answer -w \"$host %{http_code}\\n\" https://$host.example.com/v1/a
    curl -sS -x http://127.0.0.1:3128 -H 'X-Forwarded-For: 127.0.0.1' -o answer \
        -w \"$host %{http_code}\\n\" https://$host.example.com/v1/a
done 2>/dev/null\n";

#[track_caller]
fn expect_only(ended: &str, allowed: &str) {
    for host in ["api", "other"] {
        let count = ended.matches(&format!("{host} 200\n")).count();
        assert_eq!(count, if host == allowed { 2 } else { 0 }, "{host}: {ended}");
    }
}

/// NT-25.
#[test]
fn a_proxy_is_reached_from_its_own_sandbox_alone_and_knows_it_by_its_socket() {
    let upstream = upstream();
    let world = World::with(settings(&upstream));
    let (one, two) = (world.agent(AGENT), world.agent(OTHER_AGENT));
    let first = one.start(&under("api", bash(&format!("{ASK_BOTH} echo asked; sleep 300"))));
    let said = one.wait_for_words(first, "asked");
    expect_only(&said, "api");
    for port in [53, 80, 3128] {
        assert!(!is_taken(port), "the host listens at {port}");
    }
    let refused = TcpStream::connect("127.0.0.1:3128").expect_err("nothing listens here");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    // While the first one's proxy is there, the second one has its own, and who has none has none.
    expect_only(&two.run(&under("other", bash(ASK_BOTH))).stdout, "other");
    let none = two.run(&bash("(: </dev/tcp/127.0.0.1/3128) 2>/dev/null; echo \"connected $?\""));
    assert_eq!(none.stdout, "connected 1\n");
    one.cancel(first).expect("it is the caller's own");
}

fn connects(world: &World) -> Ended {
    world.agent(AGENT).run(&under("api", python(include_str!("way_out/connect.py"))))
}

/// NT-15.
#[test]
fn a_tunnel_is_granted_after_the_decision_and_refused_with_one_answer() {
    let upstream = upstream();
    let ended = connects(&World::with(settings(&upstream)));
    ended.expect_exit(0);
    assert_eq!(
        ended.stdout,
        "api.example.com 200 1\nother.example.com 403 1\n203.0.113.10 403 1\n169.254.169.254 403 1\n"
    );
}

/// NT-15: where no certificate can be made there is no tunnel, and never one that nobody looks into.
#[test]
fn what_has_to_be_inspected_and_cannot_be_is_refused_before_the_tunnel() {
    let upstream = upstream();
    let mut world = World::with(Settings { without: "fronts", ..settings(&upstream) });
    let ended = connects(&world);
    ended.expect_exit(0);
    assert_eq!(
        ended.stdout,
        "api.example.com 503 1\nother.example.com 403 1\n203.0.113.10 403 1\n169.254.169.254 403 1\n"
    );
    let target = format!("/v1/executions/{}/decisions", ended.execution.id);
    let decisions = world.agent(AGENT).call("GET", &target, None).expect("an answer");
    assert!(String::from_utf8_lossy(&decisions.body).contains("\"tls_unavailable\""));
    let line =
        "curl -sS -H 'Authorization: Bearer mine' https://api.example.com/v1/a || echo refused";
    assert_eq!(world.agent(AGENT).run(&under("api", bash(line))).stdout, "refused\n");
    assert!(world.daemon().words().contains("no certificate"), "the journal has it");
}

/// NT-15: an upstream that nobody vouches for is sent nothing.
#[test]
fn an_upstream_whose_certificate_is_not_believed_gets_no_request() {
    let upstream = upstream();
    let world = World::with(Settings { upstream_roots: Vec::new(), ..settings(&upstream) });
    let line = "curl -sS -w ' %{http_code}\\n' https://api.example.com/v1/a";
    let ended = world.agent(AGENT).run(&under("api", bash(line)));
    assert!(ended.stdout.contains(" 502\n"), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("\"code\""), "{}", ended.stdout);
    assert!(!ended.stdout.contains("key="), "{}", ended.stdout);
}

/// NT-15: without any root nothing could be verified, so nothing with a way out is started.
#[test]
fn without_root_certificates_what_needs_a_way_out_is_refused_with_the_remedy() {
    let upstream = upstream();
    for place in
        ["/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates"]
    {
        if fs::exists(place).unwrap() {
            let nothing: Option<&str> = None;
            mount(Some("none"), place, Some("tmpfs"), MsFlags::empty(), nothing).unwrap();
        }
    }
    let world = World::with(Settings { upstream_roots: Vec::new(), ..settings(&upstream) });
    let agent = world.agent(AGENT);
    let refused = agent.submit(&under("api", bash("echo started"))).expect_err("it is refused");
    assert_eq!(refused.code, ErrorCode::Unavailable, "{refused:?}");
    assert!(refused.hint.as_deref().is_some_and(|hint| hint.contains("root certificates")));
    assert_eq!(agent.run(&bash("echo started")).stdout, "started\n");
}
