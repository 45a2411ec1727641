//! One request, one reply. Only the daemon's uid is listened to, and one daemon at a time: another is refused, and
//! does not wait to be the next. Anything that is not a request ends the connection.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::lchown;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, setsockopt,
    socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::sys::time::TimeVal;
use supervisor_launch::{MAX_MESSAGE, Reply, Request};
use supervisor_sys::{accept, peer_uid, receive, refuse_descriptors, send, take_inherited};

use crate::alone::take_name;
use crate::arguments::{Arguments, DaemonSocket};
use crate::failure::{Failed, Fatal, fatal, tell};
use crate::sandbox::Sandboxes;

/// The way to the daemon.
pub struct Daemon {
    listener: Option<OwnedFd>,
    connection: Option<OwnedFd>,
    /// Whether another was refused since this one came.
    refused: bool,
    uid: u32,
    signals: SignalFd,
    /// Keeps other launchers away from the listener's name.
    _name: Option<File>,
}

impl Daemon {
    /// Takes the inherited connection or begins to listen, and takes SIGTERM and SIGINT as words.
    pub fn open(arguments: &Arguments) -> Result<Self, Fatal> {
        let signals = fatal("take signals", signals())?;
        let uid = arguments.daemon_uid;
        match &arguments.daemon {
            DaemonSocket::Inherited(number) => {
                let connection = take_inherited(*number).and_then(bounded);
                let connection = fatal("take the daemon's socket", connection)?;
                Ok(Self { connection: Some(connection), ..Self::new(uid, signals) })
            }
            DaemonSocket::Listen(path) => {
                let what = format!("listen on {}", path.display());
                let name = fatal(&what, take_name(path))?;
                let listener = fatal(&what, listen_on(path, uid, arguments.daemon_gid))?;
                Ok(Self { listener: Some(listener), _name: Some(name), ..Self::new(uid, signals) })
            }
            DaemonSocket::ListenInherited(number) => {
                let what = format!("listen on the inherited descriptor {number}");
                let listener = fatal(&what, take_listener(*number))?;
                Ok(Self { listener: Some(listener), ..Self::new(uid, signals) })
            }
        }
    }

    const fn new(uid: u32, signals: SignalFd) -> Self {
        Self { listener: None, connection: None, refused: false, uid, signals, _name: None }
    }
}

fn signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTERM);
    set.add(Signal::SIGINT);
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

/// How long a daemon may leave answers unread, in seconds, once the socket holds no more of them. One that
/// was taken over would else have us wait for ever.
const PATIENCE: i64 = 5;

/// A connection on which an answer can't be waited with for ever.
fn bounded(connection: OwnedFd) -> io::Result<OwnedFd> {
    setsockopt(&connection, sockopt::SendTimeout, &TimeVal::new(PATIENCE, 0))?;
    Ok(connection)
}

/// Anything but a listening socket for datagrams in order would be taken for silence.
fn take_listener(number: RawFd) -> io::Result<OwnedFd> {
    let listener = take_inherited(number)?;
    let listens = getsockopt(&listener, sockopt::AcceptConn)?;
    if listens && getsockopt(&listener, sockopt::SockType)? == SockType::SeqPacket {
        refuse_descriptors(listener.as_fd())?;
        return Ok(listener);
    }
    Err(io::Error::other("it is not a listening socket of type SOCK_SEQPACKET"))
}

fn listen_on(path: &Path, uid: u32, gid: u32) -> io::Result<OwnedFd> {
    let kind = SockType::SeqPacket;
    let listener = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let before = umask(Mode::from_bits_truncate(0o177));
    let bound = bind(listener.as_raw_fd(), &UnixAddr::new(path)?);
    umask(before);
    bound?;
    lchown(path, Some(uid), Some(gid))?; // not through a link that somebody put in its place
    refuse_descriptors(listener.as_fd())?; // no request carries any; where the kernel is too old, they are closed
    listen(&listener, Backlog::new(4)?)?; // one daemon, and room while it is replaced
    Ok(listener)
}

/// What there is to do next.
enum Event {
    Stop,
    Connection,
    Request,
    /// Another daemon comes while one is served.
    Second,
}

/// Serves until the daemon is gone for good or we are told to stop; then ends every sandbox.
pub fn serve(mut daemon: Daemon, mut sandboxes: Sandboxes) -> Result<(), Fatal> {
    loop {
        match fatal("wait for a request", next(&daemon))? {
            Event::Stop => break,
            Event::Connection => {
                daemon.connection = admit(&daemon);
                daemon.refused = false;
            }
            Event::Second => refuse(&mut daemon),
            Event::Request => {
                let Some(connection) = &daemon.connection else { continue };
                if let Err(error) = answer(connection.as_fd(), &mut sandboxes) {
                    if error.kind() != io::ErrorKind::UnexpectedEof {
                        tell(format_args!("the daemon's connection ends: {error}"));
                    }
                    daemon.connection = None;
                    if daemon.listener.is_none() {
                        break;
                    }
                }
            }
        }
    }
    fatal("end every sandbox", sandboxes.end_all())
}

fn next(daemon: &Daemon) -> io::Result<Event> {
    if daemon.connection.is_none() && daemon.listener.is_none() {
        return Ok(Event::Stop);
    }
    let mut fds = vec![readable(&daemon.signals)];
    fds.extend(daemon.connection.iter().map(readable));
    fds.extend(daemon.listener.iter().map(readable));
    loop {
        match poll(&mut fds, PollTimeout::NONE) {
            Err(nix::Error::EINTR) => continue,
            other => other?,
        };
        let mut seen = fds.iter().map(|fd| fd.any().unwrap_or(true));
        if seen.next().unwrap_or(true) {
            return Ok(Event::Stop);
        }
        let Some(connection) = &daemon.connection else { return Ok(Event::Connection) };
        // What is served comes first: whoever else comes holds nothing of it up.
        if seen.next().unwrap_or(true) {
            return Ok(Event::Request);
        }
        if seen.next().unwrap_or(false) {
            return Ok(if has_ended(connection)? { Event::Request } else { Event::Second });
        }
    }
}

fn readable<T: AsFd>(fd: &T) -> PollFd<'_> {
    PollFd::new(fd.as_fd(), PollFlags::POLLIN)
}

/// Whether the other end is closed, looked at after another daemon was seen to come: the next one starts when the one
/// before is gone, which may be between two looks, and is no second one.
fn has_ended(connection: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(connection.as_fd(), PollFlags::empty())]; // hanging up is told unasked
    poll(&mut fds, PollTimeout::ZERO)?;
    let [connection] = &fds;
    Ok(connection.any().unwrap_or(true))
}

/// Ends the connection of a daemon that comes while one is served. Kept waiting it would be the next, and with another
/// state than the one before it would take what runs for nobody's, and end it. Said once of whoever tries again.
fn refuse(daemon: &mut Daemon) {
    if admit(daemon).is_some() && !std::mem::replace(&mut daemon.refused, true) {
        tell(format_args!("a second daemon is refused: one is served, and goes on"));
    }
}

/// How long the queue is left alone when nothing can be taken from it: for want of descriptors, the host's or ours.
const RECESS_MS: u16 = 100;

fn admit(daemon: &Daemon) -> Option<OwnedFd> {
    let connection = accept(daemon.listener.as_ref()?.as_fd()).and_then(bounded);
    match connection.and_then(|fd| peer_uid(fd.as_fd()).map(|uid| (fd, uid))) {
        Ok((fd, uid)) if uid == daemon.uid => Some(fd),
        Ok((_, uid)) => {
            tell(format_args!("uid {uid} is not the daemon's"));
            None
        }
        Err(error) => {
            tell(format_args!("can't accept a connection: {error}"));
            // What is in the queue stays there, and would be seen again at once. A signal ends the wait, and so does
            // whoever is served.
            let mut awaited = vec![readable(&daemon.signals)];
            awaited.extend(daemon.connection.iter().map(readable));
            poll(&mut awaited, PollTimeout::from(RECESS_MS)).ok();
            None
        }
    }
}

fn answer(connection: BorrowedFd<'_>, sandboxes: &mut Sandboxes) -> io::Result<()> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let (length, fds) = receive(connection, &mut buffer)?;
    if length == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if !fds.is_empty() {
        return Err(io::Error::other("no request carries a descriptor"));
    }
    let bytes = buffer.get(..length).unwrap_or_default();
    let (version, request) = Request::decode(bytes).map_err(io::Error::other)?;
    let peer = Peer { connection, version };
    match request {
        Request::Prepare(prepare) => {
            let prepared = sandboxes.prepare(&prepare);
            hand_out(&peer, sandboxes, prepare.execution, prepared)
        }
        Request::Adopt { execution } => hand_out(&peer, sandboxes, execution, Ok(())),
        Request::Destroy { execution } => {
            let destroyed = sandboxes.destroy(execution);
            peer.tell(execution, destroyed.map(|()| Reply::Destroyed { execution }), &[])
        }
        Request::CloseInput { execution } => {
            let closed = sandboxes.close_input(execution);
            peer.tell(execution, closed.map(|()| Reply::InputClosed { execution }), &[])
        }
        Request::List => peer.tell(0, Ok(Reply::List { executions: sandboxes.executions() }), &[]),
        Request::MakeWorkspace(kept) => {
            let (id, made) = (kept.id, sandboxes.make_kept(kept));
            peer.tell(id, made.map(|()| Reply::WorkspaceMade { id }), &[])
        }
        Request::RemoveWorkspace { id } => {
            let removed = sandboxes.remove_kept(id);
            peer.tell(id, removed.map(|()| Reply::WorkspaceRemoved { id }), &[])
        }
        Request::ListWorkspaces { from } => {
            peer.tell(0, Ok(Reply::Workspaces { kept: sandboxes.list_kept(from) }), &[])
        }
        Request::FindImage { key } => {
            let found = sandboxes.find_image(key);
            peer.tell(0, found.map(|id| Reply::ImageFound { id }), &[])
        }
        Request::Grant { id } => match sandboxes.grant_kept(id) {
            Ok(grant) => peer.tell(id, Ok(Reply::Granted { id }), &[grant.as_fd()]),
            Err(failed) => peer.tell(id, Err(failed), &[]),
        },
    }
}

/// Who asked, and in which version.
struct Peer<'a> {
    connection: BorrowedFd<'a>,
    version: u16,
}

impl Peer<'_> {
    /// Answers what was asked about `subject`.
    fn tell(
        &self,
        subject: u128,
        result: Result<Reply, Failed>,
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let failed = |Failed { step, errno }| Reply::Failed { execution: subject, step, errno };
        let reply = result.unwrap_or_else(failed).encode(self.version);
        send(self.connection, &reply.map_err(io::Error::other)?, fds)
    }
}

fn hand_out(
    peer: &Peer<'_>,
    sandboxes: &mut Sandboxes,
    execution: u128,
    prepared: Result<(), Failed>,
) -> io::Result<()> {
    match prepared.and_then(|()| sandboxes.descriptors(execution)) {
        Ok((applied, fds)) => {
            peer.tell(execution, Ok(Reply::Prepared { execution, applied }), &fds)?;
            sandboxes.forget_stdin(execution);
            Ok(())
        }
        Err(failed) => peer.tell(execution, Err(failed), &[]),
    }
}
