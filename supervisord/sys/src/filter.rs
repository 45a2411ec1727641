//! System call filters and what the kernel knows of Landlock.

use std::io;

use crate::check;

/// One instruction of a classic BPF program, `struct sock_filter` of linux/filter.h.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to pass over when the comparison holds.
    pub jt: u8,
    /// Instructions to pass over when it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// Installs a filter for this thread and what it will start. Needs no_new_privs.
pub fn install_filter(program: &[Instruction]) -> io::Result<()> {
    install(program, 0).map(drop)
}

/// The same with flags, one of which has it answer a descriptor (seccomp(2), SECCOMP_SET_MODE_FILTER).
pub(crate) fn install(program: &[Instruction], flags: libc::c_ulong) -> io::Result<libc::c_long> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length =
        u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = Program { length, instructions: program.as_ptr() };
    const SET_MODE_FILTER: libc::c_uint = 1;
    // SAFETY: the kernel copies `length` instructions from a slice that lives through the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, &raw const program) })
}

/// The kernel's Landlock ABI; 0 where it has none or it is switched off
/// (landlock_create_ruleset(2), LANDLOCK_CREATE_RULESET_VERSION).
pub fn landlock_abi() -> u8 {
    const VERSION: libc::c_uint = 1;
    let nothing: *const libc::c_void = std::ptr::null();
    // SAFETY: with this flag the kernel takes a null pointer and size 0 and answers a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) };
    u8::try_from(abi).unwrap_or(0)
}
