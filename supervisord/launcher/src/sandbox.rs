//! Sandboxes: made in the steps of [`Sandboxes::prepare`], kept until [`Sandboxes::destroy`].

mod workspaces;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use supervisor_launch::{
    Applied, Descriptor, INIT_ID, Image, Input, Listeners, PAYLOAD_ID, Prepare, Setup, Step,
    Wanted, Workspace,
};
use supervisor_sys::{SingleThreaded, kill, landlock_abi, write_at_once};

use crate::arguments::Arguments;
use crate::cgroup::{Base, Leaf};
use crate::descriptors::{Inside, Outside, pipes};
use crate::disk::Disk;
use crate::failure::{Failed, Fatal, at, fatal, tell};
use crate::ids::{Ids, Range};
use crate::images::Images;
use crate::maps::{Maps, write_maps};
use crate::owners::Owners;
use crate::root::Root;
use crate::seed::Seed;
use crate::terminal::{MakesOthers, Terminal};

/// How long a killed sandbox may take to be gone. Giving back gigabytes takes the kernel a second
/// or two; a process that is stuck in the kernel is reported, and its ids are not used again. Everybody else's
/// launches wait as long, so we do it once: whoever asks for its end again is told at once.
const DEATH_MS: u16 = 3_000;

/// What sandboxes are made from.
pub struct MadeFrom {
    /// We may make copies of ourselves.
    pub proof: SingleThreaded,
    /// Root's word.
    pub arguments: Arguments,
    /// Our root, and whether we have privilege.
    pub root: Root,
    /// Where cgroups go.
    pub cgroup: Option<Base>,
    /// Where workspaces on disk are.
    pub disk: Option<Disk>,
    /// What roots hold that are not the default one.
    pub images: Images,
    /// PID 1's program.
    pub init: OwnedFd,
    /// What of the host's could not be kept away ([`Applied::exposed`]).
    pub exposed: u8,
}

/// All sandboxes.
pub struct Sandboxes {
    made_from: MadeFrom,
    /// What stands for standard streams until init has the payload's.
    null: OwnedFd,
    /// What every init is a copy of.
    seed: Seed,
    ids: Ids,
    maps: Maps,
    owners: Owners,
    /// The kernel can't translate the ids of a tmpfs (before Linux 6.3).
    old_tmpfs: bool,
    live: HashMap<u128, Sandbox>,
}

/// One sandbox.
struct Sandbox {
    /// It was killed and not gone after [`DEATH_MS`].
    stuck: bool,
    ids: Option<Range>,
    /// Whose cgroup its leaf is in.
    owner: Option<u32>,
    leaf: Option<Leaf>,
    workspace: Workspace,
    input: Input,
    /// The payload's side of its terminal: as long as it is open here, the master's never finds an end,
    /// which a payload could bring about and take back.
    terminal: Option<OwnedFd>,
    /// Where its image is shown, and 0 for the default one.
    image: u16,
    /// Whether its root can be written.
    writable_root: bool,
    outside: Outside,
    applied: Applied,
    /// While we hold it, the read end in the sandbox is quiet; init looks at it once to learn
    /// whether we died before it could ask the kernel to be told.
    life: Option<OwnedFd>,
}

/// Mounts that go with a sandbox and are attached nowhere yet.
struct Mounts<'a> {
    workspace: &'a OwnedFd,
    terminals: Option<&'a OwnedFd>,
    /// The image, and what was written of it.
    root: Option<&'a [OwnedFd; 2]>,
}

impl Sandboxes {
    /// None yet.
    pub fn new(made_from: MadeFrom, ids: Ids) -> Result<Self, Fatal> {
        let null = File::options().read(true).write(true).open("/images/0/dev/null");
        let null = fatal("open the null device", null)?.into();
        let seed = Seed::start(&made_from.proof, made_from.init.as_fd(), &null);
        let seed = fatal("start supervisor-init", seed)?;
        let (maps, owners, live) = (Maps::default(), Owners::default(), HashMap::new());
        Ok(Self { made_from, null, seed, ids, maps, owners, old_tmpfs: false, live })
    }

    /// What the name of an image stands for.
    pub fn find_image(&self, key: [u8; 32]) -> Result<[u8; 32], Failed> {
        self.made_from.images.find(key)
    }

    /// The executions that have a sandbox.
    pub fn executions(&self) -> Vec<u128> {
        self.live.keys().copied().collect()
    }

    /// What the daemon gets of a living sandbox.
    pub fn descriptors(&self, execution: u128) -> Result<(Applied, Vec<BorrowedFd<'_>>), Failed> {
        let sandbox = self.live.get(&execution).ok_or(Failed::refused(Step::Find))?;
        let applied = Applied { descriptors: sandbox.outside.present(), ..sandbox.applied };
        Ok((applied, sandbox.outside.each()))
    }

    /// Makes a sandbox. Its init goes on by itself and reports to the daemon when it is parked. If a
    /// step fails, what was made is taken back.
    pub fn prepare(&mut self, request: &Prepare) -> Result<(), Failed> {
        self.admit(request)?;
        let ids = self.ids.take().ok_or(Failed::refused(Step::TakeIds))?;
        let applied = Applied {
            separate_ids: self.made_from.root.privileged(),
            disk: self.made_from.disk.as_ref().map(Disk::storage).unwrap_or_default(),
            exposed: self.made_from.exposed,
            ..Applied::default()
        };
        let mut sandbox = Sandbox {
            stuck: false,
            ids: Some(ids),
            owner: None,
            leaf: None,
            workspace: request.workspace,
            input: request.input,
            terminal: None,
            image: 0,
            writable_root: request.writable_root,
            outside: Outside::default(),
            applied,
            life: None,
        };
        match self.make(request, &mut sandbox) {
            Ok(()) => {
                self.live.insert(request.execution, sandbox);
                Ok(())
            }
            Err(failed) => {
                if let Err(error) = self.end(request.execution, &mut sandbox) {
                    tell(format_args!("can't take back a failed launch: {error}"));
                    self.live.insert(request.execution, sandbox);
                }
                Err(failed)
            }
        }
    }

    /// The daemon's view of standard input must not stay open here, unless it was asked for: the payload
    /// would never see its end.
    pub fn forget_stdin(&mut self, execution: u128) {
        if let Some(sandbox) = self.live.get_mut(&execution)
            && sandbox.input == Input::Given
        {
            sandbox.outside.forget(Descriptor::Stdin);
        }
    }

    /// Lets go of standard input that stayed open, in which nobody but the daemon can write then. What is
    /// known of how much there was of it stays.
    pub fn close_input(&mut self, execution: u128) -> Result<(), Failed> {
        let sandbox = self.live.get_mut(&execution).ok_or(Failed::refused(Step::Find))?;
        sandbox.outside.forget(Descriptor::Stdin);
        Ok(())
    }

    /// Ends a sandbox and waits until nothing of it is left.
    pub fn destroy(&mut self, execution: u128) -> Result<(), Failed> {
        let mut sandbox = self.live.remove(&execution).ok_or(Failed::refused(Step::Find))?;
        let ended = at(Step::Destroy, self.end(execution, &mut sandbox));
        if ended.is_err() {
            self.live.insert(execution, sandbox); // its ids stay taken, and it can be tried again
        }
        ended
    }

    /// Ends all sandboxes and removes our own cgroup.
    pub fn end_all(&mut self) -> io::Result<()> {
        for execution in self.executions() {
            if let Err(failed) = self.destroy(execution) {
                tell(format_args!("a sandbox does not end: errno {}", failed.errno));
            }
        }
        self.seed.end()?;
        self.made_from.cgroup.as_ref().map_or(Ok(()), Base::end)
    }

    /// The daemon may be taken over: whatever it asks for is held against root's word again.
    fn admit(&self, request: &Prepare) -> Result<(), Failed> {
        let refused = Failed::refused(Step::Admit);
        let within = request.limits.within(&self.made_from.arguments.ceiling);
        let arguments = &self.made_from.arguments;
        let exec = arguments.exec || !request.exec;
        let profile = arguments.profiles.contains(&request.profile);
        if self.live.contains_key(&request.execution) || !within || !exec || !profile {
            return Err(refused);
        }
        // What is written of programs is executed, and a limit that no disk holds is none.
        let writable = matches!(request.image, Image::Imported(_))
            && request.workspace != Workspace::Memory
            && request.exec
            && self.made_from.root.privileged();
        if request.writable_root && !writable {
            return Err(refused);
        }
        if landlock_abi() < request.landlock.max(self.made_from.arguments.landlock) {
            return Err(Failed { step: Step::Landlock, errno: Errno::EOPNOTSUPP as i32 });
        }
        Ok(())
    }

    fn make(&mut self, request: &Prepare, sandbox: &mut Sandbox) -> Result<(), Failed> {
        if let Image::Imported(id) = request.image {
            sandbox.image = self.made_from.images.show(id)?;
        }
        self.make_cgroup(request, sandbox)?;
        let (workspace, layer) = self.make_workspace(request, sandbox)?;
        let root = layer.map(|layer| Ok([self.copy_image(sandbox)?, layer])).transpose()?;
        let terminal = at(Step::MakeTerminal, self.make_terminal(request, sandbox))?;
        let wanted = (request.input, request.channel);
        let pipes = pipes(&mut sandbox.outside, wanted, terminal.as_ref());
        let (inside, setup) = at(Step::MakePipes, pipes)?;
        let terminals = terminal.as_ref().map(|made| &made.instance);
        let mounts = Mounts { workspace: &workspace, terminals, root: root.as_ref() };
        self.clone(request, sandbox, &inside, mounts, &setup)?;
        sandbox.terminal = terminal.map(|made| made.slave);
        sandbox.life = Some(setup);
        Ok(())
    }

    fn make_terminal(
        &self,
        request: &Prepare,
        sandbox: &mut Sandbox,
    ) -> io::Result<Option<Terminal>> {
        let Input::Terminal { rows, columns } = request.input else { return Ok(None) };
        let owner = match &sandbox.ids {
            Some(ids) if self.made_from.root.privileged() => ids.payload(),
            _ => INIT_ID, // the launcher's own, which is the payload's as well
        };
        let others = if request.pseudo_terminals { MakesOthers::Yes } else { MakesOthers::No };
        Terminal::make(&mut sandbox.outside, owner, (rows, columns), others).map(Some)
    }

    fn make_cgroup(&mut self, request: &Prepare, sandbox: &mut Sandbox) -> Result<(), Failed> {
        let Some(base) = &self.made_from.cgroup else { return Ok(()) };
        let name = format!("ex-{:032x}", request.execution);
        let ceilings = &self.made_from.arguments.ceilings;
        if let Some(owner) = request.owner {
            at(Step::LimitOwner, self.owners.enter(base, owner, ceilings))?;
            sandbox.owner = Some(owner);
        }
        let parent = sandbox.owner.and_then(|owner| self.owners.directory(owner));
        let made = Leaf::make(parent.unwrap_or(base.directory()), name);
        let leaf = sandbox.leaf.insert(at(Step::MakeCgroup, made)?);
        at(Step::WriteLimits, base.limit(leaf, &request.limits))?;
        sandbox.applied.controllers = base.controllers();
        let directory = at(Step::MakeCgroup, leaf.directory().try_clone_to_owned())?;
        sandbox.outside.put(Descriptor::Cgroup, directory);
        for (place, file) in
            [(Descriptor::Kill, "cgroup.kill"), (Descriptor::Freeze, "cgroup.freeze")]
        {
            sandbox.outside.put(place, at(Step::MakeCgroup, leaf.writer(file))?);
        }
        if base.controllers() & Applied::MEMORY != 0
            && let Ok(reclaim) = leaf.writer("memory.reclaim")
        {
            sandbox.outside.put(Descriptor::Reclaim, reclaim); // Linux 5.19
        }
        Ok(())
    }

    fn clone(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
        inside: &Inside,
        mounts: Mounts<'_>,
        setup: &OwnedFd,
    ) -> Result<(), Failed> {
        let cgroup = sandbox.leaf.as_ref().map(Leaf::directory);
        let fds = inside.each().into_iter().chain([mounts.workspace.as_fd()]);
        let fds = fds.chain(inside.channel.as_ref().map(|fd| fd.as_fd()));
        let fds = fds.chain(mounts.terminals.map(|fd| fd.as_fd()));
        let fds = fds.chain(mounts.root.into_iter().flatten().map(|fd| fd.as_fd())).chain(cgroup);
        let (terminal, root) = (mounts.terminals.is_some(), mounts.root.is_some());
        let Prepare { listeners, channel, .. } = *request;
        let privileged = self.made_from.root.privileged();
        let owner = sandbox.ids.as_ref().filter(|_| privileged).map(Range::init);
        let wanted = Wanted { listeners, channel, terminal, root, owner };
        let (process, pid, sockets) = match self.seed.copy(wanted, &fds.collect::<Vec<_>>()) {
            Ok(copied) => copied?,
            Err(error) => {
                self.renew_seed();
                return at(Step::Clone, Err(error));
            }
        };
        sandbox.outside.put(Descriptor::Process, process);
        let places = request.listeners.iter().flat_map(Listeners::places);
        for (place, socket) in places.zip(sockets) {
            sandbox.outside.put(place, socket);
        }
        let pairs = match &sandbox.ids {
            Some(ids) if self.made_from.root.privileged() => {
                vec![(INIT_ID, ids.init()), (PAYLOAD_ID, ids.payload())]
            }
            _ => vec![(INIT_ID, INIT_ID)],
        };
        at(Step::MapIds, write_maps(pid, &pairs, &pairs))?;
        let held = sandbox.applied.controllers;
        let message = Setup {
            image: sandbox.image,
            profile: request.profile,
            exec: request.exec,
            landlock: request.landlock.max(self.made_from.arguments.landlock),
            single_id: !self.made_from.root.privileged(),
            limit_memory: held & Applied::MEMORY == 0,
            authority: request.listeners.is_some(),
            terminal,
            writable_root: root,
            pseudo_terminals: request.pseudo_terminals,
            limits: request.limits,
        };
        at(Step::SendSetup, write_at_once(setup.as_fd(), &message.encode()))
    }

    /// Kills, waits, removes, gives back: each only after the one before has succeeded.
    fn end(&mut self, execution: u128, sandbox: &mut Sandbox) -> io::Result<()> {
        let mut by_leaf = Ok(());
        if let Some(process) = sandbox.outside.get(Descriptor::Process) {
            let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
            // With init every process of its pid namespace has ended, and most end by themselves.
            if poll(&mut fds, PollTimeout::ZERO)? == 0 {
                by_leaf = sandbox.leaf.as_ref().map_or(Ok(()), Leaf::kill);
                kill(process)?;
                let patience = if sandbox.stuck { 0 } else { DEATH_MS };
                if poll(&mut fds, PollTimeout::from(patience))? == 0 {
                    sandbox.stuck = true;
                    return Err(Errno::ETIMEDOUT.into());
                }
            }
            waitid(Id::PIDFd(process), WaitPidFlag::WEXITED)?;
            sandbox.outside.forget(Descriptor::Process);
        }
        by_leaf?;
        if let Some(base) = &self.made_from.cgroup {
            if let Some(leaf) = &sandbox.leaf {
                let parent = sandbox.owner.and_then(|owner| self.owners.directory(owner));
                leaf.remove(parent.unwrap_or(base.directory()))?;
                sandbox.leaf = None;
            }
            if let Some(owner) = sandbox.owner {
                self.owners.leave(base, owner)?;
                sandbox.owner = None;
            }
        }
        if let (Some(disk), Workspace::Disk) = (&mut self.made_from.disk, sandbox.workspace) {
            sandbox.outside.forget(Descriptor::Workspace);
            disk.forget(execution)?;
        }
        self.made_from.images.leave(std::mem::take(&mut sandbox.image))?;
        if let Some(ids) = sandbox.ids.take() {
            self.ids.give_back(ids);
        }
        Ok(())
    }

    /// A seed that is gone, or doesn't answer as it should, makes one launch fail and not the next.
    fn renew_seed(&mut self) {
        let init = self.made_from.init.as_fd();
        let renewed = self.seed.end().and_then(|()| {
            self.seed = Seed::start(&self.made_from.proof, init, &self.null)?;
            Ok(())
        });
        if let Err(error) = renewed {
            tell(format_args!("can't start supervisor-init again: {error}"));
        }
    }
}
