//! The way to token endpoints, by the host's own settings as they are when it is gone first: a daemon
//! without such credentials reads neither roots nor name servers for them.

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
    dial: Mutex<Option<Arc<EndpointDial>>>,
}

impl TokenEndpoints {
    /// Dials public addresses and those in these networks.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self { networks, dial: Mutex::default() }
    }

    async fn made(&self) -> Result<Arc<EndpointDial>, SourceError> {
        let known = self.dial.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let networks = self.networks.clone();
        let made = spawn_blocking(move || make(networks)).await;
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

fn make(networks: Vec<IpNet>) -> Result<Arc<EndpointDial>, SourceError> {
    let read = |path| {
        fs::read_to_string(path)
            .map_err(|error| SourceError::caused(format!("can't read {path}"), error))
    };
    let names = Names::of_the_host(&read(RESOLV_CONF)?, &read(HOSTS)?);
    let roots = Roots::of_the_host_and(Vec::new())
        .map_err(|error| SourceError::caused("can't verify token endpoints", error))?;
    Ok(Arc::new(EndpointDial::new(roots, names, networks)))
}
