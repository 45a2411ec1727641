//! Everything of TLS: what a client's first message says, the authority that signs for a sandbox,
//! and how upstreams are verified.

pub mod alert;
pub mod authority;
pub mod client_hello;
pub mod front;
#[cfg(debug_assertions)]
mod unverified;
pub mod upstream;
