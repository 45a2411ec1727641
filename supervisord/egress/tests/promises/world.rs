//! Two network namespaces and what is between them.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use supervisor_egress::{
    Authority, Identity, Limits, Listeners, Names, Roots, Settings, Shared, Traffic,
};
use supervisor_policy::{Floor, PolicySet, Resolved};
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::seams::{Events, Purse, seams};
use crate::server;
use crate::upstreams::{Certificates, Seen, Upstreams};

/// A sandbox whose namespace the test's thread is in, and a host beside it.
pub struct World {
    /// What the traffic has recorded.
    pub events: Arc<Events>,
    /// What the upstreams have seen.
    pub seen: Arc<Seen>,
    /// The budget.
    pub purse: Arc<Purse>,
    /// The thread that is in the host's namespace.
    pub host_thread: i32,
    directory: TempDir,
    stop: Option<oneshot::Sender<()>>,
    host: Option<JoinHandle<()>>,
}

impl World {
    /// A world whose policy has these rules besides the default's.
    pub fn new(rules: &str) -> Self {
        Self::bounded(rules, Limits::default())
    }

    /// The same with other bounds.
    pub fn bounded(rules: &str, limits: Limits) -> Self {
        let policy = policy(rules);
        enter_namespace();
        // glibc's AI_ADDRCONFIG doesn't count loopback addresses as addresses.
        ip("addr add 198.19.255.254/32 dev lo");
        ip("addr add 2001:2:0:ffff::1/128 dev lo nodad");
        let ports = policy.egress().ports();
        let listeners = listeners(&ports);
        let authority = Arc::new(Authority::new().unwrap());
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("authority.pem"), authority.pem()).unwrap();
        let (events, seen, purse) = <(Arc<Events>, Arc<Seen>, Arc<Purse>)>::default();
        let (ready, is_ready) = mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let parts = (events.clone(), seen.clone(), purse.clone());
        let host = std::thread::spawn(move || {
            enter_namespace();
            ip("addr add 2001:db8::10/128 dev lo nodad"); // IPv6 can't be bound to otherwise
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let (events, seen, purse) = parts;
                let certificates = Certificates::new();
                let shared = Shared::new(Settings {
                    roots: Roots::only(vec![certificates.root()]).unwrap(),
                    names: Names::new(vec![server::NAMES.parse().unwrap()], ""),
                    limits,
                });
                let _upstreams = Upstreams::start(&certificates, seen).await;
                let identity = Identity { session: "s-1".into(), execution: "e-1".into(), uid: 1 };
                let seams = seams(events, purse);
                let traffic =
                    Traffic::new(Arc::new(shared), identity, policy, authority, 0, seams).unwrap();
                ready.send(nix::unistd::gettid().as_raw()).unwrap();
                tokio::select! {
                    ended = traffic.serve(listeners) => panic!("serving ended: {ended:?}"),
                    _ = stopped => {}
                }
            });
        });
        let host_thread = is_ready.recv_timeout(Duration::from_secs(60)).unwrap();
        Self { events, seen, purse, host_thread, directory, stop: Some(stop), host: Some(host) }
    }

    /// The authority's certificate, as it would stand in the sandbox.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A directory of this world.
    pub fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// Runs curl in the sandbox, without a proxy and trusting the authority.
    pub fn curl(&self, arguments: &[&str]) -> Heard {
        let mut command = Command::new("curl");
        command.env_clear().arg("--cacert").arg(self.authority());
        command.args(["-sS", "-i", "--max-time", "120"]).args(arguments);
        Heard::of(command)
    }

    /// Runs curl in the sandbox through the proxy.
    pub fn curl_proxied(&self, arguments: &[&str]) -> Heard {
        let proxy = ["-x", "http://127.0.0.1:3128", "--suppress-connect-headers"];
        self.curl(&[&proxy[..], arguments].concat())
    }

    /// Runs a program in the sandbox.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Heard {
        let mut command = Command::new(program);
        command.args(arguments);
        Heard::of(command)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let stopped = self.stop.take().map(|stop| stop.send(()));
        assert!(std::thread::panicking() || stopped == Some(Ok(())));
        let ended = self.host.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(ended.is_some_and(|ended| ended.is_ok()), "the host's side failed");
        }
    }
}

/// What a program has said.
#[derive(Debug)]
pub struct Heard {
    /// On its standard output.
    pub out: String,
    /// On its standard error.
    pub err: String,
    /// Its exit status.
    pub status: i32,
}

impl Heard {
    fn of(mut command: Command) -> Self {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Self {
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
            status: status.code().unwrap_or(-1),
        }
    }

    /// The status of the last response.
    pub fn code(&self) -> u16 {
        let lines = self.out.lines().filter(|line| line.starts_with("HTTP/"));
        let mut codes = lines.filter_map(|line| line.split(' ').nth(1)?.parse().ok());
        let last = codes.next_back();
        last.unwrap_or_else(|| panic!("no response: {self:?}"))
    }

    /// The body of the last response.
    pub fn body(&self) -> &str {
        self.out.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    /// The problem in the body.
    pub fn problem(&self) -> serde_json::Value {
        serde_json::from_str(self.body()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A policy with these rules.
pub fn policy(rules: &str) -> Arc<Resolved> {
    let base = include_str!("../../../../policies/default.toml");
    let text = format!("name = \"child\"\nextends = \"default\"\n{rules}");
    let files = [("default.toml".to_owned(), base.to_owned()), ("child.toml".to_owned(), text)];
    let set = PolicySet::load(files, Floor::builtin().unwrap());
    set.unwrap_or_else(|wrong| panic!("{wrong}")).resolve("child").unwrap().clone()
}

/// Puts this thread into a network namespace of its own, where every address leads to itself.
fn enter_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("these tests make network namespaces, as root");
    for arguments in
        ["link set lo up", "route add local default dev lo", "-6 route add local default dev lo"]
    {
        ip(arguments);
    }
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(done.success(), "ip {arguments}");
}

fn listeners(ports: &[u16]) -> Listeners {
    let tcp = |address: &str| -> OwnedFd { TcpListener::bind(address).unwrap().into() };
    Listeners {
        proxy: tcp("127.0.0.1:3128"),
        http: tcp("[::]:80"),
        tls: tcp("[::]:443"),
        dns: UdpSocket::bind("[::]:53").unwrap().into(),
        dns_tcp: tcp("[::]:53"),
        ports: ports.iter().map(|port| (*port, tcp(&format!("[::]:{port}")))).collect(),
    }
}
