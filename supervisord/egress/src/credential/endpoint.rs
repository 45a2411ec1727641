//! Dials the token endpoints of authorization servers: resolved by the daemon's own resolver, one of the
//! addresses that were checked is dialled, and the certificate is verified like any upstream's.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::ServerName;
use supervisor_policy::egress::{AddressClass, Host};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::oauth::{Connection, Dial};
use super::seam::Pending;
use super::source::SourceError;
use crate::resolve::{Names, Resolver};
use crate::tls::upstream::{Offer, Roots};

type Failure = Box<dyn Error + Send + Sync>;

/// How long one address may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Dials token endpoints.
#[derive(Debug)]
pub struct EndpointDial {
    roots: Roots,
    resolver: Resolver,
    allowed: Vec<IpNet>,
}

impl EndpointDial {
    /// Dials public addresses, and those of these networks, which root has named: authorization servers
    /// are often within the house. Names are asked for with these settings.
    pub fn new(roots: Roots, names: Names, allowed: Vec<IpNet>) -> Self {
        Self { roots, resolver: Resolver::new(names), allowed }
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>, SourceError> {
        let failed = |error: Failure| SourceError::caused(format!("dialling {host}:{port}"), error);
        let addresses = self.addresses(host).await?;
        let mut last = SourceError::new(format!("{host} has no address that may be dialled"));
        for address in addresses.iter().copied().filter(|address| self.allows(*address)) {
            let stream = match timeout(CONNECT_PATIENCE, TcpStream::connect((address, port))).await
            {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    last = failed(error.into());
                    continue;
                }
                Err(elapsed) => {
                    last = failed(elapsed.into());
                    continue;
                }
            };
            let name =
                ServerName::try_from(host.to_owned()).map_err(|error| failed(error.into()))?;
            let connector = TlsConnector::from(self.roots.client(Offer::Http1Only));
            let stream =
                connector.connect(name, stream).await.map_err(|error| failed(error.into()))?;
            return Ok(Box::new(stream));
        }
        Err(last)
    }

    /// A host's addresses, those of both families where none of the first that are there may be dialled.
    async fn addresses(&self, host: &str) -> Result<Arc<[IpAddr]>, SourceError> {
        let failed = |error: Failure| SourceError::caused(format!("resolving {host}"), error);
        match Host::parse(host).map_err(|error| failed(error.to_string().into()))? {
            Host::Address(address) => Ok([address].into()),
            Host::Name(name) => {
                let resolved = self.resolver.resolve(&name, false).await;
                let mut resolved = resolved.map_err(|error| failed(error.into()))?;
                if !resolved.is_whole && !resolved.addresses.iter().any(|one| self.allows(*one)) {
                    let whole = self.resolver.resolve(&name, true).await;
                    resolved = whole.map_err(|error| failed(error.into()))?;
                }
                Ok(resolved.addresses)
            }
        }
    }

    fn allows(&self, address: IpAddr) -> bool {
        let named = self.allowed.iter().any(|network| network.contains(&address));
        named || AddressClass::of(address) == AddressClass::Public
    }
}

impl Dial for EndpointDial {
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>> {
        Box::pin(self.connect(host, port))
    }
}
