//! From a process to a daemon: confine it, open what it needs, take over what an earlier one left,
//! serve until it is told to stop.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ipnet::IpNet;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, socket, sockopt,
};
use supervisor_api::{Mode, State};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admission::Admission;
use crate::confine;
use crate::credentials::{Credentials, Loaded, TokenEndpoints};
use crate::dbus;
use crate::host::Host;
use crate::http::{Roles, Server};
use crate::journal;
use crate::launcher::Launcher;
use crate::live::LiveSet;
use crate::places::Places;
use crate::recovery;
use crate::settings::Settings;
use crate::store::Store;
use crate::supervisor::{Inner, Supervisor};
use crate::systemd;

type Failure = Box<dyn Error + Send + Sync>;

/// Threads for blocking work at the most: writing input files, collecting artifacts.
const BLOCKING: usize = 16;

/// How long the first sandbox may take, which shows what this host can enforce.
const PROBE: Duration = Duration::from_secs(30);

/// How long the records of lost executions may take when the launcher is gone.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Everything a daemon is made from.
struct Parts {
    listener: UnixListener,
    launcher: OwnedFd,
    state: PathBuf,
    settings: Settings,
    credentials: Loaded,
    token_endpoint_networks: Vec<IpNet>,
    bus: dbus::Address,
}

/// Runs the installed service.
pub fn run(path: &Path) -> Result<(), Failure> {
    supervisor_sys::close_on_exec_from(3)?;
    let mut sockets = systemd::sockets()?;
    journal::begin("info")?;
    confine::harden()?;
    let (settings, config, credentials) = Settings::read(path)?;
    let launcher = connect_to_launcher(&config.launcher)?;
    let listener = match sockets.remove(systemd::API_SOCKET) {
        Some(socket) => listening(socket)?,
        None => listen(&config.socket)?,
    };
    if let Some(name) = sockets.keys().next() {
        return Err(format!("nothing listens on a socket of the name {name:?}").into());
    }
    confine::restrict()?;
    let parts = Parts {
        listener,
        launcher,
        state: config.state,
        settings,
        credentials,
        token_endpoint_networks: config.token_endpoint_networks,
        bus: config.dbus,
    };
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
    journal::begin("warn")?;
    let uid: u32 = uid.parse()?;
    let privileged = nix::unistd::geteuid().is_root();
    confine::enter_small_root(Path::new(directory))?;
    if privileged {
        confine::become_user(uid)?;
    }
    confine::harden()?;
    confine::restrict()?;
    let mode = if strict.parse()? { Mode::Strict } else { Mode::BestEffort };
    let settings = Settings::builtin(mode)?;
    let state = PathBuf::from(confine::STATE);
    let ready = format!("ready {directory}/api.sock");
    let bus = dbus::Address::Off;
    let (credentials, token_endpoint_networks) = (Loaded::default(), Vec::new());
    let parts =
        Parts { listener, launcher, state, settings, credentials, token_endpoint_networks, bus };
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

/// A socket that was handed in. Who may reach it is its unit's word.
fn listening(socket: OwnedFd) -> io::Result<UnixListener> {
    let listens = getsockopt(&socket, sockopt::AcceptConn)?;
    if listens && getsockopt(&socket, sockopt::SockType)? == SockType::Stream {
        return Ok(UnixListener::from(socket));
    }
    Err(io::Error::other("the socket that was handed in is not a listening stream"))
}

/// Listens on the API's socket. One that a daemon left that was killed is replaced; the store's lock
/// keeps a second living daemon away.
fn listen(path: &Path) -> io::Result<UnixListener> {
    use std::os::unix::fs::PermissionsExt;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?; // who may reach it is its directory's mode
    Ok(listener)
}

async fn serve(parts: Parts, until: Until) -> Result<(), Failure> {
    let Parts { listener, launcher, state, settings, credentials, token_endpoint_networks, bus } =
        parts;
    let store = Store::open(&state)?;
    let dial = Arc::new(TokenEndpoints::new(token_endpoint_networks));
    let credentials = Credentials::open(&state, credentials, dial)?;
    let places = Arc::new(Places::open(&state)?);
    let launcher = Launcher::start(launcher)?;
    let probe = Host::probe(&launcher, supervisor_sys::random_bits()?);
    let host = timeout(PROBE, probe).await.map_err(|_| "the launcher does not answer")?;
    if let (Some(unable), Until::InputEnds { .. }) = (host.unable(), &until) {
        return Err(
            format!("no sandbox can be made here: {}; {}", unable.reason, unable.remedy).into()
        );
    }
    let first = settings.current();
    let roles = Roles::new(first.admin_uids.clone(), first.admin_gids.clone());
    let supervisor = Supervisor::new(Inner {
        store,
        launcher,
        admission: Admission::new(first.bounds),
        live: LiveSet::default(),
        places,
        settings,
        roles: roles.clone(),
        credentials,
        host,
        finished: AtomicU64::new(0),
    });
    recovery::recover(supervisor.inner()).await?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let bus = tokio::spawn(dbus::serve(supervisor.clone(), bus, stopped.clone()));
    let server = Server::new(Arc::new(supervisor.clone()), roles);
    let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
    systemd::ready("serving, generation 1");
    let ended = tokio::select! {
        ended = wait(until, &supervisor) => ended,
        never = systemd::signs_of_life() => match never {},
        () = supervisor.inner().launcher.gone() => Err(launcher_is_gone(&supervisor).await),
    };
    systemd::stopping();
    stop.send_replace(true);
    serving.await?;
    bus.await?;
    supervisor.inner().store.close().await?;
    ended
}

/// Without a launcher there is nothing to do but to record what was lost with it, and to end: whoever
/// started us starts both anew.
async fn launcher_is_gone(supervisor: &Supervisor) -> Failure {
    journal::launcher_gone();
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

/// systemd.service(5), `ExecReload=`, asks for this on SIGHUP: a word at the beginning and one at the end.
async fn on_hangup(supervisor: &Supervisor) {
    systemd::reloading();
    let status = match supervisor.read_anew().await {
        Ok(reloaded) => format!("serving, generation {}", reloaded.generation),
        Err(error) => format!("serving; a reload failed: {}", error.detail),
    };
    systemd::ready(status.lines().next().unwrap_or_default());
}

async fn wait(until: Until, supervisor: &Supervisor) -> Result<(), Failure> {
    match until {
        Until::Signal => {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut hangup = signal(SignalKind::hangup())?;
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = hangup.recv() => on_hangup(supervisor).await,
                }
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
