//! The supervisor daemon: front ends, sessions, the driver of executions, store.

#![forbid(unsafe_code)]

pub mod accounting;
pub mod accounts;
pub mod admission;
pub mod attend;
pub mod capture;
pub mod clock;
pub mod config;
pub mod confine;
pub mod controls;
pub mod credentials;
pub mod dbus;
pub mod driver;
pub mod host;
pub mod http;
pub mod journal;
pub mod launcher;
pub mod live;
pub mod outcome;
pub mod places;
pub mod plan;
pub mod readiness;
pub mod recovery;
pub mod reload;
pub mod reports;
pub mod service;
pub mod settings;
pub mod standalone;
pub mod store;
pub mod supervisor;
pub mod systemd;
pub mod watch;
pub mod workspace;
