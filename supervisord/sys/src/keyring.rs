//! Kernel keyrings, which no namespace separates.

use std::io;

use crate::check;

/// Leaves the session keyring that was inherited for a new one with nothing in it, for this thread and
/// what it starts (keyctl(2), KEYCTL_JOIN_SESSION_KEYRING). Where the kernel has no keys there is none.
pub fn leave_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_int = 1;
    let nameless: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for a keyring without one.
    match check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, nameless) }) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: *const libc::c_char = c"user".as_ptr();
    const NAME: *const libc::c_char = c"supervisor-sys-test".as_ptr();

    fn add() -> io::Result<libc::c_long> {
        const SESSION: libc::c_int = -3; // KEY_SPEC_SESSION_KEYRING
        let (secret, length) = (c"secret".as_ptr(), 6_usize);
        // SAFETY: the strings live through the call, and the secret has the length that we name.
        check(unsafe { libc::syscall(libc::SYS_add_key, KIND, NAME, secret, length, SESSION) })
    }

    fn find() -> io::Result<libc::c_long> {
        let nothing: *const libc::c_char = std::ptr::null();
        // SAFETY: both strings live through the call; nobody is asked for a key that isn't there.
        check(unsafe { libc::syscall(libc::SYS_request_key, KIND, NAME, nothing, 0) })
    }

    #[test]
    fn a_key_of_the_session_that_is_left_is_not_found() {
        leave_session_keyring().unwrap();
        add().unwrap();
        find().unwrap();
        leave_session_keyring().unwrap();
        assert_eq!(find().unwrap_err().raw_os_error(), Some(libc::ENOKEY));
    }
}
