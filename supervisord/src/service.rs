//! From a process to a daemon: confine it, open what it needs, take over what an earlier one left,
//! serve until it is told to stop.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use supervisor_api::{Mode, State, What};
use supervisor_egress::Shared;
use supervisor_launch::VERSION;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::admission::Admission;
use crate::approval::Approvals;
use crate::audit::{self, Audit};
use crate::budget::Ledger;
use crate::confine;
use crate::credentials::{Credentials, Loaded, TokenEndpoints};
use crate::dbus;
use crate::delayed::Delayed;
use crate::digests::Digests;
use crate::elsewhere;
use crate::hard_limits;
use crate::host::Host;
use crate::http::{Roles, Server};
use crate::interpreter::InterpreterSet;
use crate::journal;
use crate::keeping::Keeping;
use crate::launcher::Launcher;
use crate::listening::{listen, listening};
use crate::live::LiveSet;
use crate::metrics::Metrics;
use crate::places::Places;
use crate::reach::reach;
use crate::recovery;
use crate::refusals::Refusals;
use crate::room::Room;
use crate::session::{self, Moving, SessionSet, Settling, Writing};
use crate::settings::Settings;
use crate::spare;
use crate::store::{Held, Store};
use crate::supervisor::{Inner, Supervisor};
use crate::systemd;
use crate::threads::Threads;
use crate::top::Readings;
use crate::traffic::{self, Gauges};
use crate::warm::Warm;

type Failure = Box<dyn Error + Send + Sync>;

/// The launcher has ended, by itself or because somebody stopped it. The unit starts the daemon again for it, and does
/// not call it a failure of the daemon's: stopped together, either may be first.
#[derive(Debug)]
pub struct LauncherGone;

impl LauncherGone {
    /// The status that says so: EX_TEMPFAIL (sysexits.h).
    pub const STATUS: u8 = 75;
}

impl fmt::Display for LauncherGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the launcher is gone")
    }
}

impl Error for LauncherGone {}

/// Threads for blocking work at the most. What callers can make long is shared out (`threads`, `http::bounds`), and comes
/// to 47 together; the others are for what everybody waits for: output, files and the disk.
const BLOCKING: usize = 50;

/// How long the first sandbox may take, which shows what this host can enforce.
const PROBE: Duration = Duration::from_secs(30);

/// How long it may take at a stop to destroy what is parked: a sandbox that does not end takes the launcher three
/// seconds. The next start ends what is left.
const LAST_PARKED: Duration = Duration::from_secs(5);

/// How long the records of lost executions may take when the launcher is gone.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Mode of the API's socket: who may reach it is its directory's mode, and who calls is told by the kernel.
const ANYBODY: u32 = 0o666;

/// Mode of the metrics' socket, where whoever connects may read: the daemon's own user and group.
const OWN_GROUP: u32 = 0o660;

/// Everything a daemon is made from.
struct Parts {
    listener: UnixListener,
    metrics: Option<UnixListener>,
    /// Its socket, and the version it speaks.
    launcher: (OwnedFd, u16),
    state: PathBuf,
    held: Held,
    settings: Settings,
    credentials: Loaded,
    token_endpoint_networks: Vec<IpNet>,
    traffic: Option<Arc<Shared>>,
    bus: dbus::Address,
    audit: audit::Settings,
    /// Uids that may answer what a policy has a person asked.
    operators: Vec<u32>,
}

/// How long a thread for blocking work is kept that has none: where no other can be made for a while, work waits
/// for one that there is, and without any the runtime would end the daemon.
const KEPT_THREADS: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Runs the installed service.
pub fn run(path: &Path) -> Result<(), Failure> {
    supervisor_sys::close_on_exec_from(3)?;
    let mut sockets = systemd::sockets()?;
    journal::begin("info,rmcp=error")?;
    #[cfg(debug_assertions)]
    crate::fault::arm()?;
    confine::keep_memory_out_of_dumps();
    confine::harden()?;
    let (settings, config, credentials) = Settings::read(path)?;
    // First of all: a second daemon must not take anything that the first one has, its sockets' names included.
    let held = Held::take(&config.state)?;
    let launcher = reach(&config.launcher)?;
    let listener = match sockets.remove(systemd::API_SOCKET) {
        Some(socket) => listening(socket)?,
        None => listen(&config.socket, ANYBODY)?,
    };
    let metrics = match sockets.remove(systemd::METRICS_SOCKET) {
        Some(socket) => Some(listening(socket)?),
        None => config.metrics.as_deref().map(|path| listen(path, OWN_GROUP)).transpose()?,
    };
    if let Some(name) = sockets.keys().next() {
        return Err(format!("nothing listens on a socket of the name {name:?}").into());
    }
    let traffic = traffic::of_the_host(&config.upstream_roots)?;
    confine::restrict()?;
    let parts = Parts {
        listener,
        metrics,
        launcher,
        state: config.state,
        held,
        settings,
        credentials,
        token_endpoint_networks: config.token_endpoint_networks,
        traffic,
        bus: config.dbus,
        audit: audit::Settings::from(&config.audit),
        operators: config.operators.uids,
    };
    run_to_the_end(serve(parts, Until::Signal))
}

/// Runs the daemon of a standalone supervisor: `arguments` are the directory, the uid, whether the
/// mode is strict, what the host's package clients answered, and the numbers of the two descriptors that
/// were left open.
pub fn run_standalone(arguments: &[&str]) -> Result<(), Failure> {
    let [directory, uid, strict, clients, listener, launcher] = arguments else {
        return Err("this command line is supervisord's own".into());
    };
    hard_limits::share();
    let listener = listening(supervisor_sys::take_inherited(listener.parse()?)?)?;
    // It was started with us, so it is of our version.
    let launcher = (supervisor_sys::take_inherited(launcher.parse()?)?, VERSION);
    journal::begin("warn,rmcp=error")?;
    confine::keep_memory_out_of_dumps();
    let uid: u32 = uid.parse()?;
    let traffic = traffic::of_the_host(&[])?;
    let privileged = nix::unistd::geteuid().is_root();
    confine::enter_small_root(Path::new(directory))?;
    if privileged {
        confine::become_user(uid)?;
    }
    confine::harden()?;
    confine::restrict()?;
    let mode = if strict.parse()? { Mode::Strict } else { Mode::BestEffort };
    let settings = Settings::builtin(mode, clients)?;
    let state = PathBuf::from(confine::STATE);
    let held = Held::take(&state)?;
    let ready = format!("ready {directory}/api.sock");
    let parts = Parts {
        listener,
        metrics: None,
        launcher,
        state,
        held,
        settings,
        credentials: Loaded::default(),
        token_endpoint_networks: Vec::new(),
        traffic,
        bus: dbus::Address::Off,
        audit: audit::Settings::default(),
        operators: Vec::new(),
    };
    run_to_the_end(serve(parts, Until::InputEnds { ready }))
}

/// When to stop.
enum Until {
    /// SIGTERM or SIGINT.
    Signal,
    /// Standard input ends. The caller waits for a line that says that we are ready.
    InputEnds { ready: String },
}

fn run_to_the_end(daemon: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    elsewhere::start()?;
    let ended = runtime()?.block_on(daemon); // with its last word the runtime lets go of what is still open
    elsewhere::finish();
    ended
}

fn runtime() -> io::Result<runtime::Runtime> {
    runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(KEPT_THREADS)
        .enable_all()
        .build()
}

async fn serve(parts: Parts, until: Until) -> Result<(), Failure> {
    let Parts { listener, metrics, launcher, state, held, settings, bus, .. } = parts;
    let is_installed = matches!(until, Until::Signal);
    spare::take(&state);
    let store = Store::open_held(held)?;
    let audit = Audit::open(&state, parts.audit)?;
    let first = settings.current();
    let started = audit::start(&first.policies, first.mode, audit.key().public_key, audit.head());
    audit.write(started).await?;
    let budgets = Ledger::open(&state)?;
    budgets.limit_uids(first.uid_budgets.clone());
    let approvals = Approvals::open(&state, audit.clone(), parts.operators)?;
    let roots = parts.traffic.as_ref().map(|traffic| traffic.roots().clone());
    let dial = Arc::new(TokenEndpoints::new(parts.token_endpoint_networks, roots));
    let credentials = Credentials::open(&state, parts.credentials, dial, audit.clone())?;
    let places = Arc::new(Places::open(&state)?);
    let room = Arc::new(Room::new(places.directory()?, first.state_free_bytes));
    let writing = Writing::open(&state)?;
    let (moving, settling) = (Moving::open(&state)?, Settling::look(&state)?);
    let launcher = Launcher::start(launcher.0, launcher.1)?;
    let probe = Host::probe(&launcher, supervisor_sys::random_bits()?);
    let host = timeout(PROBE, probe).await.map_err(|_| "the launcher does not answer")?;
    if let (Some(unable), Until::InputEnds { .. }) = (host.unable(), &until) {
        return Err(
            format!("no sandbox can be made here: {}; {}", unable.reason, unable.remedy).into()
        );
    }
    let roles = Roles::new(first.admin_uids.clone(), first.admin_gids.clone());
    let supervisor = Supervisor::new(Inner {
        keeping: Keeping::default(),
        store,
        audit: audit.clone(),
        refusals: Arc::new(Refusals::of_submissions()),
        refused_traffic: Arc::new(Refusals::of_traffic()),
        budgets: budgets.clone(),
        approvals,
        launcher,
        admission: Admission::new(first.bounds),
        live: LiveSet::default(),
        warm: Warm::default(),
        sessions: SessionSet::default(),
        interpreters: InterpreterSet::default(),
        threads: Threads::default(),
        watched: session::Watched::default(),
        places,
        writing,
        moving,
        settling,
        settings,
        roles: roles.clone(),
        credentials,
        traffic: parts.traffic,
        gauges: Gauges::default(),
        delayed: Delayed::default(),
        room,
        digests: Digests::default(),
        host,
        finished: AtomicU64::new(0),
        metrics: Metrics::default(),
        readings: Readings::default(),
        start: Instant::now(),
    });
    let take_over = async {
        recovery::recover(supervisor.inner()).await?;
        supervisor.finish_applying().await;
        Ok::<(), Failure>(())
    };
    tokio::select! {
        taken = take_over => taken?,
        never = systemd::more_time() => match never {},
    }
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let expiry = tokio::spawn(session::watch(supervisor.clone()));
    let (keeper, stop_keeping) = (supervisor.inner().clone(), stopped.clone());
    let mut keeper = tokio::spawn(async move { keeper.warm.keep(&keeper, stop_keeping).await });
    let bus = tokio::spawn(dbus::serve(supervisor.clone(), bus, stopped.clone()));
    let server = Server::new(Arc::new(supervisor.clone()), roles);
    let counts = serve_metrics(&supervisor, metrics, stopped.clone())?;
    let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
    systemd::ready("serving, generation 1");
    let ended = tokio::select! {
        ended = wait(until, &supervisor) => ended,
        never = systemd::signs_of_life() => match never {},
        () = supervisor.inner().launcher.gone() => Err(launcher_is_gone(&supervisor).await.into()),
    };
    systemd::stopping();
    stop.send_replace(true);
    expiry.abort();
    serving.await?;
    bus.await?;
    counts.await?;
    match timeout(LAST_PARKED, &mut keeper).await {
        Ok(kept) => kept?,
        Err(_elapsed) => {
            tracing::warn!("what is parked is left to the next start");
            keeper.abort();
        }
    }
    let _no_more_asks = supervisor.inner().credentials.close().await;
    let closed = supervisor.inner().store.close().await;
    budgets.close().await;
    supervisor.inner().refusals.tell_all(&audit);
    supervisor.inner().refused_traffic.tell_all(&audit);
    audit.note(What::Stop.about_nobody());
    audit.close().await;
    drop(supervisor);
    if is_installed {
        spare::leave(&state);
    }
    closed?;
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
async fn launcher_is_gone(supervisor: &Supervisor) -> LauncherGone {
    journal::launcher_gone();
    let recorded = async {
        let all = supervisor.inner().live.all().into_iter();
        // Those that wait have their turn under the next daemon.
        for live in all.filter(|live| !live.waits.load(Ordering::Relaxed)) {
            // An error says that its driver is done with it.
            drop(live.execution.subscribe().wait_for(|each| each.state == State::Finished).await);
        }
    };
    if timeout(LAST_RECORDS, recorded).await.is_err() {
        tracing::error!("some executions could not be recorded as lost; the next start does it");
    }
    LauncherGone
}

/// systemd.service(5), `ExecReload=`, asks for this on SIGHUP: a word at the beginning and one at the end.
async fn on_hangup(supervisor: &Supervisor) {
    systemd::reloading();
    let status = match supervisor.read_anew(None).await {
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
            let reload = async {
                while hangup.recv().await.is_some() {
                    on_hangup(supervisor).await;
                }
                pending().await
            };
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                never = reload => match never {}, // files that take their time keep nobody from ending it
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
