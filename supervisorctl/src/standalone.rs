//! A private supervisor for one call: started, used and ended by it. The child says `ready SOCKET`
//! when it listens; it ends, and takes all its state with it, when its standard input does. So it
//! never outlives us, however we end.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time;

use crate::cli::StandaloneOptions;
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::{console, terminal};

/// Environment variable that names another supervisord.
const PROGRAM_VARIABLE: &str = "SUPERVISORD_BIN";

/// The program's name beside ours.
const PROGRAM: &str = "supervisord";

/// How long it may take to listen: it probes the host and makes its state directory first.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to end: it kills what runs and removes its state.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// How long what it wrote last may take to arrive; it has ended by then.
const LAST_WORDS_PATIENCE: Duration = Duration::from_secs(1);

/// Bytes of its first line: "ready" and a path, which the kernel bounds at 108 for a socket.
const READY_MAX: u64 = 4096;

/// Bytes kept of its standard error, from the start, where the first failure is.
const WORDS_MAX: usize = 64 << 10;

/// A private supervisor that listens.
#[derive(Debug)]
pub struct Standalone {
    running: Running,
    client: Client,
}

/// The process, listening or not. Dropped, its standard input ends and so does it.
#[derive(Debug)]
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    words: Arc<Mutex<Vec<u8>>>,
    listener: tokio::task::JoinHandle<()>,
}

impl Standalone {
    /// Starts it and waits until it listens. `clients` is what this host's package clients have
    /// answered, where the policy asks: it has no file of it, and they are asked as who we are.
    pub async fn start(
        options: StandaloneOptions,
        clients: Option<String>,
        interrupts: &mut Interrupts,
    ) -> Result<Self, Failure> {
        let mut running = Running::spawn(&program()?, options, clients)?;
        let ready = tokio::select! {
            line = time::timeout(START_PATIENCE, running.first_line()) => line,
            () = interrupts.next() => {
                if let Err(failure) = running.end().await {
                    console::failure(&failure);
                }
                return Err(Failure::Interrupted("interrupted before it started".to_owned()));
            }
        };
        let words = match ready {
            Ok(Ok(line)) => match line.strip_prefix("ready ").map(Path::new) {
                Some(socket) if socket.is_absolute() => {
                    let client = Client::new(socket.to_owned());
                    return Ok(Self { running, client });
                }
                _ if line.is_empty() => "did not start".to_owned(),
                _ => format!("said {line:?} in place of where it listens"),
            },
            Ok(Err(error)) => format!("did not say where it listens: {error}"),
            Err(_) => format!("was not ready after {} s", START_PATIENCE.as_secs()),
        };
        Err(running.fail(&words).await)
    }

    /// The daemon's side of the interface.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends it; a failure if it does not end well.
    pub async fn end(self) -> Result<(), Failure> {
        self.running.end().await
    }
}

impl Running {
    fn spawn(
        program: &Path,
        options: StandaloneOptions,
        clients: Option<String>,
    ) -> Result<Self, Failure> {
        let shown = program.display();
        let mut child = Command::new(program)
            .arg("--standalone")
            .args(options.strict.then_some("--strict"))
            .args(clients.map(|answers| format!("--clients={answers}")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // It makes a session of its own, away from our terminal and its Ctrl-C. Only a process
            // that leads no group can do that, so it gets none from us.
            .spawn()
            .map_err(Failure::local(format!("cannot start {shown}")))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(Failure::Negative(format!("{shown} was started without pipes")));
        };
        let words = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::spawn(listen(stderr, Arc::clone(&words), options.verbose));
        Ok(Self { child, stdout: BufReader::new(stdout), words, listener })
    }

    /// Its first line; empty if it ended without one.
    async fn first_line(&mut self) -> Result<String, std::io::Error> {
        let mut line = String::new();
        (&mut self.stdout).take(READY_MAX).read_line(&mut line).await?;
        Ok(line.trim_end_matches('\n').to_owned())
    }

    async fn end(mut self) -> Result<(), Failure> {
        drop(self.child.stdin.take());
        let status = match time::timeout(END_PATIENCE, self.child.wait()).await {
            Ok(status) => status.map_err(Failure::local("cannot wait for the supervisor"))?,
            Err(_) => {
                let killed = self.child.kill().await;
                killed.map_err(Failure::local("cannot kill the private supervisor"))?;
                let seconds = END_PATIENCE.as_secs();
                let words = format!("did not end within {seconds} s and was killed");
                return Err(Failure::Negative(self.sentence(&words).await));
            }
        };
        if status.success() {
            return Ok(());
        }
        let words = format!("did not end well ({status})");
        Err(Failure::Negative(self.sentence(&words).await))
    }

    /// Ends it because of this.
    async fn fail(mut self, words: &str) -> Failure {
        drop(self.child.stdin.take());
        let status = match time::timeout(END_PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => match self.child.kill().await {
                Ok(()) => "killed".to_owned(),
                Err(error) => format!("not killed: {error}"),
            },
        };
        Failure::Negative(self.sentence(&format!("{words} ({status})")).await)
    }

    /// A sentence about it, with what it said itself.
    async fn sentence(&mut self, words: &str) -> String {
        // A descendant may still hold the pipe, so its end is not waited for without bound; what
        // has arrived by then is shown.
        time::timeout(LAST_WORDS_PATIENCE, &mut self.listener).await.ok();
        let said = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let said = String::from_utf8_lossy(&said);
        match said.trim_end() {
            "" => format!("the private supervisor {words}"),
            said => format!("the private supervisor {words}; it said:\n{}", terminal::words(said)),
        }
    }
}

/// The supervisord to start: nothing is looked up in PATH, because it may run as root.
fn program() -> Result<PathBuf, Failure> {
    if let Some(program) = env::var_os(PROGRAM_VARIABLE).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(program));
    }
    let own = env::current_exe().map_err(Failure::local("cannot tell where this program is"))?;
    let program = own.with_file_name(PROGRAM);
    if !program.is_file() {
        let words = format!("there is no {}; {PROGRAM_VARIABLE} names another", program.display());
        return Err(Failure::Negative(words));
    }
    Ok(program)
}

/// Keeps what is written, and shows it if asked to.
async fn listen(mut stderr: impl AsyncRead + Unpin, words: Arc<Mutex<Vec<u8>>>, show: bool) {
    let mut buffer = [0u8; 4096];
    while let Ok(count @ 1..) = stderr.read(&mut buffer).await {
        let piece = buffer.get(..count).unwrap_or_default();
        if show {
            let text = terminal::words(&String::from_utf8_lossy(piece));
            // Nobody to show it to is no reason to stop reading: the child would block.
            tokio::io::stderr().write_all(text.as_bytes()).await.ok();
        }
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WORDS_MAX.saturating_sub(words.len());
        words.extend_from_slice(piece.get(..count.min(room)).unwrap_or_default());
    }
}
