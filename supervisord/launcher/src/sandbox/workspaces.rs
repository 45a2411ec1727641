//! The workspaces of sandboxes, and those that are kept.

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use supervisor_launch::{Descriptor, IMAGE_ID, INIT_ID, Image, Kept, Prepare, Step, Workspace};

use super::{MadeFrom, Sandbox, Sandboxes};
use crate::failure::{Failed, at};
use crate::workspace::{Source, View};

impl Sandboxes {
    /// The workspace of a sandbox that is being made; the daemon's view is put to its descriptors.
    pub(super) fn make_workspace(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
    ) -> Result<(OwnedFd, Option<OwnedFd>), Failed> {
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
                let has_it = |other: &Sandbox| other.workspace == Workspace::Kept(id);
                if request.writable_root
                    && self.live.values().any(|other| other.writable_root && has_it(other))
                {
                    // The kernel promises nothing of two that write the same layer.
                    return Err(Failed { step: Step::PrepareRoot, errno: Errno::EBUSY as i32 });
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

    /// Makes the sandbox's view of a workspace, and the daemon's; and of what is written of its image the
    /// sandbox's alone.
    fn hand_out(
        &mut self,
        request: &Prepare,
        sandbox: &mut Sandbox,
        source: Source,
        payload: u32,
    ) -> Result<(OwnedFd, Option<OwnedFd>), Failed> {
        let layer = match request.image {
            Image::Imported(id) if request.writable_root => {
                Some(at(Step::PrepareRoot, source.layer(id))?)
            }
            _ => None,
        };
        let arguments = &self.made_from.arguments;
        let (uid, gid) = (arguments.daemon_uid, arguments.daemon_gid);
        // Without privilege all have the same host id.
        let (mut inside, mut grant) = (None, None);
        if self.made_from.root.privileged() {
            let (proof, owner) = (&self.made_from.proof, source.owner);
            at(Step::GrantWorkspace, self.maps.need(proof, owner, (uid, gid)))?;
            if owner != payload {
                at(Step::MakeWorkspace, self.maps.need(proof, owner, (payload, payload)))?;
            }
            if layer.is_some() {
                at(Step::PrepareRoot, self.maps.need(proof, IMAGE_ID, (payload, payload)))?;
            }
            (inside, grant) = (self.maps.get(owner, payload), self.maps.get(owner, uid));
        }
        let exec = request.exec;
        let mut views = vec![
            View { layer: None, exec, map: inside, step: Step::MakeWorkspace },
            View { layer: None, exec: false, map: grant, step: Step::GrantWorkspace },
        ];
        if let Some(layer) = &layer {
            let layer = Some(layer.as_c_str());
            views.push(View { layer, exec, map: inside, step: Step::PrepareRoot });
        }
        let mut made = source.views(&views)?.into_iter();
        let (Some(inside), Some(grant)) = (made.next(), made.next()) else {
            return Err(Failed::refused(Step::MakeWorkspace));
        };
        sandbox.outside.put(Descriptor::Workspace, grant);
        Ok((inside, made.next()))
    }

    /// The image of a sandbox whose root can be written: its root's files are the payload's.
    pub(super) fn copy_image(&self, sandbox: &Sandbox) -> Result<OwnedFd, Failed> {
        let Some(ids) = &sandbox.ids else { return Err(Failed::refused(Step::TakeIds)) };
        let map = self.maps.get(IMAGE_ID, ids.payload());
        let map = map.ok_or(Failed::refused(Step::PrepareRoot))?;
        at(Step::PrepareRoot, self.made_from.images.copy(sandbox.image, Some(map)))
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
        let view = View { layer: None, exec: false, map, step: Step::GrantWorkspace };
        source.views(&[view])?.pop().ok_or(Failed::refused(Step::GrantWorkspace))
    }
}
