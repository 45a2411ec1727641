//! HTTP on the payload's side and on the upstream's: how requests are framed, which of them go out,
//! and how they and their responses get through.

mod body;
mod collected;
mod exchange;
pub mod fields;
mod framed;
pub mod frames;
pub mod framing;
pub mod head;
pub mod intent;
mod interim;
mod otherwise;
mod outgoing;
mod response;
mod seen;
mod serve;
mod taken;
pub mod trailers;
mod upgrade;
mod violation;
mod websocket;
mod wire;

pub use body::Answer;
pub use exchange::Conversation;
pub use framed::Framed;
pub use frames::Peer;
pub use intent::parse as parse_destination;
pub use serve::{serve_http1, serve_http2, serve_proxy};
pub use violation::Violation;
pub use wire::{Shared as WireShared, Wire};
