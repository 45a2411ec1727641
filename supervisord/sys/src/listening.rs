//! Whether a name in the file system has somebody behind it.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::{check, check_fd};

/// Whether somebody listens on the socket of this name. One that a process left behind that was killed has nobody.
///
/// # Errors
/// When that can't be found out: the name is too long for a socket, or not ours to look behind.
pub fn is_listened_on(path: &Path) -> io::Result<bool> {
    let address = address_of(path)?;
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes three numbers.
    let caller = check_fd(unsafe { libc::socket(libc::AF_UNIX, kind, 0) }.into())?;
    let length = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of the address, which lives through the call.
    let connected =
        unsafe { libc::connect(caller.as_raw_fd(), (&raw const address).cast(), length) };
    match check(connected.into()) {
        Ok(_) => Ok(true),
        Err(error) => match error.raw_os_error() {
            Some(libc::ECONNREFUSED | libc::ENOENT) => Ok(false),
            // Its queue is full, or it is a socket of another type, which somebody has open.
            Some(libc::EAGAIN | libc::EPROTOTYPE) => Ok(true),
            _ => Err(error),
        },
    }
}

/// The address of a name (unix(7)), which ends with a zero.
fn address_of(path: &Path) -> io::Result<libc::sockaddr_un> {
    let name = path.as_os_str().as_bytes();
    // SAFETY: `sockaddr_un` is plain old data for which all zeroes is a value.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    if name.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (place, byte) in address.sun_path.iter_mut().zip(name) {
        *place = *byte as libc::c_char;
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};

    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket,
    };

    use super::*;

    /// A directory of a test's own, which is gone with it.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(test: &str) -> Self {
            let name = format!("listening-{test}-{}", std::process::id());
            let place = std::env::temp_dir().join(name);
            std::fs::create_dir(&place).unwrap();
            Self(place)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn a_name_has_somebody_behind_it_for_as_long_as_he_is_there_whatever_his_socket_is() {
        let place = Place::new("kinds");
        let path = place.0.join("stream");
        assert!(!is_listened_on(&path).unwrap(), "there is no such name");
        let listener = UnixListener::bind(&path).unwrap();
        assert!(is_listened_on(&path).unwrap());
        drop(listener);
        assert!(path.exists());
        assert!(!is_listened_on(&path).unwrap(), "he is gone, and left the name");

        let path = place.0.join("seqpacket");
        let kind = SockType::SeqPacket;
        let listener = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        assert!(is_listened_on(&path).unwrap());
        drop(listener);
        assert!(!is_listened_on(&path).unwrap());

        let path = place.0.join("datagram");
        let receiver = UnixDatagram::bind(&path).unwrap();
        assert!(is_listened_on(&path).unwrap());
        drop(receiver);
        assert!(!is_listened_on(&path).unwrap());

        let path = place.0.join("file");
        std::fs::write(&path, "").unwrap();
        assert!(!is_listened_on(&path).unwrap(), "a file has nobody behind it");
        assert!(is_listened_on(&place.0.join("n".repeat(108))).is_err());
    }

    #[test]
    fn a_full_queue_has_somebody_behind_it_and_is_not_waited_for() {
        let place = Place::new("full");
        let path = place.0.join("full");
        let kind = SockType::Stream;
        let listener = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        for _ in 0..3 {
            assert!(is_listened_on(&path).unwrap());
        }
    }
}
