//! Making one: a sandbox, an interpreter in it, and its word that it waits.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::task::Poll;
use std::time::Duration;

use supervisor_api::{ApiError, ExecutionId, SessionId};
use supervisor_launch::{Descriptor, Malformed, STARTUP, Start};
use tokio::io::Interest;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::parked::{Condition, Held, Parked, Unwanted, doors};
use super::recipe::Recipe;
use crate::accounting;
use crate::driver;
use crate::launcher::{LaunchError, Sandbox};
use crate::plan;
use crate::readiness::register;
use crate::reports::{ended, feed};
use crate::settings::Generation;
use crate::supervisor::{Inner, policy};
use crate::top::Meter;
use crate::traffic::ClosedWay;
use crate::workspace;

/// What the interpreter does before it waits.
const PYTHON: &str = include_str!("python.py");

/// How long an interpreter may take to import what it is to import.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of its word at the most: the names of modules that can't be imported.
const MAX_WORD: usize = 4096;

/// What is parked has to be silent: whoever claims it answers for no word that was not its own.
const SPOKE: Unparked =
    Unparked::Interpreter("has tried to send something before it was told what to run");

/// Nothing was parked.
#[derive(Debug)]
pub enum Unparked {
    /// The launcher could not make a sandbox.
    Launch(LaunchError),
    /// Its policy can't be had any more, or a way out under it.
    Policy(ApiError),
    /// What is to be said to the interpreter can't be said.
    Start(Malformed),
    /// A descriptor failed us, or the launcher gave none.
    Descriptor(io::Error),
    /// The interpreter ended, or said something else.
    Interpreter(&'static str),
    /// The daemon is to stop.
    Stopped,
}

impl fmt::Display for Unparked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unparked::Launch(error) => write!(f, "no sandbox was made: {error}"),
            Unparked::Policy(error) => error.fmt(f),
            Unparked::Start(error) => write!(f, "its start can't be sent: {error}"),
            Unparked::Descriptor(error) => write!(f, "its descriptors can't be used: {error}"),
            Unparked::Interpreter(what) => write!(f, "the interpreter {what}"),
            Unparked::Stopped => f.write_str("the daemon stops"),
        }
    }
}

/// Makes one under the settings that the recipe is of. If that fails nothing of it is left.
pub async fn park(
    inner: &Inner,
    (recipe, settings): (&Recipe, &Generation),
    held: Held,
    unwanted: &mpsc::UnboundedSender<Unwanted>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Parked, Unparked> {
    let id = supervisor_sys::random_bits().map_err(Unparked::Descriptor)?;
    let way = close_way(recipe)?;
    let start = start(inner, (recipe, settings), way.as_ref())?;
    let mut made = inner.launcher.prepare(recipe.prepare(id)).await.map_err(Unparked::Launch)?;
    made.was_parked = true;
    let begun = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => Err(Unparked::Stopped),
        begun = begin(&made, recipe, &start) => begun,
    };
    match begun {
        Ok(()) => {
            let memory = accounting::now(&Meter::new(&made)).memory.unwrap_or_default();
            let parked = Parked::new(id, (made, way), held, memory, unwanted.clone());
            if parked.condition() == Condition::Spoke {
                destroy(inner, parked.into_unwanted()).await;
                return Err(SPOKE);
            }
            Ok(parked)
        }
        Err(error) => {
            let parked = Parked::new(id, (made, way), held, 0, unwanted.clone());
            destroy(inner, parked.into_unwanted()).await;
            Err(error)
        }
    }
}

/// Destroys what comes, for as long as it is polled.
pub async fn destroy_all(
    inner: &Inner,
    unwanted: &mut mpsc::UnboundedReceiver<Unwanted>,
) -> Infallible {
    loop {
        match unwanted.recv().await {
            Some(unwanted) => destroy(inner, unwanted).await,
            None => std::future::pending().await, // the sender is in the same place
        }
    }
}

/// Has the launcher destroy a sandbox. One that does not end keeps what it has of its owner's and of its session, and
/// holds up nothing else: it is tried again until it is gone.
pub async fn destroy(inner: &Inner, unwanted: Unwanted) {
    let id = ExecutionId::from_bits(unwanted.id);
    drop(driver::end_sandbox_with(&inner.launcher, id, unwanted.held).await); // what does not end is tried again
}

/// A way out of its own, in the session that it is in or in one that will be its execution's.
fn close_way(recipe: &Recipe) -> Result<Option<ClosedWay>, Unparked> {
    let Some(listeners) = recipe.listeners() else { return Ok(None) };
    let session = match recipe.session() {
        Some(session) => session,
        None => SessionId::from_bits(supervisor_sys::random_bits().map_err(Unparked::Descriptor)?),
    };
    ClosedWay::new(session, listeners).map(Some).map_err(Unparked::Policy)
}

/// Starts the interpreter and waits for its word.
async fn begin(sandbox: &Sandbox, recipe: &Recipe, start: &[u8]) -> Result<(), Unparked> {
    // The pipe itself stays open: the second message goes the same way.
    let pipe = descriptor(sandbox, Descriptor::Start)?;
    feed(pipe, start).await.map_err(Unparked::Descriptor)?;
    let process = descriptor(sandbox, Descriptor::Process)?;
    let missing = tokio::select! {
        biased;
        spoke = speech(sandbox) => return Err(spoke.map_or_else(Unparked::Descriptor, |()| SPOKE)),
        word = timeout(PATIENCE, word(sandbox)) => {
            word.map_err(|_| Unparked::Interpreter("takes too long"))??
        }
        _ = ended(&process) => return Err(Unparked::Interpreter("ended")),
    };
    if !missing.is_empty() {
        let policy = recipe.policy();
        tracing::warn!(policy, missing, "modules that can't be imported ahead");
    }
    Ok(())
}

fn descriptor(sandbox: &Sandbox, place: Descriptor) -> Result<OwnedFd, Unparked> {
    let lacking = || io::Error::other("the launcher gave none");
    let fd = sandbox.get(place).ok_or_else(lacking).and_then(|fd| fd.try_clone());
    fd.map_err(Unparked::Descriptor)
}

/// The program with the names of the modules in it, which have no character that could end a string.
fn program(modules: &[String]) -> String {
    let names: Vec<String> = modules.iter().map(|name| format!("{name:?}")).collect();
    format!("{PYTHON}park([{}])\nraise ImportError(name=\"usercustomize\")\n", names.join(", "))
}

/// Returns once something in a sandbox has tried to reach anybody. Nobody has heard it.
async fn speech(sandbox: &Sandbox) -> io::Result<()> {
    let sockets = doors(sandbox).map(|socket| register(socket.as_fd(), Interest::READABLE));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    poll_fn(|waiting| {
        let mut polled = sockets.iter().map(|socket| socket.poll_read_ready(waiting));
        if polled.any(|ready| ready.is_ready()) { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// What its interpreter is started with. In a session its home is not the workspace until it is claimed: nothing
/// that somebody left there acts on it.
fn start(
    inner: &Inner,
    (recipe, settings): (&Recipe, &Generation),
    way: Option<&ClosedWay>,
) -> Result<Vec<u8>, Unparked> {
    let policy = policy(settings, recipe.policy()).map_err(Unparked::Policy)?;
    let of_way = way.map(|way| way.environment(inner, &policy)).transpose();
    let of_way = of_way.map_err(Unparked::Policy)?.unwrap_or_default();
    let usual = plan::usual_environment(&policy, &of_way);
    let mut environment = usual.map_err(Unparked::Policy)?;
    if recipe.session().is_some() {
        environment.retain(|entry| !entry.starts_with(b"HOME="));
        environment.push(b"HOME=/nonexistent".to_vec());
    }
    let directory = STARTUP.rsplit_once('/').map_or("", |(directory, _)| directory);
    environment.push(format!("PYTHONPATH={directory}").into_bytes());
    let script = format!("{}/main.py", workspace::MOUNT_POINT).into_bytes();
    let start = Start {
        cwd: workspace::MOUNT_POINT.into(),
        argv: vec![b"python3".to_vec(), b"-u".to_vec(), script],
        environment,
        authority: way.map(ClosedWay::certificate).unwrap_or_default().into_bytes(),
        parks: Some(program(&recipe.interpreter().modules).into_bytes()),
    };
    start.encode().map_err(Unparked::Start)
}

/// Reads the interpreter's word, a line: the names of what it could not import.
async fn word(sandbox: &Sandbox) -> Result<String, Unparked> {
    let stdout = register(descriptor(sandbox, Descriptor::Stdout)?, Interest::READABLE)
        .map_err(Unparked::Descriptor)?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut guard = stdout.readable().await.map_err(Unparked::Descriptor)?;
        let mut byte = [0];
        let read = guard.try_io(|stdout| Ok(nix::unistd::read(stdout.get_ref(), &mut byte)?));
        match read {
            Err(_would_block) => {}
            Ok(Ok(1)) if line.len() < MAX_WORD => line.extend(byte),
            Ok(Ok(_)) => return Err(Unparked::Interpreter("said something else and nothing more")),
            Ok(Err(error)) => return Err(Unparked::Descriptor(error)),
        }
    }
    let line = String::from_utf8_lossy(&line);
    let missing = line.strip_prefix("parked ");
    missing
        .map(|names| names.trim_end().to_owned())
        .ok_or(Unparked::Interpreter("said something else"))
}
