//! Who is at the other end: the uid and the groups that the kernel recorded when the connection was
//! made (SO_PEERCRED, SO_PEERGROUPS), and the role that the configuration gives them. No byte that a peer sends, and
//! no address that it binds, has a say.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, PoisonError, RwLock};

use nix::unistd::Uid;
use tokio::net::UnixStream;

use crate::supervisor::{Caller, Role};

/// What the kernel recorded of a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its uid when it connected.
    pub uid: u32,
    /// Its primary gid when it connected.
    pub gid: u32,
    /// Its other groups when it connected.
    pub groups: Vec<u32>,
}

/// Which peers are administrators: root and the daemon's own user always, and who is added. Copies share
/// what they hold.
#[derive(Debug, Clone)]
pub struct Roles(Arc<RwLock<Admins>>);

#[derive(Debug)]
struct Admins {
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    everybody: bool,
}

impl Peer {
    /// The peer of a connection.
    ///
    /// # Errors
    ///
    /// When the kernel has no answer, which must never read as somebody in particular.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let groups = supervisor_sys::peer_groups(stream.as_fd())?;
        let peer = Self { uid: credentials.uid(), gid: credentials.gid(), groups };
        if peer.uid == u32::MAX {
            // What the kernel leaves in place where it recorded nobody.
            return Err(io::Error::new(io::ErrorKind::NotFound, "the peer has no credentials"));
        }
        Ok(peer)
    }
}

impl Roles {
    /// Root, the daemon's own user, these users and the members of these groups.
    pub fn new(
        admin_uids: impl IntoIterator<Item = u32>,
        admin_gids: impl IntoIterator<Item = u32>,
    ) -> Self {
        Self(Arc::new(RwLock::new(Admins::new(admin_uids, admin_gids))))
    }

    /// From the next connection on, these are the administrators.
    pub fn replace(&self, admin_uids: &[u32], admin_gids: &[u32]) {
        let admins = Admins::new(admin_uids.iter().copied(), admin_gids.iter().copied());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = admins;
    }

    /// Whoever connects is an administrator: only for a socket whose mode says who connects, and that
    /// serves nothing but metrics.
    pub(super) fn any() -> Self {
        let everybody = Admins { everybody: true, ..Admins::new([], []) };
        Self(Arc::new(RwLock::new(everybody)))
    }

    /// The peer as a caller.
    pub fn caller(&self, peer: &Peer) -> Caller {
        let admins = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut groups = peer.groups.iter().chain([&peer.gid]);
        let named = admins.uids.contains(&peer.uid) || groups.any(|gid| admins.gids.contains(gid));
        let admin = admins.everybody || named;
        Caller { uid: peer.uid, role: if admin { Role::Admin } else { Role::Agent } }
    }
}

impl Admins {
    fn new(uids: impl IntoIterator<Item = u32>, gids: impl IntoIterator<Item = u32>) -> Self {
        let own = Uid::effective().as_raw();
        let uids = uids.into_iter().chain([0, own]).collect();
        Self { uids, gids: gids.into_iter().collect(), everybody: false }
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::new([], [])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(roles: &Roles, uid: u32, gid: u32) -> Role {
        roles.caller(&Peer { uid, gid, groups: vec![100] }).role
    }

    #[test]
    fn only_root_and_the_daemon_itself_are_administrators_unless_others_are_named() {
        let roles = Roles::default();
        assert_eq!(role(&roles, 0, 0), Role::Admin);
        assert_eq!(role(&roles, Uid::effective().as_raw(), 77), Role::Admin);
        assert_eq!(role(&roles, 2001, 0), Role::Agent);
    }

    #[test]
    fn a_named_user_or_group_is_an_administrator() {
        let roles = Roles::new([2001], [300]);
        assert_eq!(role(&roles, 2001, 100), Role::Admin);
        assert_eq!(role(&roles, 2002, 300), Role::Admin);
        assert_eq!(role(&roles, 2002, 101), Role::Agent);
        assert_eq!(role(&Roles::new([], [100]), 2002, 101), Role::Admin, "any of its groups");
        // A uid is not a gid.
        assert_eq!(role(&roles, 300, 2001), Role::Agent);
        let copy = roles.clone();
        roles.replace(&[2005], &[]);
        assert_eq!(role(&copy, 2005, 101), Role::Admin);
        assert_eq!(role(&copy, 2001, 101), Role::Agent);
    }
}
