//! The promises about credentials, against real token servers on loopback.

mod brokers;
mod injection;
mod outgoing;
mod responses;
mod servers;
mod sources;
mod support;
