//! From a process to a daemon: confine it, open what it needs, take over what an earlier one left,
//! serve until it is told to stop.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use supervisor_api::{Mode, State};
use supervisor_policy::{Floor, PolicySet};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::admission::{Admission, Bounds};
use crate::config::Config;
use crate::confine;
use crate::dbus;
use crate::host::Host;
use crate::http::{Roles, Server};
use crate::launcher::Launcher;
use crate::live::LiveSet;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::recovery;
use crate::store::Store;
use crate::supervisor::{Inner, Supervisor};
use crate::top::Readings;

type Failure = Box<dyn Error + Send + Sync>;

/// Threads for blocking work at the most: writing input files, collecting artifacts.
const BLOCKING: usize = 16;

/// How long the first sandbox may take, which shows what this host can enforce.
const PROBE: Duration = Duration::from_secs(30);

/// How long the records of lost executions may take when the launcher is gone.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Name of root's floor among the policy files.
const FLOOR: &str = "floor.toml";

/// Mode of the API's socket: who may reach it is its directory's mode, and who calls is told by the kernel.
const ANYBODY: u32 = 0o666;

/// Mode of the metrics' socket, where whoever connects may read: the daemon's own user and group.
const OWN_GROUP: u32 = 0o660;

/// Everything a daemon is made from.
struct Parts {
    listener: UnixListener,
    metrics: Option<UnixListener>,
    launcher: OwnedFd,
    state: PathBuf,
    policies: PolicySet,
    config: Config,
}

/// Runs the installed service.
pub fn run(config: Config) -> Result<(), Failure> {
    supervisor_sys::close_on_exec_from(3)?;
    log();
    confine::harden()?;
    let policies = read_policies(&config.policies)?;
    let launcher = connect_to_launcher(&config.launcher)?;
    let listener = listen(&config.socket, ANYBODY)?;
    let metrics = config.metrics.as_deref().map(|path| listen(path, OWN_GROUP)).transpose()?;
    confine::restrict()?;
    let state = config.state.clone();
    let parts = Parts { listener, metrics, launcher, state, policies, config };
    runtime()?.block_on(serve(parts, Until::Signal))
}

/// Runs the daemon of a standalone supervisor: `arguments` are the directory, the uid, whether the
/// mode is strict, and the numbers of the two descriptors that were left open.
pub fn run_standalone(arguments: &[&str]) -> Result<(), Failure> {
    let [directory, uid, strict, listener, launcher] = arguments else {
        return Err("this command line is supervisord's own".into());
    };
    let listener = UnixListener::from(supervisor_sys::take_inherited(listener.parse()?)?);
    let launcher = supervisor_sys::take_inherited(launcher.parse()?)?;
    log();
    let uid: u32 = uid.parse()?;
    let privileged = nix::unistd::geteuid().is_root();
    confine::enter_small_root(Path::new(directory))?;
    if privileged {
        confine::become_user(uid)?;
    }
    confine::harden()?;
    confine::restrict()?;
    let mode = if strict.parse()? { Mode::Strict } else { Mode::BestEffort };
    let config = Config { mode, dbus: dbus::Address::Off, ..Config::default() };
    let state = PathBuf::from(confine::STATE);
    let policies = PolicySet::builtin().map_err(|problem| problem.to_string())?;
    let ready = format!("ready {directory}/api.sock");
    let parts = Parts { listener, metrics: None, launcher, state, policies, config };
    runtime()?.block_on(serve(parts, Until::InputEnds { ready }))
}

/// When to stop.
enum Until {
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input ends. The caller waits for a line that says that we are ready.
    InputEnds { ready: String },
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread().max_blocking_threads(BLOCKING).enable_all().build()
}

fn log() {
    use tracing_subscriber::EnvFilter;
    let filter =
        EnvFilter::try_from_env("SUPERVISORD_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
}

fn read_policies(directory: &Path) -> Result<PolicySet, Failure> {
    let mut files = HashMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(PolicySet::builtin().map_err(|problem| problem.to_string())?);
        }
        other => other?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.insert(name, fs::read_to_string(&path)?);
        }
    }
    let floor = match files.remove(FLOOR) {
        Some(text) => Floor::load(FLOOR, &text),
        None => Floor::builtin(),
    };
    let floor = floor.map_err(|problem| problem.to_string())?;
    Ok(PolicySet::load(files, floor).map_err(|problem| problem.to_string())?)
}

fn connect_to_launcher(path: &Path) -> io::Result<OwnedFd> {
    let kind = SockType::SeqPacket;
    let connection = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&connection), &UnixAddr::new(path)?).map_err(
        |error| {
            io::Error::new(
                io::Error::from(error).kind(),
                format!("the launcher's socket {}: {error}", path.display()),
            )
        },
    )?;
    Ok(connection)
}

/// Listens on the API's socket. One that a daemon left that was killed is replaced; the store's lock
/// keeps a second living daemon away.
fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

async fn serve(parts: Parts, until: Until) -> Result<(), Failure> {
    let Parts { listener, metrics, launcher, state, policies, config } = parts;
    let store = Store::open(&state)?;
    let places = Arc::new(Places::open(&state)?);
    let launcher = Launcher::start(launcher)?;
    let probe = Host::probe(&launcher, supervisor_sys::random_bits()?);
    let host = timeout(PROBE, probe).await.map_err(|_| "the launcher does not answer")?;
    if let (Some(unable), Until::InputEnds { .. }) = (host.unable(), &until) {
        return Err(
            format!("no sandbox can be made here: {}; {}", unable.reason, unable.remedy).into()
        );
    }
    let roles = Roles::new(config.admins.uids.clone(), config.admins.gids.clone());
    let supervisor = Supervisor::new(Inner {
        store,
        launcher,
        admission: Admission::new(Bounds::from(&config.bounds)),
        live: LiveSet::default(),
        places,
        policies,
        default_policy: config.default_policy,
        host,
        mode: config.mode,
        finished: AtomicU64::new(0),
        metrics: Metrics::default(),
        readings: Readings::default(),
        start: Instant::now(),
    });
    recovery::recover(supervisor.inner()).await?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let bus = tokio::spawn(dbus::serve(supervisor.clone(), config.dbus, stopped.clone()));
    let server = Server::new(Arc::new(supervisor.clone()), roles);
    let counts = serve_metrics(&supervisor, metrics, stopped.clone())?;
    let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
    let ended = tokio::select! {
        ended = wait(until) => ended,
        () = supervisor.inner().launcher.gone() => Err(launcher_is_gone(&supervisor).await),
    };
    stop.send_replace(true);
    serving.await?;
    bus.await?;
    counts.await?;
    supervisor.inner().store.close().await?;
    ended
}

/// Serves the metrics, and nothing else, on a socket of their own, where there is one.
fn serve_metrics(
    supervisor: &Supervisor,
    listener: Option<UnixListener>,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let Some(listener) = listener else { return Ok(tokio::spawn(async {})) };
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let server = Server::of_metrics(Arc::new(supervisor.clone()));
    Ok(tokio::spawn(async move { server.serve(listener, stop).await }))
}

/// Without a launcher there is nothing to do but to record what was lost with it, and to end: whoever
/// started us starts both anew.
async fn launcher_is_gone(supervisor: &Supervisor) -> Failure {
    let recorded = async {
        for live in supervisor.inner().live.all() {
            // An error says that its driver is done with it.
            drop(live.execution.subscribe().wait_for(|each| each.state == State::Finished).await);
        }
    };
    if timeout(LAST_RECORDS, recorded).await.is_err() {
        tracing::error!("some executions could not be recorded as lost; the next start does it");
    }
    "the launcher is gone".into()
}

async fn wait(until: Until) -> Result<(), Failure> {
    match until {
        Until::Signal => {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        }
        Until::InputEnds { ready } => {
            {
                let mut output = io::stdout().lock();
                writeln!(output, "{ready}")?;
                output.flush()?;
            }
            // A thread for blocking work: a read of standard input can't be taken back.
            let end = spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
            end.await??;
        }
    }
    Ok(())
}
