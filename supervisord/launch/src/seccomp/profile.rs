//! The profiles, by name and by number.

use crate::seccomp::{Action, Errno};

/// Which system calls a process may make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// What the sandbox's own PID 1 needs once it only waits, reaps and reports. It can't be asked
    /// for, neither by name nor by number.
    Init,
    /// What the launcher keeps: everything but what a launcher never does. It can't be asked for.
    Launcher,
    /// What the daemon keeps: everything but what leads out of its own process. It can't be asked for.
    Daemon,
    /// What the unpacker of images keeps: reading, making files, ending. It can't be asked for.
    Unpack,
    /// Ordinary programs: interpreters, compilers, shells, package tools, with TCP and UDP.
    Default,
    /// [`Profile::Default`] without sockets other than connected pairs.
    NoNetwork,
    /// [`Profile::Default`] with Unix sockets that have addresses.
    UnixSockets,
    /// What a payload lacks whose memory is watched by looking at its processes. Like those that follow, it
    /// comes before a payload's profile and can't be asked for.
    Unseen,
    /// What it lacks besides where its ipc namespace could not be given bounds.
    Unbound,
    /// What it lacks where nothing may be executed that was written.
    NoExec,
    /// What it can have so many of and no more, because init is asked each time. It comes before all others.
    Counted,
}

impl Profile {
    /// The profiles that a payload can run under.
    pub const PAYLOAD: [Profile; 3] = [Profile::Default, Profile::NoNetwork, Profile::UnixSockets];

    /// Those that come before one of them, in one sandbox or another.
    pub const NARROWER: [Profile; 3] = [Profile::Unseen, Profile::Unbound, Profile::NoExec];

    /// The name that policies and results use.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Init => "init",
            Profile::Launcher => "launcher",
            Profile::Daemon => "daemon",
            Profile::Unpack => "unpack",
            Profile::Default => "default",
            Profile::NoNetwork => "no-network",
            Profile::UnixSockets => "unix-sockets",
            Profile::Unseen => "unseen",
            Profile::Unbound => "unbound",
            Profile::NoExec => "no-exec",
            Profile::Counted => "counted",
        }
    }

    /// The payload's profile of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::PAYLOAD.into_iter().find(|profile| profile.name() == name)
    }

    /// The number that messages use. It never changes its meaning; 0 is no payload's profile, so a
    /// zeroed message selects nothing.
    pub const fn code(self) -> u8 {
        match self {
            Profile::Init => 0,
            Profile::Launcher => u8::MAX,
            Profile::Daemon => u8::MAX - 1,
            Profile::Unpack => u8::MAX - 2,
            Profile::Unseen => u8::MAX - 3,
            Profile::Unbound => u8::MAX - 4,
            Profile::NoExec => u8::MAX - 5,
            Profile::Counted => u8::MAX - 6,
            Profile::Default => 1,
            Profile::NoNetwork => 2,
            Profile::UnixSockets => 3,
        }
    }

    /// The payload's profile of this number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::PAYLOAD.into_iter().find(|profile| profile.code() == code)
    }

    /// What becomes of a call that the profile's tables don't have.
    pub const fn otherwise(self) -> Action {
        match self {
            // It makes no call that isn't in its table; if it does, somebody else is at work.
            Profile::Init | Profile::Unpack => Action::Kill,
            // All that it starts inherits this, so the rest is for the filters that come after it.
            Profile::Launcher => Action::Allow,
            // A list of what is allowed would have to follow every update of the runtime and of
            // SQLite. This one closes what leads out of the process.
            Profile::Daemon => Action::Allow,
            // The payload's own filter has the rest.
            Profile::Unseen | Profile::Unbound | Profile::NoExec | Profile::Counted => {
                Action::Allow
            }
            // Programs and C libraries know this answer from older kernels and have another way.
            Profile::Default | Profile::NoNetwork | Profile::UnixSockets => {
                Action::Fail(Errno::ENOSYS)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_of_a_payload_is_found_by_its_name_and_its_number() {
        for profile in Profile::PAYLOAD {
            assert_eq!(Profile::parse(profile.name()), Some(profile));
            assert_eq!(Profile::from_code(profile.code()), Some(profile));
        }
    }

    #[test]
    fn no_message_and_no_policy_can_select_the_profile_of_init() {
        assert_eq!(Profile::parse(Profile::Init.name()), None);
        assert_eq!(Profile::from_code(Profile::Init.code()), None);
        assert_eq!(Profile::from_code(0), None);
        assert!((4..=u8::MAX).all(|code| Profile::from_code(code).is_none()));
    }
}
