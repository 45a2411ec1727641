//! The sockets that this daemon listens on: handed in, or made by itself.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{SockType, getsockopt, sockopt};

/// A socket that was handed in. Who may reach it is its unit's word.
pub fn listening(socket: OwnedFd) -> io::Result<UnixListener> {
    let listens = getsockopt(&socket, sockopt::AcceptConn)?;
    if listens && getsockopt(&socket, sockopt::SockType)? == SockType::Stream {
        // No request carries a descriptor. One that did would be let go of by our only thread, as slowly as its
        // sender likes; older kernels can't refuse it.
        supervisor_sys::refuse_descriptors(socket.as_fd())?;
        return Ok(UnixListener::from(socket));
    }
    Err(io::Error::other("the socket that was handed in is not a listening stream"))
}

/// Listens on a socket of this name. What a daemon left there that was killed is replaced; where somebody still
/// listens, callers would reach him no more.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let about = |error: io::Error| {
        io::Error::new(error.kind(), format!("can't listen on {}: {error}", path.display()))
    };
    make_way(path).map_err(about)?;
    let listener = UnixListener::bind(path).map_err(about)?;
    supervisor_sys::refuse_descriptors(listener.as_fd()).map_err(about)?; // as of one that was handed in
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(about)?;
    Ok(listener)
}

fn make_way(path: &Path) -> io::Result<()> {
    if supervisor_sys::is_listened_on(path)? {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "somebody listens there; stop him first, or name another socket in the configuration",
        ));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn who_listens_keeps_his_name_and_who_was_killed_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let first = listen(&path, 0o600).unwrap();
        let refused = listen(&path, 0o600).unwrap_err();
        assert!(refused.to_string().contains("api.sock: somebody listens there"), "{refused}");
        UnixStream::connect(&path).expect("the first is reached as before");
        drop(first);
        assert!(path.exists());
        listen(&path, 0o600).unwrap();
    }
}
