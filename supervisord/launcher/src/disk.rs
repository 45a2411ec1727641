//! Workspaces on disk, beneath a directory that only root can enter: those that are kept, by id, and
//! those that go with their sandbox. What is there has its limits and is whole, or has no name yet.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;

use nix::dir::Dir;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, fsync, linkat, unlinkat};
use supervisor_launch::{DISK_ID, Kept, MAX_LISTED, MAX_WORKSPACES, Step, Storage};
use supervisor_sys::{SingleThreaded, clone_tree, has_project_quota};

use crate::failure::{Failed, Fatal, at, fatal, tell};
use crate::layers::workspace_of;
use crate::loops::{Loops, Stays};
use crate::projects::Projects;
use crate::room::Room;
use crate::template::{Size, Templates, can_format, taken_by};
use crate::workspace::Source;

/// The directory beneath ours for workspaces that are directories themselves.
const PROJECTS: &str = "projects";

/// What makes the start of a directory's name that goes with its sandbox.
const FRESH: &str = "fresh-";

/// All workspaces on disk.
pub struct Disk {
    directory: OwnedFd,
    medium: Medium,
    room: Room,
    kept: BTreeMap<u128, Kept>,
}

/// What holds their limits.
enum Medium {
    Projects(Projects),
    Images { loops: Loops, templates: Templates },
}

/// What was found while the host's files could still be reached by path.
pub enum Found {
    Projects(OwnedFd, OwnedFd),
    Images(OwnedFd, Loops),
}

impl Found {
    /// Looks at the directory. It must be one that nobody but root can enter. Where this host can't hold
    /// workspaces on disk to limits there are none: the daemon says so to whoever asks for one.
    pub fn look(path: &Path) -> Result<Option<Self>, Fatal> {
        let what = format!("use {} for workspaces", path.display());
        fatal(&what, look(path))
    }
}

fn look(path: &Path) -> io::Result<Option<Found>> {
    let directory = File::open(path)?;
    let metadata = directory.metadata()?;
    if !metadata.is_dir() || metadata.uid() != 0 || metadata.mode() & 0o077 != 0 {
        return Err(io::Error::other("it must be root's own and have the mode 0700"));
    }
    if has_project_quota(directory.as_fd()) {
        let projects = path.join(PROJECTS);
        match DirBuilder::new().mode(0o700).create(&projects) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        // Where the package has made it, it takes no CAP_CHOWN.
        if fs::metadata(&projects)?.uid() != DISK_ID {
            chown(&projects, Some(DISK_ID), Some(DISK_ID))?;
        }
        let projects = clone_tree(&CString::new(projects.as_os_str().as_encoded_bytes())?)?;
        return Ok(Some(Found::Projects(directory.into(), projects)));
    }
    let quota = "no project quota (prjquota) on the file system of workspaces";
    if !can_format() {
        tell(format_args!("{quota}, and no mkfs.ext4 (e2fsprogs) to make images: none on disk"));
        return Ok(None);
    }
    match Loops::open() {
        Ok(loops) => Ok(Some(Found::Images(directory.into(), loops))),
        Err(error) => {
            tell(format_args!("{quota}, and no loop devices for images: none on disk: {error}"));
            Ok(None)
        }
    }
}

impl Disk {
    /// Takes over what is there, and removes what was half made or half removed.
    pub fn open(found: Found) -> io::Result<Self> {
        let (directory, medium) = match found {
            Found::Projects(directory, projects) => {
                (directory, Medium::Projects(Projects::open(projects)?))
            }
            Found::Images(directory, loops) => {
                (directory, Medium::Images { loops, templates: Templates::default() })
            }
        };
        let mut disk = Self { directory, medium, room: Room::default(), kept: BTreeMap::new() };
        let names = disk.names()?;
        for name in &names {
            let whose = workspace_of(name).filter(|whose| names.iter().any(|name| name == whose));
            match (parse(name), whose.and_then(parse)) {
                (Some(kept), _) => drop(disk.kept.insert(kept.id, kept)),
                (None, Some(_)) => {} // what its sandboxes wrote of images
                (None, None) => disk.sweep(name)?,
            }
        }
        Ok(disk)
    }

    /// What holds the limits of workspaces here.
    pub fn storage(&self) -> Storage {
        match self.medium {
            Medium::Projects(_) => Storage::Quota,
            Medium::Images { .. } => Storage::Image,
        }
    }

    /// A kept workspace.
    pub fn kept(&self, id: u128) -> Result<&Kept, Failed> {
        self.kept.get(&id).ok_or(Failed::refused(Step::FindWorkspace))
    }

    /// Kept workspaces from an id on.
    pub fn list(&self, from: u128) -> Vec<Kept> {
        self.kept.range(from..).take(MAX_LISTED).map(|(_, kept)| *kept).collect()
    }

    /// Makes a workspace that stays. It is on disk when this returns.
    pub fn make(&mut self, proof: &SingleThreaded, kept: Kept) -> Result<(), Failed> {
        if self.kept.contains_key(&kept.id) || self.kept.len() >= MAX_WORKSPACES {
            return Err(Failed::refused(Step::MakeDisk));
        }
        let name = name(&kept);
        let size = Size { bytes: kept.bytes, inodes: kept.inodes, journal: true };
        self.leave_room(size)?;
        let made = match &mut self.medium {
            Medium::Projects(projects) => projects.make(&name, kept.bytes, kept.inodes),
            Medium::Images { loops, templates } => nameless(&self.directory).and_then(|image| {
                templates.copy(proof, loops, size, &image)?;
                image.sync_all()?;
                let path = format!("/proc/self/fd/{}", image.as_raw_fd());
                let follow = AtFlags::AT_SYMLINK_FOLLOW;
                linkat(AT_FDCWD, path.as_str(), &self.directory, name.as_str(), follow)?;
                Ok(fsync(&self.directory)?)
            }),
        };
        at(Step::MakeDisk, made)?;
        self.kept.insert(kept.id, kept);
        Ok(())
    }

    /// Removes a kept workspace and all that is in it.
    pub fn remove(&mut self, id: u128) -> Result<(), Failed> {
        let name = name(self.kept(id)?);
        let removed = match &mut self.medium {
            Medium::Projects(projects) => projects.remove(&name),
            Medium::Images { .. } => remove_image(&self.directory, &name),
        };
        at(Step::RemoveWorkspace, removed)?;
        self.kept.remove(&id);
        Ok(())
    }

    /// A workspace that goes with its sandbox.
    pub fn fresh(
        &mut self,
        proof: &SingleThreaded,
        execution: u128,
        bytes: u64,
        inodes: u64,
    ) -> Result<Source, Failed> {
        let size = Size { bytes, inodes, journal: false };
        self.leave_room(size)?;
        match &mut self.medium {
            Medium::Projects(projects) => {
                let name = format!("{FRESH}{execution:032x}");
                at(Step::MakeDisk, projects.make(&name, bytes, inodes))?;
                at(Step::MountDisk, Source::directory(projects.directory(), &name))
            }
            Medium::Images { loops, templates } => {
                // It never has a name, so the kernel removes it whatever becomes of us.
                let image = at(Step::MakeDisk, nameless(&self.directory))?;
                at(Step::MakeDisk, templates.copy(proof, loops, size, &image))?;
                at(Step::MountDisk, loops.mount_own(image.as_fd(), Stays::No)).map(Source::image)
            }
        }
    }

    /// The sandbox of a fresh workspace is gone.
    pub fn forget(&mut self, execution: u128) -> io::Result<()> {
        match &mut self.medium {
            Medium::Projects(projects) => projects.remove(&format!("{FRESH}{execution:032x}")),
            Medium::Images { .. } => Ok(()),
        }
    }

    /// A kept workspace to take mounts of, however many have it already.
    pub fn open_kept(&self, id: u128) -> Result<Source, Failed> {
        let name = name(self.kept(id)?);
        match &self.medium {
            Medium::Projects(projects) => {
                at(Step::MountDisk, Source::directory(projects.directory(), &name))
            }
            Medium::Images { loops, .. } => {
                let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
                let image = openat(&self.directory, name.as_str(), flags, Mode::empty());
                let image = File::from(at(Step::FindWorkspace, image)?);
                at(Step::MountDisk, loops.mount_shared(&image)).map(Source::image)
            }
        }
    }

    /// Whether another of this size leaves what has to stay free. A project takes its bytes as they are written.
    fn leave_room(&mut self, size: Size) -> Result<(), Failed> {
        let bytes = match self.medium {
            Medium::Projects(_) => size.bytes,
            Medium::Images { .. } => at(Step::MakeDisk, taken_by(&self.directory, size))?,
        };
        at(Step::MakeDisk, self.room.leave(&self.directory, bytes))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        if let Medium::Projects(projects) = &self.medium {
            return projects.names();
        }
        let mut names = Vec::new();
        for entry in Dir::from_fd(self.directory.try_clone()?)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if ![".", "..", PROJECTS].contains(&name.as_str()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// In a directory of ours alone, what has no name of ours was not finished. An image gets its name
    /// last, so one without is not ours to remove.
    fn sweep(&mut self, name: &str) -> io::Result<()> {
        match &mut self.medium {
            Medium::Projects(projects) => projects.remove(name),
            Medium::Images { .. } => {
                tell(format_args!("{name:?} among the workspaces is none of ours"));
                Ok(())
            }
        }
    }
}

fn nameless(directory: &OwnedFd) -> io::Result<File> {
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    Ok(openat(directory, ".", flags, Mode::from_bits_truncate(0o600))?.into())
}

fn remove_image(directory: &OwnedFd, name: &str) -> io::Result<()> {
    unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
    Ok(fsync(directory)?)
}

/// A name says all there is to know of a kept workspace, so there is nothing besides that could be lost.
fn name(kept: &Kept) -> String {
    format!("{:032x}-{}-{}-{}", kept.id, kept.owner, kept.bytes, kept.inodes)
}

fn parse(text: &str) -> Option<Kept> {
    let mut parts = text.split('-');
    let id = u128::from_str_radix(parts.next()?, 16).ok()?;
    let owner = parts.next()?.parse().ok()?;
    let kept =
        Kept { id, owner, bytes: parts.next()?.parse().ok()?, inodes: parts.next()?.parse().ok()? };
    (name(&kept) == text).then_some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_as_it_was_written_and_no_other_is() {
        let kept = Kept { id: 7 << 100, owner: 1000, bytes: 1 << 30, inodes: 99 };
        assert_eq!(parse(&name(&kept)), Some(kept));
        for strange in
            ["", "new-1", "fresh-00", "0-1-2-3", &format!("{}-", name(&kept)), "lost+found"]
        {
            assert_eq!(parse(strange), None, "{strange}");
        }
    }
}
