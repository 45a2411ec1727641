//! Capability state that the `caps` crate has no call for.

use std::io;

use crate::{check, without};

/// SECBIT_NOROOT and SECBIT_NO_CAP_AMBIENT_RAISE with their locks, and SECBIT_KEEP_CAPS_LOCKED
/// (linux/securebits.h): uid 0 means nothing at exec, and nothing of this can be taken back.
const SECUREBITS: libc::c_ulong = 0x01 | 0x02 | 0x20 | 0x40 | 0x80;

/// Makes uid 0 mean nothing at exec, for this process and its children, for ever (prctl(2),
/// PR_SET_SECUREBITS). Needs CAP_SETPCAP.
pub fn set_securebits() -> io::Result<()> {
    if without("securebits") {
        return Ok(());
    }
    // SAFETY: PR_SET_SECUREBITS takes a number and no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) }.into()).map(drop)
}

/// `struct __user_cap_header_struct` of linux/capability.h.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// Version 3 of the calls (_LINUX_CAPABILITY_VERSION_3), about this thread.
const OURSELVES: Header = Header { version: 0x2008_0522, pid: 0 };

/// Empties the effective, permitted and inheritable sets of this thread, and with them the ambient one
/// (capset(2)).
pub fn empty_capability_sets() -> io::Result<()> {
    if without("capability-sets") {
        return Ok(());
    }
    let (mut header, sets) = (OURSELVES, [[0_u32; 3]; 2]);
    // SAFETY: version 3 reads one header and two sets of three words, which is what we pass.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) }).map(drop)
}

/// Whether the effective, permitted and inheritable sets of this thread are empty (capget(2)).
pub fn no_capabilities_left() -> io::Result<bool> {
    if without("capability-sets") {
        return Ok(true);
    }
    let mut header = OURSELVES;
    let mut sets = [[u32::MAX; 3]; 2];
    // SAFETY: version 3 reads one header and writes two sets of three words, which is what we pass.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    Ok(sets.iter().flatten().all(|word| *word == 0))
}

/// Empties the bounding set, of the capabilities this kernel has and not only of those we have
/// names for (prctl(2), PR_CAPBSET_DROP; EINVAL past the last one). Needs CAP_SETPCAP.
pub fn empty_bounding_set() -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: PR_CAPBSET_DROP takes a number and no pointer.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match check(dropped.into()) {
            Err(error) if capability > 0 && error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other.map(drop)?,
        }
    }
    Ok(())
}
