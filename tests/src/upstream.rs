//! Servers that a sandbox's traffic may go to, in a network that only one test is in, with names and
//! certificates that its supervisor believes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::settings::Settings;

/// The network, its table of hosts, a root of certificates, and the servers.
#[derive(Debug)]
pub struct Upstream {
    directory: TempDir,
    servers: Vec<Child>,
}

impl Upstream {
    /// From here on this thread, and what it starts, has a network and a table of hosts of its own. A
    /// line of the table is an address of loopback and its names, for which there is a certificate:
    /// `leaf.pem` and `leaf.key` in the directory, by the root in `root.pem`.
    #[track_caller]
    pub fn open(hosts: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("supervisor-upstream-").tempdir().unwrap();
        let upstream = Self { directory, servers: Vec::new() };
        let path = upstream.path();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).unwrap();
        let nothing: Option<&str> = None;
        mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing).unwrap();
        upstream.run("ip link set lo up");
        fs::write(path.join("hosts"), hosts.join("\n") + "\n").unwrap();
        mount(Some(&path.join("hosts")), "/etc/hosts", nothing, MsFlags::MS_BIND, nothing).unwrap();
        let names = hosts.iter().flat_map(|line| line.split(' ').skip(1));
        let names: Vec<_> = names.map(|name| format!("DNS:{name}")).collect();
        fs::write(path.join("leaf.ext"), format!("subjectAltName={}\n", names.join(","))).unwrap();
        upstream.run(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
               -subj '/CN=A root' -keyout root.key -out root.pem
             openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
               -subj /CN=leaf -keyout leaf.key -out leaf.csr
             openssl x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 \
               -extfile leaf.ext -out leaf.pem
             chmod 644 root.pem",
        );
        upstream
    }

    /// Starts a server of this source in the directory, and waits until it says `ready`.
    #[track_caller]
    pub fn serve(&mut self, interpreter: &str, source: &str, arguments: &[&str]) {
        let script = self.place(&format!("server-{}", self.servers.len()));
        fs::write(&script, source).unwrap();
        let mut server = Command::new(interpreter)
            .arg(script)
            .args(arguments)
            .current_dir(self.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{interpreter} is needed by this test: {error}"));
        let stdout = server.stdout.take().expect("its standard output is a pipe");
        self.servers.push(server);
        let mut ready = String::new();
        BufReader::new(stdout).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n", "the server did not start");
    }

    /// Runs a script of the shell in the directory.
    #[track_caller]
    pub fn run(&self, script: &str) {
        let mut command = Command::new("/bin/sh");
        let output = command.args(["-ec", script]).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The directory of all this.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory.
    pub fn place(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A supervisor that believes in the root, with these policies besides `default`, and a floor that
    /// lets them open loopback, where the servers are.
    pub fn settings(&self, policies: &[(&str, &str)]) -> Settings {
        let floor = include_str!("../../policies/floor.toml");
        let floor = floor.replace("openable = [", "openable = [\n    \"loopback\",");
        let ours = [("default", include_str!("../../policies/default.toml")), ("floor", &floor)];
        let all = ours.iter().chain(policies);
        Settings {
            policies: all
                .map(|(name, text)| (format!("{name}.toml"), (*text).to_owned()))
                .collect(),
            upstream_roots: vec![self.place("root.pem")],
            ..Settings::default()
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for server in &mut self.servers {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }
}
