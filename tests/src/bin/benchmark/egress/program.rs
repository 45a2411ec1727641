//! Programs of other projects that run in the background for the length of the measurement.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::unistd::User;

/// How long a program may take until it listens; mitmproxy needs seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program that runs until this is dropped.
#[derive(Debug)]
pub struct Program(Child);

impl Program {
    /// Starts it and waits until it listens everywhere. Its words are in `log` beneath a directory.
    ///
    /// # Errors
    /// Why it can't take part, in words for a table; `package` is what to install.
    pub fn start(
        command: &mut Command,
        package: &str,
        directory: &Path,
        listens: &[SocketAddr],
    ) -> Result<Self, String> {
        let shown = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => format!("not measured (install {package})"),
            _ => format!("can't be started: {error}"),
        };
        let log = directory.join("log");
        let words = fs::File::create(&log).map_err(shown)?;
        let both = words.try_clone().map_err(shown)?;
        command.stdin(Stdio::null()).stdout(words).stderr(both).current_dir("/");
        let mut own = Self(command.spawn().map_err(shown)?);
        let until = Instant::now() + PATIENCE;
        while !listens.iter().all(|address| TcpStream::connect(address).is_ok()) {
            let ended = own.0.try_wait().map_err(shown)?;
            if ended.is_some() || Instant::now() > until {
                let words = fs::read_to_string(&log).unwrap_or_default();
                let last = words.lines().last().unwrap_or("it does not say why");
                return Err(format!("does not work here: {last}"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(own)
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended by itself was noticed by those that talk to it.
        if let Err(error) = self.0.kill().and_then(|()| self.0.wait()) {
            eprintln!("benchmark: a program could not be ended: {error}");
        }
    }
}

/// A port of this host's that nobody has, for a program that has to be told one.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A command that runs as the account that a package has made for it.
///
/// # Errors
/// When there is no such account, in words for a table.
pub fn command_as(account: &str, program: &str, package: &str) -> Result<Command, String> {
    let found = User::from_name(account).map_err(|error| error.to_string())?;
    let user = found.ok_or_else(|| format!("not measured (install {package})"))?;
    let mut command = Command::new(program);
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    Ok(command)
}
