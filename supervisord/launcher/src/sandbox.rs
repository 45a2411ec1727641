//! Sandboxes: made in the steps of [`Sandboxes::prepare`], kept until [`Sandboxes::destroy`].

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::exit;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
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
use crate::failure::{Failed, at};
use crate::ids::{Ids, Range};
use crate::network::Network;
use crate::root::Root;
use crate::workspace;

/// How long a killed sandbox may take to be gone. Giving back gigabytes takes the kernel a second
/// or two; a process that is stuck in the kernel is reported, and its ids are not used again.
const DEATH_MS: u16 = 10_000;

/// All sandboxes and what they are made from.
pub struct Sandboxes {
    proof: SingleThreaded,
    arguments: Arguments,
    root: Root,
    cgroup: Option<Base>,
    init: OwnedFd,
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
    pub fn new(
        proof: SingleThreaded,
        arguments: Arguments,
        root: Root,
        cgroup: Option<Base>,
        init: OwnedFd,
    ) -> Self {
        let (ids, network) = (Ids::default(), Network::default());
        let (maps, live) = (HashMap::new(), HashMap::new());
        Self { proof, arguments, root, cgroup, init, ids, network, maps, live }
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
        let applied = Applied { separate_ids: self.root.privileged(), ..Applied::default() };
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
                    eprintln!("supervisor-launcher: can't take back a failed launch: {error}");
                    self.live.insert(request.execution, sandbox);
                }
                Err(failed)
            }
        }
    }

    /// Gets ready for the next launch while nobody waits for it. If it fails, that launch fails.
    pub fn get_ready(&mut self) {
        if let Err(error) = self.network.refresh() {
            eprintln!("supervisor-launcher: can't make a network namespace: {error}");
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
                eprintln!("supervisor-launcher: a sandbox does not end: errno {}", failed.errno);
            }
        }
        self.cgroup.as_ref().map_or(Ok(()), Base::end)
    }

    /// The daemon may be taken over: whatever it asks for is held against root's word again.
    fn admit(&self, request: &Prepare) -> Result<(), Failed> {
        let refused = Failed::refused(Step::Admit);
        let known = request.image == Image(0);
        let within = request.limits.within(&self.arguments.ceiling);
        if self.live.contains_key(&request.execution) || !known || !within {
            return Err(refused);
        }
        if landlock_abi() < request.landlock.max(self.arguments.landlock) {
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
        let Some(base) = &self.cgroup else { return Ok(()) };
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
        let owner = if self.root.privileged() { ids.payload() } else { INIT_ID };
        let map = if self.root.privileged() {
            if !self.maps.contains_key(&ids.slot()) {
                let map = workspace::id_map(&self.proof, owner, self.arguments.daemon_uid);
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
        let cgroup = sandbox.leaf.as_ref().map(Leaf::directory);
        let cloned = clone_into(&self.proof, Namespaces::UserAndPid, cgroup);
        let (process, pid) = match at(Step::Clone, cloned)? {
            Cloned::Child => become_init(&self.init, inside, workspace),
            Cloned::Parent { process, pid } => (process, pid),
        };
        sandbox.outside.put(Descriptor::Process, process);
        let pairs = match &sandbox.ids {
            Some(ids) if self.root.privileged() => {
                vec![(INIT_ID, ids.init()), (PAYLOAD_ID, ids.payload())]
            }
            _ => vec![(INIT_ID, INIT_ID)],
        };
        at(Step::MapIds, workspace::write_map(pid, &pairs))?;
        let held = sandbox.applied.controllers;
        let message = Setup {
            image: request.image.0,
            profile: request.profile,
            exec: request.exec,
            landlock: request.landlock.max(self.arguments.landlock),
            single_id: !self.root.privileged(),
            limit_memory: held & Applied::MEMORY == 0,
            limits: request.limits,
        };
        at(Step::SendSetup, write_at_once(setup.as_fd(), &message.encode()))
    }

    /// Kills, waits, removes, gives back: each only after the one before has succeeded.
    fn end(&mut self, sandbox: &mut Sandbox) -> io::Result<()> {
        if let Some(leaf) = &sandbox.leaf {
            leaf.kill()?;
        }
        if let Some(process) = sandbox.outside.get(Descriptor::Process) {
            kill(process)?;
            let mut fds = [PollFd::new(process, PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(DEATH_MS))? == 0 {
                return Err(Errno::ETIMEDOUT.into());
            }
            waitid(Id::PIDFd(process), WaitPidFlag::WEXITED)?;
            sandbox.outside.forget(Descriptor::Process);
        }
        if let (Some(base), Some(leaf)) = (&self.cgroup, &sandbox.leaf) {
            base.remove(leaf)?;
            sandbox.leaf = None;
        }
        if let Some(ids) = sandbox.ids.take() {
            self.ids.give_back(ids);
        }
        Ok(())
    }
}

/// The clone: waits until its ids are mapped, becomes root of its own user namespace and executes
/// init. Nothing here may return.
fn become_init(init: &OwnedFd, inside: &Inside, workspace: &OwnedFd) -> ! {
    let error = try_become_init(init, inside, workspace);
    let errno = error.raw_os_error().unwrap_or_default();
    let report = Report::Failed { step: Step::Clone, errno };
    if write_at_once(inside.report.as_fd(), &report.encode()).is_err() {
        exit(2);
    }
    exit(1)
}

fn try_become_init(init: &OwnedFd, inside: &Inside, workspace: &OwnedFd) -> io::Error {
    let mut argv = vec![c"supervisor-init".to_owned()];
    let prepared = (|| -> io::Result<()> {
        let mut fds = [PollFd::new(inside.setup.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE)?;
        setresgid(Gid::from_raw(INIT_ID), Gid::from_raw(INIT_ID), Gid::from_raw(INIT_ID))?;
        setresuid(Uid::from_raw(INIT_ID), Uid::from_raw(INIT_ID), Uid::from_raw(INIT_ID))?;
        for fd in inside.each().into_iter().chain([workspace.as_fd()]) {
            keep_on_exec(fd)?;
            argv.push(CString::new(fd.as_raw_fd().to_string()).map_err(io::Error::other)?);
        }
        Ok(())
    })();
    match prepared {
        Ok(()) => execute(init.as_fd(), &argv),
        Err(error) => error,
    }
}
