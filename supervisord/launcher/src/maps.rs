//! Id maps: whose on a mount a file system's files are, and whose in a sandbox its processes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::exit;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use supervisor_sys::{Cloned, SingleThreaded, clone_user_namespace, receive, send};

/// Maps for mounts, by the id in the file system and the uid it stands for; made at first use, valid
/// for ever. There are four for a range of host ids at the most.
#[derive(Default)]
pub struct Maps(HashMap<(u32, u32), OwnedFd>);

impl Maps {
    /// Makes sure that there is a map that says: the file system's `inside` is `outside`, uid and gid.
    pub fn need(
        &mut self,
        proof: &SingleThreaded,
        inside: u32,
        outside: (u32, u32),
    ) -> io::Result<()> {
        if let Entry::Vacant(place) = self.0.entry((inside, outside.0)) {
            place.insert(id_map(proof, inside, outside)?);
        }
        Ok(())
    }

    /// A map that was needed before.
    pub fn get(&self, inside: u32, outside: u32) -> Option<BorrowedFd<'_>> {
        self.0.get(&(inside, outside)).map(|map| map.as_fd())
    }
}

/// A user namespace whose map says: the file system's `inside` is the host's `outside`, uid and gid. A child
/// makes it and hands it out itself: only a tracer or the process itself may open it.
fn id_map(proof: &SingleThreaded, inside: u32, outside: (u32, u32)) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
    match clone_user_namespace(proof)? {
        Cloned::Child => {
            drop(ours);
            exit(i32::from(hand_out_namespace(&theirs).is_err()))
        }
        Cloned::Parent { process, pid } => {
            drop(theirs);
            let namespace = receive(ours.as_fd(), &mut [0]).and_then(|(_, mut fds)| {
                write_maps(pid, &[(inside, outside.0)], &[(inside, outside.1)])?;
                fds.pop().ok_or(io::ErrorKind::UnexpectedEof.into())
            });
            drop(ours);
            waitid(Id::PIDFd(process.as_fd()), WaitPidFlag::WEXITED)?;
            namespace
        }
    }
}

fn hand_out_namespace(parent: &OwnedFd) -> io::Result<()> {
    let namespace = fs::File::open("/proc/self/ns/user")?;
    send(parent.as_fd(), &[0], &[namespace.as_fd()])?;
    // Stays until the maps are written: the parent closes its end, or is gone.
    receive(parent.as_fd(), &mut [0]).map(drop)
}

/// Writes the user and group maps of a process that was just cloned and can't go on without them.
/// Its pid can't have been given to another: it is our child and we have not waited for it.
pub fn write_maps(pid: u32, users: &[(u32, u32)], groups: &[(u32, u32)]) -> io::Result<()> {
    for (file, pairs) in [("uid_map", users), ("gid_map", groups)] {
        let mut map = String::new();
        for (inside, outside) in pairs {
            writeln!(map, "{inside} {outside} 1").map_err(io::Error::other)?;
        }
        fs::write(format!("/proc/{pid}/{file}"), &map)?;
    }
    Ok(())
}
