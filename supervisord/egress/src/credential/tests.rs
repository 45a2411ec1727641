//! The promises about credentials, against real token servers on loopback.

mod injection;
mod outgoing;
mod responses;
mod servers;
mod sources;
mod support;
