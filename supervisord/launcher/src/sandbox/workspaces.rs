//! The workspaces of sandboxes, and those that are kept.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use supervisor_launch::{Descriptor, INIT_ID, Kept, Prepare, Step, Workspace};

use super::{MadeFrom, Sandbox, Sandboxes};
use crate::failure::{Failed, at};
use crate::workspace::{Source, View};

impl Sandboxes {
    /// The workspace of a sandbox that is being made; the daemon's view is put to its descriptors.
    pub(super) fn make_workspace(
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
}
