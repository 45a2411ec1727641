//! The way to the launcher: one datagram and one reply per operation, in order. A task owns the
//! socket; everybody else sends it requests.

mod silence;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use supervisor_launch::{
    Applied, Descriptor, Kept, MAX_LISTED, MAX_MESSAGE, Prepare, Reply, Request, Step,
};
use supervisor_sys::{receive_what_fits, send};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

pub use self::silence::SILENCE;
use self::silence::{Noted, Silence, silence};
use crate::elsewhere::{Elsewhere, NOBODY};
use crate::in_turn::{InTurn, Piece};
use crate::readiness::register;

/// Requests that may wait for the socket. Each is a hundred bytes; admission bounds them anyway.
const QUEUE: usize = 1024;

/// Workspaces that the launcher makes or removes at once. It does one thing after the other, a file system takes it
/// tens of milliseconds, and what executions ask of it waits for no more of them than this; the others wait here.
const WORKSPACES: usize = 1;

/// The launcher could not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaunchError {
    /// A step failed, with the kernel's error number; 0 where the launcher refused.
    Failed {
        /// Which one.
        step: Step,
        /// The error number.
        errno: i32,
    },
    /// The launcher is of an earlier version, which has no words for what was asked.
    Old,
    /// What it gave could not be taken: this process may have no more descriptors.
    NoDescriptors,
    /// The launcher stands still: it has answered nothing for [`SILENCE`].
    Silent,
    /// The launcher is gone, and with it every sandbox.
    Gone,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaunchError::Failed { step, errno: 0 } => {
                write!(f, "the launcher refused at step {}", step.name())
            }
            LaunchError::Failed { step, errno } => {
                write!(f, "step {}: {}", step.name(), io::Error::from_raw_os_error(*errno))
            }
            LaunchError::Old => f.write_str(
                "the launcher is of an earlier version that can't do this; restart \
                 supervisor-launcher when nothing runs",
            ),
            LaunchError::NoDescriptors => f.write_str(
                "the daemon may open no more descriptors: have less run at once, or raise LimitNOFILE= of supervisord",
            ),
            LaunchError::Silent => {
                write!(f, "the launcher has answered nothing for {} s", SILENCE.as_secs())
            }
            LaunchError::Gone => f.write_str("the launcher is gone"),
        }
    }
}

impl std::error::Error for LaunchError {}

/// A sandbox as the daemon holds it.
#[derive(Debug)]
pub struct Sandbox {
    /// How the launcher holds it.
    pub applied: Applied,
    /// CPU time in microseconds that it had used before its execution began: while it was parked.
    pub spent: u64,
    /// Whether it is parked, or was before its execution.
    pub was_parked: bool,
    /// Its workspace, of which the last to let go may take it apart.
    workspace: Option<Elsewhere<OwnedFd>>,
    /// All others.
    fds: [Option<OwnedFd>; Descriptor::PLACES],
}

impl Sandbox {
    /// A descriptor of it, if the launcher gave one.
    pub fn get(&self, place: Descriptor) -> Option<&OwnedFd> {
        if place == Descriptor::Workspace {
            return self.workspace.as_deref();
        }
        self.fds.get(place as usize)?.as_ref()
    }

    /// Takes a descriptor out, of all but the workspace.
    pub fn take(&mut self, place: Descriptor) -> Option<OwnedFd> {
        self.fds.get_mut(place as usize)?.take()
    }

    /// The sockets on which it is heard, if it has a way out.
    pub fn listeners(&self) -> impl Iterator<Item = &OwnedFd> {
        let given = [
            Descriptor::Proxy,
            Descriptor::Http,
            Descriptor::Tls,
            Descriptor::Dns,
            Descriptor::DnsTcp,
        ];
        given.into_iter().chain(Descriptor::PORTS).filter_map(|place| self.get(place))
    }

    /// Takes its workspace out, and lets go of the rest.
    pub fn into_workspace(self) -> Option<Elsewhere<OwnedFd>> {
        self.workspace
    }

    /// Lets go of its workspace, and then of what is held for as long as there is that.
    pub fn let_go_with(mut self, held: impl Send + 'static) {
        if let Some(workspace) = self.workspace.take() {
            workspace.and_then_drop(held);
        }
    }

    /// Sorts what came along by its place.
    fn new(applied: Applied, owner: u32, fds: Vec<Elsewhere<OwnedFd>>) -> io::Result<Self> {
        let (spent, was_parked) = (0, false);
        let (workspace, places) = (None, Default::default());
        let mut sandbox = Self { applied, spent, was_parked, workspace, fds: places };
        let mut fds = fds.into_iter().map(Elsewhere::into_inner);
        let wanted = Descriptor::ALL.iter().filter(|each| applied.descriptors & each.bit() != 0);
        for place in wanted {
            let fd = fds.next().ok_or_else(|| io::Error::other("a descriptor is missing"))?;
            if *place == Descriptor::Workspace {
                sandbox.workspace = Some(Elsewhere::new(owner, fd));
            } else if let Some(slot) = sandbox.fds.get_mut(*place as usize) {
                *slot = Some(fd);
            }
        }
        if fds.next().is_some() {
            return Err(io::Error::other("a descriptor too many"));
        }
        Ok(sandbox)
    }
}

/// A message on its way.
struct Asked {
    message: Vec<u8>,
    waits: Waits,
}

/// Who waits for an answer.
struct Waits {
    answer: oneshot::Sender<Answer>,
    /// Kept until the answer is there, though whoever asked may have given up.
    _turn: Option<Piece>,
}

/// With the descriptors that came along: whoever asked may be gone, and the last who has one of a workspace is then here.
type Answer = Result<(Reply, Vec<Elsewhere<OwnedFd>>), LaunchError>;

/// Sends requests to the launcher.
#[derive(Clone)]
pub struct Launcher {
    requests: mpsc::Sender<Asked>,
    /// What it speaks.
    version: u16,
    silence: Silence,
    workspaces: Arc<InTurn>,
}

impl Launcher {
    /// Starts the task that owns the socket to a launcher that speaks this version. It ends with the
    /// launcher.
    pub fn start(socket: OwnedFd, version: u16) -> io::Result<Self> {
        let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
        nix::fcntl::fcntl(&socket, flags)?;
        let socket = register(socket, Interest::READABLE | Interest::WRITABLE)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let (noted, silence) = silence();
        tokio::spawn(converse(socket, version, queue, noted));
        let workspaces = Arc::new(InTurn::new(WORKSPACES, WORKSPACES));
        Ok(Self { requests, version, silence, workspaces })
    }

    /// Returns once the launcher is gone.
    pub async fn gone(&self) {
        self.requests.closed().await;
    }

    /// What it speaks.
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Whether its sandboxes can be parked: those of version 2 let go of the pipe at which one waits.
    pub fn can_park(&self) -> bool {
        self.version >= 3
    }

    /// Whether the launcher is gone.
    pub fn is_gone(&self) -> bool {
        self.requests.is_closed()
    }

    /// Waits for work that needs the launcher for as long as that answers anything, be it to others. Work that is
    /// given up is dropped.
    pub async fn unless_silent<T>(&self, work: impl Future<Output = T>) -> Result<T, LaunchError> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.silence.lasts() => Err(LaunchError::Silent),
        }
    }

    /// Makes a sandbox.
    pub async fn prepare(&self, prepare: Prepare) -> Result<Sandbox, LaunchError> {
        let owner = prepare.owner.unwrap_or(NOBODY);
        let made = self.sandbox(Request::Prepare(prepare), prepare.execution, owner).await;
        if let Err(LaunchError::NoDescriptors) = made {
            // It was made all the same, and nobody can do anything with it.
            if let Err(error) = self.destroy(prepare.execution).await {
                tracing::error!(%error, "a sandbox that could not be taken is not gone");
            }
        }
        made
    }

    /// Takes a living sandbox of an owner's over from a daemon that was killed.
    pub async fn adopt(&self, execution: u128, owner: u32) -> Result<Sandbox, LaunchError> {
        self.sandbox(Request::Adopt { execution }, execution, owner).await
    }

    /// Ends a sandbox; nothing of it is left when this returns without an error.
    pub async fn destroy(&self, execution: u128) -> Result<(), LaunchError> {
        match self.ask(Request::Destroy { execution }).await? {
            (Reply::Destroyed { execution: theirs }, _) if theirs == execution => Ok(()),
            other => Err(failure(other.0)),
        }
    }

    /// Has the launcher let go of a payload's standard input, so that it finds the end.
    pub async fn close_input(&self, execution: u128) -> Result<(), LaunchError> {
        match self.ask(Request::CloseInput { execution }).await? {
            (Reply::InputClosed { execution: theirs }, _) if theirs == execution => Ok(()),
            other => Err(failure(other.0)),
        }
    }

    /// The executions that have a sandbox.
    pub async fn list(&self) -> Result<Vec<u128>, LaunchError> {
        match self.ask(Request::List).await? {
            (Reply::List { executions }, _) => Ok(executions),
            other => Err(failure(other.0)),
        }
    }

    /// Makes a workspace that is kept, when it is its owner's turn; it is on disk when this returns without an error.
    pub async fn make_workspace(&self, kept: Kept) -> Result<(), LaunchError> {
        match self.ask_in_turn(Request::MakeWorkspace(kept), kept.owner).await? {
            (Reply::WorkspaceMade { id }, _) if id == kept.id => Ok(()),
            other => Err(failure(other.0)),
        }
    }

    /// Removes a kept workspace, when it is its owner's turn; nothing of it is left when this returns without an error.
    pub async fn remove_workspace(&self, id: u128, owner: u32) -> Result<(), LaunchError> {
        match self.ask_in_turn(Request::RemoveWorkspace { id }, owner).await? {
            (Reply::WorkspaceRemoved { id: theirs }, _) if theirs == id => Ok(()),
            other => Err(failure(other.0)),
        }
    }

    /// Every workspace that is kept.
    pub async fn workspaces(&self) -> Result<Vec<Kept>, LaunchError> {
        let (mut all, mut from) = (Vec::new(), 0);
        loop {
            match self.ask(Request::ListWorkspaces { from }).await? {
                (Reply::Workspaces { kept }, _) => {
                    let is_last = kept.len() < MAX_LISTED;
                    let next = kept.last().and_then(|last| last.id.checked_add(1));
                    all.extend(kept);
                    match next.filter(|next| !is_last && *next > from) {
                        Some(next) => from = next,
                        None => return Ok(all),
                    }
                }
                other => return Err(failure(other.0)),
            }
        }
    }

    /// The root directory of a kept workspace of an owner's, in which we own what payloads own.
    pub async fn grant(&self, id: u128, owner: u32) -> Result<Elsewhere<OwnedFd>, LaunchError> {
        match self.ask(Request::Grant { id }).await? {
            (Reply::Granted { id: theirs }, mut fds) if theirs == id && fds.len() == 1 => {
                let root = fds.pop().ok_or(LaunchError::Gone)?;
                Ok(Elsewhere::new(owner, root.into_inner()))
            }
            other => Err(failure(other.0)),
        }
    }

    /// The id of the image that a name stands for, by the SHA-256 of the name.
    pub async fn find_image(&self, key: [u8; 32]) -> Result<[u8; 32], LaunchError> {
        match self.ask(Request::FindImage { key }).await? {
            (Reply::ImageFound { id }, _) => Ok(id),
            other => Err(failure(other.0)),
        }
    }

    async fn sandbox(
        &self,
        request: Request,
        execution: u128,
        owner: u32,
    ) -> Result<Sandbox, LaunchError> {
        match self.ask(request).await? {
            (Reply::Prepared { execution: theirs, applied }, fds) if theirs == execution => {
                Sandbox::new(applied, owner, fds).map_err(|_| LaunchError::Gone)
            }
            other => Err(failure(other.0)),
        }
    }

    async fn ask(&self, request: Request) -> Answer {
        self.ask_with(request, None).await
    }

    /// Asks for what takes long, once what was asked before on behalf of this uid has been answered, and what came
    /// before of others: one of each at the most.
    async fn ask_in_turn(&self, request: Request, owner: u32) -> Answer {
        let turn = tokio::select! {
            turn = self.workspaces.turn(owner) => turn.map_err(|_| LaunchError::Gone)?,
            () = self.gone() => return Err(LaunchError::Gone),
        };
        self.ask_with(request, Some(turn)).await
    }

    async fn ask_with(&self, request: Request, turn: Option<Piece>) -> Answer {
        let message = request.encode(self.version).map_err(|_| LaunchError::Old)?;
        let (answer, answered) = oneshot::channel();
        let asked = Asked { message, waits: Waits { answer, _turn: turn } };
        self.requests.send(asked).await.map_err(|_| LaunchError::Gone)?;
        answered.await.map_err(|_| LaunchError::Gone)?
    }
}

/// What a reply that was not hoped for says. One that does not fit its request is a broken
/// launcher, which is as good as none.
fn failure(reply: Reply) -> LaunchError {
    match reply {
        Reply::Failed { step, errno, .. } => LaunchError::Failed { step, errno },
        _ => LaunchError::Gone,
    }
}

/// Sends what is asked and hands replies to those who asked, in order. When it ends, whoever still
/// waits learns that the launcher is gone.
async fn converse(
    socket: AsyncFd<OwnedFd>,
    version: u16,
    mut queue: mpsc::Receiver<Asked>,
    noted: Noted,
) {
    let mut waiting: VecDeque<Waits> = VecDeque::new();
    loop {
        tokio::select! {
            asked = queue.recv() => {
                let Some(Asked { message, waits }) = asked else { return };
                noted.asked(); // before it is sent, which what stands still may keep from being done
                if let Err(error) = transmit(&socket, &message).await {
                    tracing::error!(%error, "the launcher takes no requests");
                    return;
                }
                waiting.push_back(waits);
            }
            reply = next_reply(&socket, version) => match (reply, waiting.pop_front()) {
                // Whoever asked may have given up; then a sandbox is known to the launcher only,
                // and the next look at its list ends it.
                (Ok(reply), Some(waits)) => {
                    noted.answered(waiting.len());
                    drop(waits.answer.send(reply));
                }
                (Ok(_), None) => {
                    tracing::error!("the launcher answers what nobody asked");
                    return;
                }
                (Err(error), _) => {
                    tracing::error!(%error, "the launcher is gone");
                    return;
                }
            },
        }
    }
}

async fn transmit(socket: &AsyncFd<OwnedFd>, bytes: &[u8]) -> io::Result<()> {
    loop {
        let mut guard = socket.writable().await?;
        if let Ok(sent) = guard.try_io(|socket| send(socket.as_fd(), bytes, &[])) {
            return sent;
        }
    }
}

/// The next answer. One whose descriptors have no room here is an answer to whoever asked, and no reason to
/// give up the launcher.
async fn next_reply(socket: &AsyncFd<OwnedFd>, version: u16) -> io::Result<Answer> {
    loop {
        let mut guard = socket.readable().await?;
        let mut buffer = vec![0; MAX_MESSAGE];
        let received =
            guard.try_io(|socket| receive_what_fits(socket.get_ref().as_fd(), &mut buffer));
        let Ok(received) = received else { continue };
        let (length, fds, is_whole) = received?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = buffer.get(..length).unwrap_or_default();
        let (theirs, reply) = Reply::decode(bytes).map_err(io::Error::other)?;
        if theirs != version {
            return Err(io::Error::other("an answer in another version"));
        }
        let fds = fds.into_iter().map(|fd| Elsewhere::new(NOBODY, fd)).collect();
        return Ok(if is_whole { Ok((reply, fds)) } else { Err(LaunchError::NoDescriptors) });
    }
}

/// The pid behind a pidfd, for reading /proc only (proc(5), fdinfo: `Pid:`). -1 once it was reaped.
pub fn pid_of(process: &OwnedFd) -> Option<u32> {
    let info =
        std::fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd())).ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse().ok()
}
