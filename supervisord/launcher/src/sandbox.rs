//! Sandboxes: made in the steps of [`Sandboxes::prepare`], kept until [`Sandboxes::destroy`].

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::exit;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{
    Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, setgroups, setresgid, setresuid, setsid,
};
use supervisor_launch::{
    Applied, Descriptor, INIT_ID, Image, Kept, PAYLOAD_ID, Prepare, Report, Setup, Step, Workspace,
};
use supervisor_sys::{
    Cloned, Namespaces, SingleThreaded, clone_into, execute, keep_on_exec, kill, landlock_abi,
    write_at_once,
};

use crate::arguments::Arguments;
use crate::cgroup::{Base, Leaf};
use crate::descriptors::{Inside, Outside, pipes};
use crate::disk::Disk;
use crate::failure::{Failed, Fatal, at, fatal, tell};
use crate::ids::{Ids, Range};
use crate::listen;
use crate::maps::{Maps, write_maps};
use crate::network::Network;
use crate::root::Root;
use crate::workspace::{Source, View};

/// How long a killed sandbox may take to be gone. Giving back gigabytes takes the kernel a second
/// or two; a process that is stuck in the kernel is reported, and its ids are not used again.
const DEATH_MS: u16 = 10_000;

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
    /// PID 1's program.
    pub init: OwnedFd,
}

/// All sandboxes.
pub struct Sandboxes {
    made_from: MadeFrom,
    /// What stands for standard streams until init has the payload's.
    null: OwnedFd,
    ids: Ids,
    network: Network,
    maps: Maps,
    /// The kernel can't translate the ids of a tmpfs (before Linux 6.3).
    old_tmpfs: bool,
    live: HashMap<u128, Sandbox>,
}

/// One sandbox.
struct Sandbox {
    ids: Option<Range>,
    leaf: Option<Leaf>,
    workspace: Workspace,
    outside: Outside,
    applied: Applied,
    /// While we hold it, the read end in the sandbox is quiet; init looks at it once to learn
    /// whether we died before it could ask the kernel to be told.
    life: Option<OwnedFd>,
}

impl Sandboxes {
    /// None yet.
    pub fn new(made_from: MadeFrom, ids: Ids) -> Result<Self, Fatal> {
        let null = File::options().read(true).write(true).open("/images/0/dev/null");
        let null = fatal("open the null device", null)?.into();
        let (network, maps) = (Network::default(), Maps::default());
        Ok(Self { made_from, null, ids, network, maps, old_tmpfs: false, live: HashMap::new() })
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
            ..Applied::default()
        };
        let mut sandbox = Sandbox {
            ids: Some(ids),
            leaf: None,
            workspace: request.workspace,
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

    /// Gets ready for the next launch while nobody waits for it. If it fails, that launch fails.
    pub fn get_ready(&mut self) {
        if let Err(error) = self.network.refresh() {
            tell(format_args!("can't make a network namespace: {error}"));
        }
    }

    /// The daemon's view of standard input must not stay open here: the payload would never see
    /// its end.
    pub fn forget_stdin(&mut self, execution: u128) {
        if let Some(sandbox) = self.live.get_mut(&execution) {
            sandbox.outside.forget(Descriptor::Stdin);
        }
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
        self.made_from.cgroup.as_ref().map_or(Ok(()), Base::end)
    }

    /// The daemon may be taken over: whatever it asks for is held against root's word again.
    fn admit(&self, request: &Prepare) -> Result<(), Failed> {
        let refused = Failed::refused(Step::Admit);
        let known = request.image == Image(0);
        let within = request.limits.within(&self.made_from.arguments.ceiling);
        let arguments = &self.made_from.arguments;
        let exec = arguments.exec || !request.exec;
        let profile = arguments.profiles.contains(&request.profile);
        if self.live.contains_key(&request.execution) || !known || !within || !exec || !profile {
            return Err(refused);
        }
        if landlock_abi() < request.landlock.max(self.made_from.arguments.landlock) {
            return Err(Failed { step: Step::Landlock, errno: Errno::EOPNOTSUPP as i32 });
        }
        Ok(())
    }

    fn make(&mut self, request: &Prepare, sandbox: &mut Sandbox) -> Result<(), Failed> {
        self.make_cgroup(request, sandbox)?;
        let workspace = self.make_workspace(request, sandbox)?;
        let (inside, setup) = at(Step::MakePipes, pipes(&mut sandbox.outside))?;
        self.clone(request, sandbox, &inside, &workspace, &setup)?;
        sandbox.life = Some(setup);
        Ok(())
    }

    fn make_cgroup(&self, request: &Prepare, sandbox: &mut Sandbox) -> Result<(), Failed> {
        let Some(base) = &self.made_from.cgroup else { return Ok(()) };
        let name = format!("ex-{:032x}", request.execution);
        let leaf = sandbox.leaf.insert(at(Step::MakeCgroup, base.leaf(name))?);
        at(Step::WriteLimits, base.limit(leaf, &request.limits))?;
        sandbox.applied.controllers = base.controllers();
        let directory = at(Step::MakeCgroup, leaf.directory().try_clone_to_owned())?;
        sandbox.outside.put(Descriptor::Cgroup, directory);
        for (place, file) in
            [(Descriptor::Kill, "cgroup.kill"), (Descriptor::Freeze, "cgroup.freeze")]
        {
            sandbox.outside.put(place, at(Step::MakeCgroup, leaf.writer(file))?);
        }
        if let Ok(reclaim) = leaf.writer("memory.reclaim") {
            sandbox.outside.put(Descriptor::Reclaim, reclaim); // Linux 5.19, memory controller
        }
        Ok(())
    }

    fn make_workspace(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
    ) -> Result<OwnedFd, Failed> {
        let Some(ids) = &sandbox.ids else { return Err(Failed::refused(Step::TakeIds)) };
        let payload = ids.payload();
        let memory = request.workspace == Workspace::Memory;
        if memory && !self.old_tmpfs {
            let owner = if self.made_from.root.privileged() { payload } else { INIT_ID };
            let source = at(Step::MakeWorkspace, Source::memory(&request.limits, owner))?;
            match self.hand_out(request, sandbox, source, payload) {
                // The kernel says that this type of file system can't be mapped.
                Err(Failed { step: Step::GrantWorkspace, errno })
                    if errno == Errno::EINVAL as i32 && self.made_from.disk.is_some() =>
                {
                    self.old_tmpfs = true;
                }
                other => return other,
            }
        }
        let made_from = &mut self.made_from;
        let disk = made_from.disk.as_mut().ok_or(Failed::refused(Step::MakeDisk))?;
        let source = match request.workspace {
            Workspace::Kept(id) => {
                // The daemon may be wrong about whose it is.
                let owner = disk.kept(id)?.owner;
                if request.owner != Some(owner) {
                    return Err(Failed::refused(Step::FindWorkspace));
                }
                disk.open_kept(id)?
            }
            Workspace::Memory | Workspace::Disk => {
                sandbox.workspace = Workspace::Disk;
                let limits = &request.limits;
                let (bytes, inodes) = (limits.workspace_bytes, limits.workspace_inodes);
                disk.fresh(&made_from.proof, request.execution, bytes, inodes)?
            }
        };
        sandbox.applied.workspace = disk.storage();
        self.hand_out(request, sandbox, source, payload)
    }

    /// Makes the sandbox's view of a workspace, and the daemon's.
    fn hand_out(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
        source: Source,
        payload: u32,
    ) -> Result<OwnedFd, Failed> {
        let arguments = &self.made_from.arguments;
        let (uid, gid) = (arguments.daemon_uid, arguments.daemon_gid);
        let (mut inside, mut grant) = (None, None); // without privilege all have the same host id
        if self.made_from.root.privileged() {
            let (proof, owner) = (&self.made_from.proof, source.owner);
            at(Step::GrantWorkspace, self.maps.need(proof, owner, (uid, gid)))?;
            if owner != payload {
                at(Step::MakeWorkspace, self.maps.need(proof, owner, (payload, payload)))?;
            }
            (inside, grant) = (self.maps.get(owner, payload), self.maps.get(owner, uid));
        }
        let inside = View { exec: request.exec, map: inside, step: Step::MakeWorkspace };
        let grant = View { exec: false, map: grant, step: Step::GrantWorkspace };
        let [inside, grant] = source.views([inside, grant])?;
        sandbox.outside.put(Descriptor::Workspace, grant);
        Ok(inside)
    }

    /// Makes a workspace that is kept.
    pub fn make_kept(&mut self, kept: Kept) -> Result<(), Failed> {
        let refused = Failed::refused(Step::MakeDisk);
        let MadeFrom { arguments, disk, proof, .. } = &mut self.made_from;
        let ceiling = &arguments.ceiling;
        let within = (1..=ceiling.workspace_bytes).contains(&kept.bytes)
            && (1..=ceiling.workspace_inodes).contains(&kept.inodes);
        if !within {
            return Err(refused);
        }
        disk.as_mut().ok_or(refused)?.make(proof, kept)
    }

    /// Removes a kept workspace that no sandbox has.
    pub fn remove_kept(&mut self, id: u128) -> Result<(), Failed> {
        if self.live.values().any(|sandbox| sandbox.workspace == Workspace::Kept(id)) {
            return Err(Failed { step: Step::RemoveWorkspace, errno: Errno::EBUSY as i32 });
        }
        let disk = self.made_from.disk.as_mut();
        disk.ok_or(Failed::refused(Step::FindWorkspace))?.remove(id)
    }

    /// Kept workspaces from an id on.
    pub fn list_kept(&self, from: u128) -> Vec<Kept> {
        self.made_from.disk.as_ref().map(|disk| disk.list(from)).unwrap_or_default()
    }

    /// The daemon's view of a kept workspace.
    pub fn grant_kept(&mut self, id: u128) -> Result<OwnedFd, Failed> {
        let disk = self.made_from.disk.as_ref().ok_or(Failed::refused(Step::FindWorkspace))?;
        let source = disk.open_kept(id)?;
        let arguments = &self.made_from.arguments;
        let (uid, gid) = (arguments.daemon_uid, arguments.daemon_gid);
        let map = self.maps.need(&self.made_from.proof, source.owner, (uid, gid));
        at(Step::GrantWorkspace, map)?;
        let map = self.maps.get(source.owner, uid);
        let [grant] = source.views([View { exec: false, map, step: Step::GrantWorkspace }])?;
        Ok(grant)
    }

    fn clone(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
        inside: &Inside,
        workspace: &OwnedFd,
        setup: &OwnedFd,
    ) -> Result<(), Failed> {
        at(Step::MakeNetwork, self.network.refresh())?;
        self.network.hand_over(); // whatever comes of the clone
        if let Some(listeners) = &request.listeners {
            for (place, socket) in at(Step::Listen, listen::make(listeners))? {
                sandbox.outside.put(place, socket);
            }
        }
        let cgroup = sandbox.leaf.as_ref().map(Leaf::directory);
        let cloned = clone_into(&self.made_from.proof, Namespaces::UserAndPid, cgroup);
        let (process, pid) = match at(Step::Clone, cloned)? {
            Cloned::Child => self.become_init(inside, workspace),
            Cloned::Parent { process, pid } => (process, pid),
        };
        sandbox.outside.put(Descriptor::Process, process);
        let pairs = match &sandbox.ids {
            Some(ids) if self.made_from.root.privileged() => {
                vec![(INIT_ID, ids.init()), (PAYLOAD_ID, ids.payload())]
            }
            _ => vec![(INIT_ID, INIT_ID)],
        };
        at(Step::MapIds, write_maps(pid, &pairs, &pairs))?;
        let held = sandbox.applied.controllers;
        let message = Setup {
            image: request.image.0,
            profile: request.profile,
            exec: request.exec,
            landlock: request.landlock.max(self.made_from.arguments.landlock),
            single_id: !self.made_from.root.privileged(),
            limit_memory: held & Applied::MEMORY == 0,
            authority: request.listeners.is_some(),
            limits: request.limits,
        };
        at(Step::SendSetup, write_at_once(setup.as_fd(), &message.encode()))
    }

    /// Kills, waits, removes, gives back: each only after the one before has succeeded.
    fn end(&mut self, execution: u128, sandbox: &mut Sandbox) -> io::Result<()> {
        let by_leaf = sandbox.leaf.as_ref().map_or(Ok(()), Leaf::kill);
        if let Some(process) = sandbox.outside.get(Descriptor::Process) {
            kill(process)?; // takes every process of its pid namespace along
            let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(DEATH_MS))? == 0 {
                return Err(Errno::ETIMEDOUT.into());
            }
            waitid(Id::PIDFd(process), WaitPidFlag::WEXITED)?;
            sandbox.outside.forget(Descriptor::Process);
        }
        by_leaf?;
        if let (Some(base), Some(leaf)) = (&self.made_from.cgroup, &sandbox.leaf) {
            base.remove(leaf)?;
            sandbox.leaf = None;
        }
        if let (Some(disk), Workspace::Disk) = (&mut self.made_from.disk, sandbox.workspace) {
            sandbox.outside.forget(Descriptor::Workspace);
            disk.forget(execution)?;
        }
        if let Some(ids) = sandbox.ids.take() {
            self.ids.give_back(ids);
        }
        Ok(())
    }

    /// The clone: waits until its ids are mapped, becomes root of its own user namespace and executes
    /// init. Nothing here may return.
    fn become_init(&self, inside: &Inside, workspace: &OwnedFd) -> ! {
        let error = match self.try_become_init(inside, workspace) {
            Ok(argv) => execute(self.made_from.init.as_fd(), &argv),
            Err(error) => error,
        };
        let errno = error.raw_os_error().unwrap_or_default();
        let report = Report::Failed { step: Step::Clone, errno };
        if write_at_once(inside.report.as_fd(), &report.encode()).is_err() {
            exit(2);
        }
        exit(1)
    }

    fn try_become_init(&self, inside: &Inside, workspace: &OwnedFd) -> io::Result<Vec<CString>> {
        set_pdeathsig(Signal::SIGKILL)?; // until init asks for it itself
        let mut fds = [PollFd::new(inside.setup.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        if self.made_from.root.privileged() {
            setgroups(&[])?; // without privilege the kernel doesn't let a caller's groups go
        }
        let (user, group) = (Uid::from_raw(INIT_ID), Gid::from_raw(INIT_ID));
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
        setsid()?; // away from any terminal of whoever started us
        dup2_stdin(&self.null)?;
        dup2_stdout(&self.null)?;
        dup2_stderr(&self.null)?;
        let mut argv = vec![c"supervisor-init".to_owned()];
        for fd in inside.each().into_iter().chain([workspace.as_fd()]) {
            keep_on_exec(fd)?;
            argv.push(CString::new(fd.as_raw_fd().to_string()).map_err(io::Error::other)?);
        }
        Ok(argv)
    }
}
