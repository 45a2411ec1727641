//! One sandbox's traffic: what the payload wants, what the policy permits, and then the dialling,
//! the injecting of credentials and the relaying.

#![forbid(unsafe_code)]

pub mod credential;
mod limits;
mod tls;
