//! Datagrams with descriptors on a SOCK_SEQPACKET Unix socket (unix(7), SCM_RIGHTS).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{check, check_fd, without};

/// Descriptors in one message at the most. The kernel allows 253 (SCM_MAX_FD); we send 24.
const MAX_DESCRIPTORS: usize = 32;

/// Bytes of a control message: its head and a number for each.
const CONTROL: usize = HEAD + MAX_DESCRIPTORS * size_of::<libc::c_int>();

/// Room for the control message that holds them, aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Sends one datagram. It goes whole or not at all.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_DESCRIPTORS {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `msghdr` is plain old data for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let numbers: Vec<libc::c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        put_rights(&mut control, &mut header, &numbers);
    }
    // SAFETY: the header points at the bytes and the control block, which live through the call.
    let sent =
        check(unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL) }
            as _)?;
    if sent as usize == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// `cmsghdr` is a length (usize), a level and a type (int each); the numbers follow (cmsg(3)).
const HEAD: usize = size_of::<libc::cmsghdr>();

fn put_rights(control: &mut Control, header: &mut libc::msghdr, numbers: &[libc::c_int]) {
    let length = HEAD + size_of_val(numbers);
    let head = length
        .to_ne_bytes()
        .into_iter()
        .chain(libc::SOL_SOCKET.to_ne_bytes())
        .chain(libc::SCM_RIGHTS.to_ne_bytes());
    let payload = numbers.iter().flat_map(|number| number.to_ne_bytes());
    for (to, from) in control.0.iter_mut().zip(head.chain(payload)) {
        *to = from;
    }
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = length.next_multiple_of(8) as _;
}

/// Receives one datagram into `buffer`: its length (0 at the end of the connection) and its
/// descriptors, marked close-on-exec. A datagram or a set of descriptors that was cut is an error,
/// and what arrived of it is closed.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    match receive_what_fits(socket, buffer)? {
        (length, fds, true) => Ok((length, fds)),
        (_, _, false) => Err(too_long()),
    }
}

/// The same, where descriptors may be missing because there is no room for them in our table, or because
/// there were more than a message may have; the last value says whether all are there.
pub fn receive_what_fits(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> io::Result<(usize, Vec<OwnedFd>, bool)> {
    let mut control = Control([0; CONTROL]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain old data for which all zeroes is a value.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = control.0.len() as _;
    let flags = if without("close-on-exec") { 0 } else { libc::MSG_CMSG_CLOEXEC };
    // SAFETY: the header points at buffers of the lengths it names, which live through the call.
    let received =
        check(unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) } as _)?;
    let fds = take_rights(&control, header.msg_controllen as usize);
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(too_long());
    }
    Ok((received as usize, fds, header.msg_flags & libc::MSG_CTRUNC == 0))
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a message longer than its bound")
}

fn take_rights(control: &Control, filled: usize) -> Vec<OwnedFd> {
    let numbers = control.0.get(..filled).map(rights).unwrap_or_default();
    numbers
        .into_iter()
        .map(|number| {
            // SAFETY: the kernel put these descriptors into our table for this message just now,
            // and each number is taken once.
            unsafe { OwnedFd::from_raw_fd(number) }
        })
        .collect()
}

/// The numbers in a control message, if it is one of descriptors.
fn rights(bytes: &[u8]) -> Vec<libc::c_int> {
    let (Some((length, rest)), true) = (bytes.split_first_chunk::<8>(), bytes.len() >= HEAD) else {
        return Vec::new();
    };
    let length = usize::from_ne_bytes(*length);
    let kind = [libc::SOL_SOCKET.to_ne_bytes(), libc::SCM_RIGHTS.to_ne_bytes()].concat();
    if rest.get(..8) != Some(kind.as_slice()) {
        return Vec::new();
    }
    let held = bytes.get(HEAD..length.min(bytes.len())).unwrap_or_default();
    let (numbers, _) = held.as_chunks::<4>();
    numbers.iter().map(|number| libc::c_int::from_ne_bytes(*number)).collect()
}

/// Takes a connection off a listening socket's queue (accept4(2)).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let nobody: *mut libc::sockaddr = std::ptr::null_mut();
    let length: *mut libc::socklen_t = std::ptr::null_mut();
    let fd = listener.as_raw_fd();
    // SAFETY: null pointers say that we don't ask for the peer's address.
    check_fd(unsafe { libc::accept4(fd, nobody, length, libc::SOCK_CLOEXEC) }.into())
}

const SO_PASSRIGHTS: libc::c_int = 83;

/// Has the kernel refuse descriptors that somebody would pass to this Unix socket, or to one that is accepted from
/// it (SO_PASSRIGHTS, Linux 6.16). False where the kernel doesn't know how; they arrive then, or are closed for
/// whoever reads without room for them.
pub fn refuse_descriptors(socket: BorrowedFd<'_>) -> io::Result<bool> {
    if without("pass-rights") {
        return Ok(false);
    }
    let no: libc::c_int = 0;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let (fd, level) = (socket.as_raw_fd(), libc::SOL_SOCKET);
    // SAFETY: the kernel reads `length` bytes of an int that lives through the call.
    let set = unsafe { libc::setsockopt(fd, level, SO_PASSRIGHTS, (&raw const no).cast(), length) };
    match check(set.into()) {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(false),
        other => other.map(|_| true),
    }
}

/// The uid of a connected Unix socket's other end, as it was when it connected (SO_PEERCRED).
pub fn peer_uid(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes into a ucred.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &raw mut length,
        )
    };
    check(result.into())?;
    Ok(peer.uid)
}

/// Groups that a process may have at the most (NGROUPS_MAX).
const MAX_GROUPS: usize = 65_536;

/// The supplementary groups of a connected Unix socket's other end, as they were when it connected
/// (SO_PEERGROUPS, Linux 4.13).
pub fn peer_groups(socket: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into the vector, all of which are there.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        match check(result.into()) {
            Ok(_) => {
                groups.truncate(length as usize / size_of::<libc::gid_t>());
                return Ok(groups);
            }
            // The length that it takes comes with the error.
            Err(error)
                if error.raw_os_error() == Some(libc::ERANGE) && groups.len() < MAX_GROUPS =>
            {
                groups.resize(MAX_GROUPS, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(numbers: &[libc::c_int]) -> (Control, usize) {
        let mut control = Control([0; CONTROL]);
        // SAFETY: `msghdr` is plain old data for which all zeroes is a value.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        put_rights(&mut control, &mut header, numbers);
        (control, header.msg_controllen as usize)
    }

    #[test]
    fn what_is_put_into_a_control_message_is_what_is_taken_from_it() {
        for count in 0..=MAX_DESCRIPTORS {
            let numbers: Vec<libc::c_int> = (3..).take(count).collect();
            let (control, length) = put(&numbers);
            let mut taken = rights(control.0.get(..length).unwrap_or_default());
            taken.truncate(count); // an odd number of them leaves room for one more, which the kernel cuts
            assert_eq!(taken, numbers);
        }
    }

    #[test]
    fn no_bytes_of_a_control_message_are_taken_for_more_descriptors_than_it_has() {
        let (control, length) = put(&[3, 4]);
        let whole = control.0.get(..length).unwrap_or_default();
        for cut in 0..=length {
            let taken = rights(whole.get(..cut).unwrap_or_default());
            assert!(taken.len() <= cut.saturating_sub(HEAD) / 4, "{cut}: {taken:?}");
        }
        for at in 0..HEAD {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.to_vec();
                bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value);
                assert!(rights(&bytes).len() <= 2, "{bytes:?}");
            }
        }
    }
}
