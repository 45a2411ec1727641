//! The system-call profiles that a policy can name. What each allows is reviewed data of the
//! launch contract; here they are names with an order.

use std::fmt;

/// An allow-list of system calls. Each allows all that the one before it does, and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyscallProfile {
    /// `no-network`: as `default`, without sockets other than connected pairs.
    NoNetwork,
    /// `default`: what interpreters, compilers and build tools need; TCP and UDP sockets.
    Default,
    /// `unix-sockets`: as `default`, with Unix sockets that have addresses.
    UnixSockets,
}

impl SyscallProfile {
    /// Every profile, the strictest first.
    pub const ALL: &[SyscallProfile] =
        &[SyscallProfile::NoNetwork, SyscallProfile::Default, SyscallProfile::UnixSockets];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            SyscallProfile::NoNetwork => "no-network",
            SyscallProfile::Default => "default",
            SyscallProfile::UnixSockets => "unix-sockets",
        }
    }

    /// The profile of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|profile| profile.as_str() == name)
    }

    /// Whether it allows a call that `other` doesn't.
    pub fn allows_more_than(self, other: Self) -> bool {
        self > other
    }
}

impl fmt::Display for SyscallProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
