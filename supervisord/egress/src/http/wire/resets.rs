//! Streams that can end so that nobody takes what was read of them for all.

use std::io;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::front::rewound::Rewound;

/// A stream to a peer.
pub trait Resets {
    /// Whether it is reset where it is dropped, instead of closed.
    ///
    /// # Errors
    ///
    /// As setsockopt(2).
    fn resets(&self, is_reset: bool) -> io::Result<()>;
}

impl Resets for TcpStream {
    fn resets(&self, is_reset: bool) -> io::Result<()> {
        // Nothing lingers: the kernel throws away what is not sent (socket(7)).
        let value = linger { l_onoff: is_reset.into(), l_linger: 0 };
        Ok(setsockopt(self, sockopt::Linger, &value)?)
    }
}

impl<S: Resets> Resets for Rewound<S> {
    fn resets(&self, is_reset: bool) -> io::Result<()> {
        self.get_ref().resets(is_reset)
    }
}

impl<S: Resets> Resets for TlsStream<S> {
    fn resets(&self, is_reset: bool) -> io::Result<()> {
        self.get_ref().0.resets(is_reset)
    }
}

#[cfg(test)]
impl Resets for tokio::io::DuplexStream {
    fn resets(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}
