//! Who is at the other end: the uid and gid that the kernel recorded when the connection was made
//! (SO_PEERCRED), and the role that the configuration gives them. No byte that a peer sends, and
//! no address that it binds, has a say.

use std::collections::BTreeSet;
use std::io;

use nix::unistd::Uid;
use tokio::net::UnixStream;

use crate::supervisor::{Caller, Role};

/// What the kernel recorded of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its uid when it connected.
    pub uid: u32,
    /// Its primary gid when it connected.
    pub gid: u32,
}

/// Which peers are administrators: root and the daemon's own user always, and who is added.
#[derive(Debug, Clone)]
pub struct Roles {
    admin_uids: BTreeSet<u32>,
    admin_gids: BTreeSet<u32>,
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
        let peer = Self { uid: credentials.uid(), gid: credentials.gid() };
        if peer.uid == u32::MAX {
            // What the kernel leaves in place where it recorded nobody.
            return Err(io::Error::new(io::ErrorKind::NotFound, "the peer has no credentials"));
        }
        Ok(peer)
    }
}

impl Roles {
    /// Root, the daemon's own user, these users and those whose primary group is one of these.
    pub fn new(
        admin_uids: impl IntoIterator<Item = u32>,
        admin_gids: impl IntoIterator<Item = u32>,
    ) -> Self {
        let own = Uid::effective().as_raw();
        Self {
            admin_uids: admin_uids.into_iter().chain([0, own]).collect(),
            admin_gids: admin_gids.into_iter().collect(),
            everybody: false,
        }
    }

    /// Whoever connects is an administrator: only for a socket whose mode says who connects, and that
    /// serves nothing but metrics.
    pub(super) fn any() -> Self {
        Self { everybody: true, ..Self::default() }
    }

    /// The peer as a caller.
    pub fn caller(&self, peer: Peer) -> Caller {
        let admin = self.everybody
            || self.admin_uids.contains(&peer.uid)
            || self.admin_gids.contains(&peer.gid);
        Caller { uid: peer.uid, role: if admin { Role::Admin } else { Role::Agent } }
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
        roles.caller(Peer { uid, gid }).role
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
        assert_eq!(role(&roles, 2002, 100), Role::Agent);
        // A uid is not a gid.
        assert_eq!(role(&roles, 300, 2001), Role::Agent);
    }
}
