//! The server behind every proxy: nginx.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use super::authority::Certificates;
use super::program::{Program, free_address};

/// Bytes of the small answer.
pub const SMALL: usize = 1024;

/// Bytes of the large one.
const LARGE: u64 = 64 << 20;

/// Connections that it takes: ten thousand that do nothing, and more.
const CONNECTIONS: usize = 30_000;

/// The addresses of the server. Policies tell the uses by port.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// HTTP.
    pub plain: SocketAddr,
    /// HTTPS that is passed on.
    pub passed: SocketAddr,
    /// HTTPS that is looked into.
    pub inspected: SocketAddr,
    /// HTTP within a tunnel.
    pub bulk: SocketAddr,
}

/// The server.
#[derive(Debug)]
pub struct Upstream {
    _process: Program,
    /// Where it listens.
    pub at: Addresses,
}

impl Upstream {
    /// Starts it, with its files in a directory.
    ///
    /// # Errors
    /// Why nothing can be measured.
    pub fn start(directory: &Path, certificates: &Certificates) -> Result<Self, String> {
        let shown = |error: std::io::Error| error.to_string();
        let new = || free_address().map_err(shown);
        let at = Addresses { plain: new()?, passed: new()?, inspected: new()?, bulk: new()? };
        let large = directory.join("large");
        let file = fs::File::create(&large).and_then(|file| file.set_len(LARGE));
        file.map_err(shown)?;
        let path = directory.join("nginx.conf");
        fs::write(&path, configuration(directory, certificates, at)).map_err(shown)?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(directory).arg("-c").arg(path).args(["-e", "stderr"]);
        let listens = [at.plain, at.passed, at.inspected, at.bulk];
        let process = Program::start(&mut command, "nginx", directory, &listens)?;
        Ok(Self { _process: process, at })
    }
}

fn configuration(directory: &Path, certificates: &Certificates, at: Addresses) -> String {
    let (body, here) = ("x".repeat(SMALL), directory.display());
    let (leaf, key) = (certificates.leaf.0.display(), certificates.leaf.1.display());
    let Addresses { plain, passed, inspected, bulk } = at;
    format!(
        "daemon off;\nmaster_process off;\npid {here}/pid;\n\
         worker_rlimit_nofile {CONNECTIONS};\n\
         events {{ worker_connections {CONNECTIONS}; }}\n\
         http {{\n\
           access_log off;\n  sendfile on;\n  tcp_nopush on;\n\
           keepalive_requests 1000000000;\n  keepalive_timeout 3600s;\n\
           client_body_temp_path {here}/body;\n  proxy_temp_path {here}/proxy;\n\
           fastcgi_temp_path {here}/fastcgi;\n  uwsgi_temp_path {here}/uwsgi;\n\
           scgi_temp_path {here}/scgi;\n\
           ssl_certificate {leaf};\n  ssl_certificate_key {key};\n\
           server {{\n\
             listen {plain} backlog=4096;\n    listen {bulk} backlog=4096;\n\
             listen {passed} ssl backlog=4096;\n    listen {inspected} ssl backlog=4096;\n\
             root {here};\n\
             location = /small {{ return 200 {body}; }}\n\
           }}\n\
         }}\n"
    )
}
