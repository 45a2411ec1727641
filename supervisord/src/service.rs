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
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use supervisor_api::{Mode, State, What};
use supervisor_policy::{Floor, PolicySet};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::admission::{Admission, Bounds};
use crate::approval::Approvals;
use crate::audit::{self, Audit};
use crate::budget::Ledger;
use crate::config::Config;
use crate::confine;
use crate::host::Host;
use crate::http::{Roles, Server};
use crate::launcher::Launcher;
use crate::live::LiveSet;
use crate::places::Places;
use crate::recovery;
use crate::store::Store;
use crate::supervisor::{Inner, Supervisor};

type Failure = Box<dyn Error + Send + Sync>;

/// Threads for blocking work at the most: writing input files, collecting artifacts.
const BLOCKING: usize = 16;

/// How long the first sandbox may take, which shows what this host can enforce.
const PROBE: Duration = Duration::from_secs(30);

/// How long the records of lost executions may take when the launcher is gone.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Name of root's floor among the policy files.
const FLOOR: &str = "floor.toml";

/// Everything a daemon is made from.
struct Parts {
    listener: UnixListener,
    launcher: OwnedFd,
    state: PathBuf,
    policies: PolicySet,
    config: Config,
}

/// Runs the installed service.
pub fn run(config: Config) -> Result<(), Failure> {
    supervisor_sys::close_on_exec_from(3)?;
    log(config.audit.journal)?;
    confine::harden()?;
    let policies = read_policies(&config.policies)?;
    let launcher = connect_to_launcher(&config.launcher)?;
    let listener = listen(&config.socket)?;
    confine::restrict()?;
    let state = config.state.clone();
    let parts = Parts { listener, launcher, state, policies, config };
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
    log(false)?;
    let uid: u32 = uid.parse()?;
    let privileged = nix::unistd::geteuid().is_root();
    confine::enter_small_root(Path::new(directory))?;
    if privileged {
        confine::become_user(uid)?;
    }
    confine::harden()?;
    confine::restrict()?;
    let mode = if strict.parse()? { Mode::Strict } else { Mode::BestEffort };
    let config = Config { mode, ..Config::default() };
    let state = PathBuf::from(confine::STATE);
    let policies = PolicySet::builtin().map_err(|problem| problem.to_string())?;
    let ready = format!("ready {directory}/api.sock");
    let parts = Parts { listener, launcher, state, policies, config };
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

/// What the journal is told of; the target of records that go there.
const JOURNAL: &str = "supervisord::audit::journal";

fn log(journal: bool) -> Result<(), Failure> {
    use tracing_subscriber::filter::{FilterFn, Targets};
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    use tracing_subscriber::util::SubscriberInitExt as _;
    use tracing_subscriber::{EnvFilter, fmt};
    let filter =
        EnvFilter::try_from_env("SUPERVISORD_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let others = FilterFn::new(|event| event.target() != JOURNAL);
    let words = fmt::layer().with_writer(io::stderr).with_ansi(false);
    let words = words.with_filter(others).with_filter(filter);
    let records = match journal {
        true => {
            let layer = tracing_journald::layer().map_err(|error| {
                format!("can't reach journald, which is to have records: {error}")
            })?;
            let only = Targets::new().with_target(JOURNAL, tracing::Level::INFO);
            Some(layer.with_field_prefix(Some("AUDIT".to_owned())).with_filter(only))
        }
        false => None,
    };
    tracing_subscriber::registry().with(words).with(records).init();
    Ok(())
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
    let Parts { listener, launcher, state, policies, config } = parts;
    let store = Store::open(&state)?;
    let audit = Audit::open(&state, audit::Settings::from(&config.audit))?;
    let started = audit::start(&policies, config.mode, audit.key().public_key, audit.head());
    audit.write(started).await?;
    let budgets = Ledger::open(&state)?;
    let operators = config.operators.uids.iter().copied();
    let approvals = Approvals::open(&state, audit.clone(), operators)?;
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
        audit: audit.clone(),
        budgets: budgets.clone(),
        approvals,
        launcher,
        admission: Admission::new(Bounds::from(&config.bounds)),
        live: LiveSet::default(),
        places,
        policies,
        default_policy: config.default_policy,
        host,
        mode: config.mode,
        finished: AtomicU64::new(0),
    });
    recovery::recover(supervisor.inner()).await?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (stop, stopped) = watch::channel(false);
    let server = Server::new(Arc::new(supervisor.clone()), roles);
    let serving = tokio::spawn(async move { server.serve(listener, stopped).await });
    let ended = tokio::select! {
        ended = wait(until) => ended,
        () = supervisor.inner().launcher.gone() => Err(launcher_is_gone(&supervisor).await),
    };
    stop.send_replace(true);
    serving.await?;
    let closed = supervisor.inner().store.close().await;
    budgets.close().await;
    audit.note(What::Stop.about_nobody());
    audit.close().await;
    closed?;
    ended
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
