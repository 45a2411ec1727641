//! The proxies of other projects, each set up as its own documentation shows it. squid writes its usual
//! access log; mitmproxy none; tinyproxy none, because it would have every line on disk before it goes
//! on. None of them has a rule to look at.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::authority::Certificates;
use super::door::{Door, Whose};
use super::program::{Program, command_as, free_address};
use super::upstream::Addresses;

/// Connections that squid and tinyproxy are allowed.
const CONNECTIONS: usize = 4096;

/// A proxy that runs, and its door; or why it can't take part.
pub type Peer = Result<(Program, Door), String>;

/// squid, with TLS inspection on a port of its own.
pub fn squid(directory: &Path, certificates: &Certificates) -> Peer {
    const PACKAGE: &str = "squid-openssl";
    const MINTER: &str = "/usr/lib/squid/security_file_certgen";
    let shown = |error: io::Error| error.to_string();
    let mut command = command_as("proxy", "squid", PACKAGE)?;
    let here = own(directory, "squid", Some("proxy")).map_err(shown)?;
    let (proxy, inspecting) = (free_address().map_err(shown)?, free_address().map_err(shown)?);
    let database = here.join("certificates");
    let mut minter = command_as("proxy", MINTER, PACKAGE)?;
    let minter = minter.args(["-c", "-s"]).arg(&database).args(["-M", "16MB"]).output();
    let minted = minter.map_err(|_| format!("not measured (install {PACKAGE})"))?;
    if !minted.status.success() {
        let words = String::from_utf8_lossy(&minted.stderr);
        return Err(format!("not measured: {}", words.trim_end()));
    }
    let path = here.join("squid.conf");
    let (authority, root) = (certificates.inspecting.display(), certificates.root.display());
    let (database, shown_here) = (database.display(), here.display());
    let text = format!(
        "pid_filename none\nvisible_hostname benchmark\nmax_filedescriptors {CONNECTIONS}\n\
         http_port {proxy}\n\
         http_port {inspecting} ssl-bump generate-host-certificates=on \
         dynamic_cert_mem_cache_size=16MB tls-cert={authority}\n\
         sslcrtd_program {MINTER} -s {database} -M 16MB\n\
         tls_outgoing_options cafile={root}\n\
         http_access allow all\n\
         acl first at_step SslBump1\nssl_bump peek first\nssl_bump bump all\ncache deny all\npinger_enable off\n\
         shutdown_lifetime 0 seconds\ncoredump_dir {shown_here}\n\
         access_log stdio:{shown_here}/access.log\ncache_log {shown_here}/cache.log\n"
    );
    fs::write(&path, text).map_err(shown)?;
    command.arg("-N").arg("-f").arg(path);
    let program = Program::start(&mut command, PACKAGE, &here, &[proxy, inspecting])?;
    let authority = certificate(&certificates.inspecting)?;
    Ok(door(Whose::Squid, program, proxy, Some((inspecting, authority))))
}

/// tinyproxy.
pub fn tinyproxy(directory: &Path) -> Peer {
    let shown = |error: io::Error| error.to_string();
    let here = own(directory, "tinyproxy", None).map_err(shown)?;
    let proxy = free_address().map_err(shown)?;
    let path = here.join("tinyproxy.conf");
    let text = format!(
        "Listen {}\nPort {}\nTimeout 600\nMaxClients {CONNECTIONS}\nAllow 127.0.0.1\n\
         LogLevel Warning\nLogFile \"{}\"\n",
        proxy.ip(),
        proxy.port(),
        here.join("access.log").display()
    );
    fs::write(&path, text).map_err(shown)?;
    let mut command = Command::new("tinyproxy");
    command.arg("-d").arg("-c").arg(path);
    let program = Program::start(&mut command, "tinyproxy", &here, &[proxy])?;
    Ok(door(Whose::Tinyproxy, program, proxy, None))
}

/// mitmproxy, without its user interface; it doesn't look into what is to be passed on.
pub fn mitmproxy(directory: &Path, certificates: &Certificates, at: Addresses) -> Peer {
    let shown = |error: io::Error| error.to_string();
    let here = own(directory, "mitmproxy", None).map_err(shown)?;
    let proxy = free_address().map_err(shown)?;
    let mut command = Command::new("mitmdump");
    let passed = format!(":({}|{})$", at.passed.port(), at.bulk.port());
    command
        .args(["-q", "--listen-host", &proxy.ip().to_string()])
        .args(["--listen-port", &proxy.port().to_string(), "--ignore-hosts", &passed])
        .args(["--set", &format!("confdir={}", here.display())])
        .args([
            "--set",
            &format!("ssl_verify_upstream_trusted_ca={}", certificates.root.display()),
        ]);
    let program = Program::start(&mut command, "mitmproxy", &here, &[proxy])?;
    let authority = certificate(&here.join("mitmproxy-ca-cert.pem"))?;
    Ok(door(Whose::Mitmproxy, program, proxy, Some((proxy, authority))))
}

fn door(
    whose: Whose,
    program: Program,
    proxy: SocketAddr,
    inspecting: Option<(SocketAddr, CertificateDer<'static>)>,
) -> (Program, Door) {
    let processes = vec![program.id()];
    let (inspecting, authority) = inspecting.unzip();
    let door =
        Door { whose, proxy: Some(proxy), inspecting, authority, namespace: None, processes };
    (program, door)
}

/// A directory for a proxy's files, which an account of its own may have to write.
fn own(directory: &Path, name: &str, account: Option<&str>) -> io::Result<PathBuf> {
    let path = directory.join(name);
    fs::create_dir(&path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    if let Some(user) = account.and_then(|account| User::from_name(account).ok().flatten()) {
        chown(&path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
    }
    Ok(path)
}

/// The certificate in a file in PEM.
pub fn certificate(path: &Path) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_file(path).map_err(|error| format!("{}: {error}", path.display()))
}
