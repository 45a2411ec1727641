//! A pseudo-terminal for one payload, in an instance of their file system that only its sandbox has.
//!
//! The launcher makes the instance, so that it can keep the master over a daemon's death, and init attaches
//! it at /dev/pts: the payload finds its own terminal there by name, and makes others beside it. What it
//! can do with a terminal is bounded by its filter: nothing typed into one (TIOCSTI, TIOCLINUX), no line
//! discipline but the first (TIOCSETD), no console. The slave's descriptors in the sandbox were opened by
//! us, so a payload has exactly those three, and what it opens itself its Landlock rules allow. The master
//! is in a table of ours and the daemon's only; neither is in a session that the terminal could signal.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use supervisor_launch::Descriptor;
use supervisor_sys::{FsContext, MountAttributes, open_terminal, resize_terminal};

use crate::descriptors::Outside;

/// Pseudo-terminals in an instance at the most; their memory is the kernel's.
const MAX_TERMINALS: &CStr = c"64";

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
    ) -> io::Result<Self> {
        let context = FsContext::open(c"devpts")?;
        let id = CString::new(owner.to_string()).map_err(io::Error::other)?;
        for (key, value) in [
            (c"ptmxmode", c"0666"),
            (c"mode", c"0620"),
            (c"max", MAX_TERMINALS),
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
