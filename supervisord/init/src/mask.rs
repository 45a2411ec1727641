//! Entries of /proc that say something of the host and nothing of the sandbox are covered: files by
//! the null device, directories by an empty read-only one.

use std::ffi::CStr;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{chdir, fchdir};
use supervisor_launch::Step;
use supervisor_sys::{attach, clone_tree, without};

use crate::failure::{Failed, at};

/// What is covered, as far as the kernel has it and lets others than root read it; the payload is not
/// root. Each cover is a mount to make and to take down at every start, so what is no secret is left:
/// addresses that the kernel blanks (iomem, ioports), the configuration of a distribution's kernel, and
/// counters that /proc/stat has as well.
const MASKED: [&CStr; 23] = [
    c"acpi",          // the host's power and firmware
    c"asound",        // its sound hardware
    c"bootconfig",    // its boot parameters
    c"bus",           // its devices
    c"cmdline",       // its boot parameters
    c"diskstats",     // what neighbours read and write: a session's disk may be a device of its own
    c"driver",        // its devices
    c"dynamic_debug", // its kernel's modules, which attacks are worth a try
    c"fs",            // its file systems, with device names
    c"interrupts",    // timing of its devices, a side channel
    c"irq",           // its devices
    c"kallsyms",      // kernel addresses
    c"kcore",         // the kernel's memory
    c"key-users",     // keyrings, which are not in a namespace
    c"keys",          // the same
    c"latency_stats", // a side channel
    c"locks",         // what the host's programs lock, and a channel to them
    c"modules",       // which attacks are worth a try
    c"partitions",    // which sessions there are, and how large
    c"sched_debug",   // every process of the host
    c"scsi",          // its devices
    c"sysrq-trigger", // restarts the host
    c"timer_list",    // every timer of the host
];

/// Permission bits of others.
const OTHERS: u32 = 0o007;

/// What covers a file: the image's null device, which the launcher has looked at.
const NULL: &CStr = c"/images/0/dev/null";

/// What covers a directory.
const EMPTY: &CStr = c"/empty";

/// Covers what is there.
pub fn cover() -> Result<(), Failed> {
    let proc = open(c"proc", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let proc = at(Step::MaskProc, proc)?;
    at(Step::MaskProc, fchdir(&proc))?;
    for name in MASKED {
        if without("masks") {
            continue;
        }
        let mode = match fstatat(&proc, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => continue,
            other => at(Step::MaskProc, other)?.st_mode,
        };
        if mode & OTHERS == 0 {
            continue;
        }
        let kind = mode & SFlag::S_IFMT.bits();
        let source = if kind == SFlag::S_IFDIR.bits() { EMPTY } else { NULL };
        let cover = at(Step::MaskProc, clone_tree(source))?;
        at(Step::MaskProc, attach(cover.as_fd(), name))?;
    }
    at(Step::MaskProc, chdir(".."))
}
