//! A pseudo-terminal for one payload, in an instance of their file system that only its sandbox has.
//!
//! The launcher makes the instance, so that it can keep the master over a daemon's death, and init attaches
//! it at /dev/pts: the payload finds its own terminal there by name. It makes others beside it only where its
//! policy says so ([`MakesOthers`]).
//!
//! What it can do with a terminal is bounded by its filter: nothing typed into one (TIOCSTI, TIOCLINUX), no line
//! discipline but the first (TIOCSETD), no console. The slave's descriptors in the sandbox were opened by
//! us, so a payload has exactly those three, and what it opens itself its Landlock rules allow. The master
//! is in a table of ours and the daemon's only; neither is in a session that the terminal could signal.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use supervisor_launch::Descriptor;
use supervisor_sys::{FsContext, MountAttributes, open_terminal, resize_terminal, without};

use crate::descriptors::Outside;

/// Pseudo-terminals in an instance at the most; their memory is the kernel's.
const MAX_TERMINALS: &CStr = c"64";

/// The same where the payload makes none: its own is one as long as we have its master.
const ITS_OWN: &CStr = c"1";

/// Whether the payload makes other pseudo-terminals, whose masters it has. What is written to a master is edited,
/// echoed and shown again by threads of the kernel: a few bytes at the end of a long line cost milliseconds that no
/// limit of a sandbox counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum MakesOthers {
    /// As its policy says.
    Yes,
    /// The node that makes them is ours, and the instance has room for no second one. Without privilege we are who
    /// the payload is, and the second holds alone.
    No,
}

impl MakesOthers {
    /// Who may open the node, and how many pseudo-terminals there can be.
    fn options(self) -> (&'static CStr, &'static CStr) {
        let anybody = self == Self::Yes || without("ptmx-mode");
        let many = self == Self::Yes || without("one-terminal");
        (if anybody { c"0666" } else { c"0600" }, if many { MAX_TERMINALS } else { ITS_OWN })
    }
}

/// The sandbox's part of a terminal.
pub struct Terminal {
    /// The file system it is in, attached nowhere yet.
    pub instance: OwnedFd,
    /// The payload's side.
    pub slave: OwnedFd,
}

impl Terminal {
    /// Makes one that belongs to `owner`; its master is kept in `outside`.
    pub fn make(
        outside: &mut Outside,
        owner: u32,
        (rows, columns): (u16, u16),
        others: MakesOthers,
    ) -> io::Result<Self> {
        let context = FsContext::open(c"devpts")?;
        let id = CString::new(owner.to_string()).map_err(io::Error::other)?;
        let (mode, most) = others.options();
        for (key, value) in [
            (c"ptmxmode", mode),
            (c"mode", c"0620"),
            (c"max", most),
            (c"uid", id.as_c_str()),
            (c"gid", id.as_c_str()),
        ] {
            context.set(key, value)?;
        }
        let instance = context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_EXEC))?;
        let (master, slave) = open_terminal(instance.as_fd())?;
        resize_terminal(master.as_fd(), rows, columns)?;
        outside.put(Descriptor::Terminal, master);
        Ok(Self { instance, slave })
    }
}
