//! The host's own settings for names: the text of resolv.conf(5) and hosts(5), handed in once.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use supervisor_policy::egress::{Host, HostName};

use crate::limits::MAX_ADDRESSES;

/// Name servers that are asked, as resolv.conf(5) has it (MAXNS).
const MAX_SERVERS: usize = 3;

/// Where names come from.
#[derive(Debug, Clone, Default)]
pub struct Names {
    servers: Vec<SocketAddr>,
    fixed: HashMap<HostName, Vec<IpAddr>>,
}

impl Names {
    /// The name servers of a resolv.conf and the table of a hosts file. Lines that say nothing
    /// usable are passed over, as every resolver does.
    pub fn of_the_host(resolv_conf: &str, hosts: &str) -> Self {
        let servers = resolv_conf
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .filter_map(|rest| server(rest.trim()))
            .take(MAX_SERVERS)
            .collect();
        Self::new(servers, hosts)
    }

    /// These name servers, and the table of a hosts file.
    pub fn new(servers: Vec<SocketAddr>, hosts: &str) -> Self {
        let mut fixed: HashMap<HostName, Vec<IpAddr>> = HashMap::new();
        for line in hosts.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
            for name in words {
                if let Ok(Host::Name(name)) = Host::parse(&name.to_ascii_lowercase()) {
                    let addresses = fixed.entry(name).or_default();
                    if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        Self { servers, fixed }
    }

    /// The name servers, in the order in which they are asked.
    pub fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    /// What the table says of a name.
    pub fn fixed(&self, name: &HostName) -> &[IpAddr] {
        self.fixed.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

/// A server's address, with an interface for link-local ones (`fe80::1%eth0`) where it has a number.
fn server(text: &str) -> Option<SocketAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(SocketAddr::new(address, 53)),
        Err(_) => {
            let (address, interface) = text.split_once('%')?;
            let scope = interface.parse().ok()?;
            Some(std::net::SocketAddrV6::new(address.parse().ok()?, 53, 0, scope).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_s_files_are_read_as_it_reads_them() {
        let resolv = "# by hand\nsearch lan\nnameserver 192.0.2.53\nnameserver fe80::1%2\noptions x\n nameserver 2001:db8::53\nnameserver 192.0.2.4\n";
        let hosts = "127.0.0.1 localhost\n192.0.2.9 Db.Lan db # the database\nnot an address\n2001:db8::9 db.lan\n";
        let names = Names::of_the_host(resolv, hosts);
        let servers: Vec<String> = names.servers().iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[fe80::1%2]:53", "[2001:db8::53]:53"]);
        let db = Host::parse("db.lan").unwrap();
        let addresses: Vec<String> =
            names.fixed(db.name().unwrap()).iter().map(ToString::to_string).collect();
        assert_eq!(addresses, ["192.0.2.9", "2001:db8::9"]);
    }
}
