//! The way to token endpoints: verified as upstreams are, and found by the host's name servers as they are
//! when it is gone first.

use std::fs;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use ipnet::IpNet;
use supervisor_egress::credential::{Connection, Dial, EndpointDial, Pending, SourceError};
use supervisor_egress::{Names, Roots};
use tokio::task::spawn_blocking;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";

/// Dials token endpoints.
#[derive(Debug)]
pub struct TokenEndpoints {
    networks: Vec<IpNet>,
    roots: Option<Roots>,
    dial: Mutex<Option<Arc<EndpointDial>>>,
}

impl TokenEndpoints {
    /// Dials public addresses and those in these networks, where there are roots to verify them by.
    pub fn new(networks: Vec<IpNet>, roots: Option<Roots>) -> Self {
        Self { networks, roots, dial: Mutex::default() }
    }

    async fn made(&self) -> Result<Arc<EndpointDial>, SourceError> {
        let known = self.dial.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let (networks, roots) = (self.networks.clone(), self.roots.clone());
        let roots = roots.ok_or_else(|| {
            SourceError::new("the host has no root certificates to verify token endpoints by")
        })?;
        let made = spawn_blocking(move || make(networks, roots)).await;
        let made = made.map_err(|_| SourceError::new("the daemon is ending"))??;
        *self.dial.lock().unwrap_or_else(PoisonError::into_inner) = Some(made.clone());
        Ok(made)
    }
}

impl Dial for TokenEndpoints {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>> {
        Box::pin(async move { self.made().await?.dial(host, port).await })
    }
}

fn make(networks: Vec<IpNet>, roots: Roots) -> Result<Arc<EndpointDial>, SourceError> {
    let read = |path| {
        fs::read_to_string(path)
            .map_err(|error| SourceError::caused(format!("can't read {path}"), error))
    };
    let names = Names::of_the_host(&read(RESOLV_CONF)?, &read(HOSTS)?);
    Ok(Arc::new(EndpointDial::new(roots, names, networks)))
}
