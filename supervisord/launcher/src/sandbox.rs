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
    Applied, Descriptor, INIT_ID, Image, PAYLOAD_ID, Prepare, Report, Setup, Step,
};
use supervisor_sys::{
    Cloned, Namespaces, SingleThreaded, clone_into, execute, keep_on_exec, kill, landlock_abi,
    write_at_once,
};

use crate::arguments::Arguments;
use crate::cgroup::{Base, Leaf};
use crate::descriptors::{Inside, Outside, pipes};
use crate::failure::{Failed, Fatal, at, fatal, tell};
use crate::ids::{Ids, Range};
use crate::listen;
use crate::network::Network;
use crate::root::Root;
use crate::workspace;

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
    /// Id maps for the daemon's view of a workspace, by slot; made at first use, valid for ever.
    maps: HashMap<u32, OwnedFd>,
    live: HashMap<u128, Sandbox>,
}

/// One sandbox.
struct Sandbox {
    ids: Option<Range>,
    leaf: Option<Leaf>,
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
        let (maps, live) = (HashMap::new(), HashMap::new());
        Ok(Self { made_from, null, ids, network: Network::default(), maps, live })
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
        let applied =
            Applied { separate_ids: self.made_from.root.privileged(), ..Applied::default() };
        let mut sandbox = Sandbox {
            ids: Some(ids),
            leaf: None,
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
                if let Err(error) = self.end(&mut sandbox) {
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
        let ended = at(Step::Destroy, self.end(&mut sandbox));
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
        let owner = if self.made_from.root.privileged() { ids.payload() } else { INIT_ID };
        let arguments = &self.made_from.arguments;
        let daemon = (arguments.daemon_uid, arguments.daemon_gid);
        let map = if self.made_from.root.privileged() {
            if !self.maps.contains_key(&ids.slot()) {
                let map = workspace::id_map(&self.made_from.proof, owner, daemon);
                self.maps.insert(ids.slot(), at(Step::GrantWorkspace, map)?);
            }
            self.maps.get(&ids.slot()).map(|map| map.as_fd())
        } else {
            None // the daemon and the payload have the same host id
        };
        let made = workspace::make(&request.limits, owner, request.exec, map)?;
        sandbox.outside.put(Descriptor::Workspace, made.grant);
        Ok(made.inside)
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
        at(Step::MapIds, workspace::write_maps(pid, &pairs, &pairs))?;
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
    fn end(&mut self, sandbox: &mut Sandbox) -> io::Result<()> {
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
