//! The way out: from a permit to checked addresses, to a connection to one of them, to HTTP on it.

mod dial;
mod error;
mod own;
mod pool;
mod sender;
mod socket;
mod turns;

pub use dial::{addresses, dial};
pub use error::UpstreamError;
pub use pool::{Key, Upstreams};
pub use sender::{Lease, OutgoingBody};
pub use socket::Socket;
