//! Our own proxy: a daemon with its policy, budgets and audit log, and sandboxes whose only way out it
//! is. The clients are the benchmark's, in the sandbox's network.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use supervisor_api::{ExecutionId, SubmitRequest};
use supervisor_tests::{Settings, World, until};

use super::authority::Certificates;
use super::door::{Door, Whose};
use super::upstream::Addresses;
use crate::failure::Failure;

/// Sandboxes at once.
const RUNNING: usize = 64;

/// A supervisor with a policy for the upstream.
#[derive(Debug)]
pub struct Ours {
    world: World,
}

/// A sandbox in which nothing happens, and its door.
#[derive(Debug)]
pub struct Sandbox {
    id: ExecutionId,
    /// The way out of it.
    pub door: Door,
}

impl Ours {
    /// Starts it.
    pub fn start(certificates: &Certificates, at: Addresses) -> Self {
        let floor = include_str!("../../../../../policies/floor.toml");
        let floor = floor.replace("openable = [", "openable = [\n    \"loopback\",");
        let default = include_str!("../../../../../policies/default.toml");
        let named = |name: &str, text: String| (name.to_owned(), text);
        let world = World::with(Settings {
            policies: vec![
                named("default.toml", default.to_owned()),
                named("floor.toml", floor),
                named("benchmark.toml", policy(at)),
            ],
            upstream_roots: vec![certificates.root.clone()],
            running: RUNNING,
            running_per_uid: RUNNING,
            ..Settings::default()
        });
        Self { world }
    }

    /// Makes one more sandbox.
    pub fn sandbox(&mut self) -> Result<Sandbox, Failure> {
        let id = self.world.root().start(&SubmitRequest {
            argv: ["/bin/sleep", "3600"].map(str::to_owned).into(),
            policy: Some("benchmark".to_owned()),
            ..SubmitRequest::default()
        });
        // The payload is there, so the sandbox is as it will be.
        let payload = until("a sandbox has its payload", || {
            let found = self.world.processes_of(id).into_iter();
            found.into_iter().find(|process| is_sleep(*process))
        });
        let place = |name: &str| format!("/proc/{payload}/{name}");
        let namespace =
            File::open(place("ns/net")).map_err(Failure::of("look into a sandbox's network"))?;
        let authority = CertificateDer::from_pem_file(place("root/run/authority.pem"));
        let door = Door {
            whose: Whose::Ours,
            proxy: Some(SocketAddr::from(([127, 0, 0, 1], 3128))),
            inspecting: Some(SocketAddr::from(([127, 0, 0, 1], 3128))),
            authority: Some(authority.map_err(Failure::of("read a sandbox's authority"))?),
            namespace: Some(namespace),
            processes: vec![self.world.daemon().pid()],
        };
        Ok(Sandbox { id, door })
    }

    /// Ends a sandbox, and with it all connections that it has.
    pub fn end(&self, sandbox: &Sandbox) -> Result<(), Failure> {
        let root = self.world.root();
        root.cancel(sandbox.id).map_err(Failure::of("end a sandbox"))?;
        root.finished(sandbox.id);
        Ok(())
    }
}

fn is_sleep(process: u32) -> bool {
    let name = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("comm"));
    name.is_ok_and(|name| name.trim_end() == "sleep")
}

fn policy(at: Addresses) -> String {
    let rule = |name: &str, protocol: &str, address: SocketAddr, more: &str| {
        format!(
            "[[egress]]\nname = \"{name}\"\nhosts = [\"127.0.0.1\"]\naddresses = [\"127.0.0.0/8\"]\n\
             protocols = [\"{protocol}\"]\nports = [{}]\n{more}\n",
            address.port()
        )
    };
    [
        "name = \"benchmark\"\nextends = \"default\"\n[limits]\nwall_time = \"1 h\"\n".to_owned(),
        rule("plain", "http", at.plain, "methods = [\"GET\"]\npaths = [\"/**\"]"),
        rule("passed", "https", at.passed, "tls = \"pass\""),
        rule(
            "inspected",
            "https",
            at.inspected,
            "tls = \"inspect\"\nmethods = [\"GET\"]\npaths = [\"/**\"]",
        ),
        rule("bulk", "tcp", at.bulk, ""),
    ]
    .concat()
}
