//! The connections of a payload as the kernel has them: what it sends at once, and how much it holds.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

use crate::limits::PAYLOAD_BUFFER;

/// How fast is sent to a payload. Both ends are on this host and nothing is lost between them, so what
/// paces and estimates (BBR) only costs; this one is in every kernel.
const UNPACED: &str = "reno";

/// Prepares a listener for what its connections have from it, so that it is not set for each.
///
/// # Errors
///
/// As setsockopt(2), where nothing would bound what is held.
pub fn prepare(listener: &TcpListener) -> io::Result<()> {
    if let Err(error) = setsockopt(listener, sockopt::TcpCongestion, &UNPACED.into()) {
        tracing::debug!(%error, "connections of a payload are paced as the host's are");
    }
    if let Err(error) = setsockopt(listener, sockopt::TcpNoDelay, &true) {
        tracing::debug!(%error, "small writes to the payload may wait");
    }
    setsockopt(listener, sockopt::RcvBuf, &bytes()?)?;
    Ok(())
}

/// Bounds what the kernel holds of one connection: it may have come before its listener was prepared. A wide one may
/// have as much of what it doesn't read as the kernel gives by itself.
///
/// # Errors
///
/// As setsockopt(2).
pub fn bound(stream: &impl AsFd, is_wide: bool) -> io::Result<()> {
    setsockopt(stream, sockopt::RcvBuf, &bytes()?)?;
    if !is_wide {
        setsockopt(stream, sockopt::SndBuf, &bytes()?)?;
    }
    Ok(())
}

fn bytes() -> io::Result<usize> {
    usize::try_from(PAYLOAD_BUFFER).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn a_connection_is_sent_to_at_once_and_held_in_bounds_whenever_it_came() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _early = TcpStream::connect(address).unwrap();
        prepare(&listener).unwrap();
        let _late = TcpStream::connect(address).unwrap();
        let (early, late) = (listener.accept().unwrap().0, listener.accept().unwrap().0);
        assert!(late.nodelay().unwrap());
        assert_eq!(getsockopt(&late, sockopt::TcpCongestion).unwrap(), UNPACED);
        let by_itself = getsockopt(&late, sockopt::SndBuf).unwrap();
        bound(&late, true).unwrap();
        bound(&early, false).unwrap();
        let twice = 2 * bytes().unwrap();
        assert_eq!(getsockopt(&early, sockopt::RcvBuf).unwrap(), twice);
        assert_eq!(getsockopt(&early, sockopt::SndBuf).unwrap(), twice);
        assert_eq!(getsockopt(&late, sockopt::RcvBuf).unwrap(), twice);
        assert_eq!(getsockopt(&late, sockopt::SndBuf).unwrap(), by_itself);
    }
}
