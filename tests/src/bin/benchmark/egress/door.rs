//! A way from the benchmark to the upstream: straight, or through somebody's proxy.

use std::fmt;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use rustls_pki_types::CertificateDer;

use crate::failure::Failure;
use crate::memory::descendants;
use crate::processor;

/// Whose proxy, in the order of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// None: straight to the upstream.
    Direct,
    /// squid.
    Squid,
    /// tinyproxy, which can't inspect and doesn't keep connections.
    Tinyproxy,
    /// mitmproxy.
    Mitmproxy,
    /// supervisord's, from within a sandbox.
    Ours,
}

/// The order of the rows.
pub const ROWS: [Whose; 5] =
    [Whose::Direct, Whose::Squid, Whose::Tinyproxy, Whose::Mitmproxy, Whose::Ours];

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Direct => "direct",
            Self::Squid => "squid",
            Self::Tinyproxy => "tinyproxy",
            Self::Mitmproxy => "mitmproxy",
            Self::Ours => "supervisord",
        })
    }
}

impl Whose {
    /// Whether a connection outlives an answer. tinyproxy closes it without saying so.
    pub const fn keeps_connections(self) -> bool {
        !matches!(self, Self::Tinyproxy)
    }
}

/// A way to the upstream.
#[derive(Debug)]
pub struct Door {
    /// Whose it is.
    pub whose: Whose,
    /// Where requests in absolute form and CONNECT go; straight to the upstream if it is nowhere.
    pub proxy: Option<SocketAddr>,
    /// The same for TLS that is looked into.
    pub inspecting: Option<SocketAddr>,
    /// The authority that it inspects with.
    pub authority: Option<CertificateDer<'static>>,
    /// The network namespace in which these addresses are.
    pub namespace: Option<File>,
    /// The processes whose time and memory are counted, with their descendants.
    pub processes: Vec<u32>,
}

impl Door {
    /// No proxy at all.
    pub fn direct() -> Self {
        Self {
            whose: Whose::Direct,
            proxy: None,
            inspecting: None,
            authority: None,
            namespace: None,
            processes: Vec::new(),
        }
    }

    /// Has this thread make its connections where the proxy is. It can't go back.
    pub fn enter(&self) -> io::Result<()> {
        match &self.namespace {
            Some(namespace) => Ok(setns(namespace, CloneFlags::CLONE_NEWNET)?),
            None => Ok(()),
        }
    }

    /// Processor time that the proxy has used so far.
    pub fn used(&self) -> Result<Duration, Failure> {
        processor::time_of(&descendants(&self.processes))
    }
}
