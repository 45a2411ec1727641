//! The sockets on which the daemon takes a sandbox's traffic.

use crate::sandbox::Descriptor;
use crate::wire::{Malformed, Reader, Writer};

/// The TCP ports on which the daemon takes connections to any address, besides those that every
/// sandbox with a way out has: 80 and 443, 53 for names, and the proxy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Listeners {
    ports: [u16; MAX_PORTS],
}

/// Ports of [`Listeners`] at the most. Policies name a database or a mail server, not a range; each is a
/// socket that the launcher makes at every start.
pub const MAX_PORTS: usize = 8;

/// The explicit proxy's port, on 127.0.0.1.
pub const PROXY_PORT: u16 = 3128;

/// Ports that every sandbox with a way out has, so that none can be asked for twice.
const GIVEN_PORTS: [u16; 4] = [53, 80, 443, PROXY_PORT];

impl Listeners {
    /// The sockets for these ports. `None` if there are more than [`MAX_PORTS`], if one comes twice, or
    /// if it is 0 or one that is there anyway.
    pub fn new(ports: &[u16]) -> Option<Self> {
        let mut listeners = Self::default();
        for (index, port) in ports.iter().enumerate() {
            let slot = listeners.ports.get_mut(index)?;
            let twice = ports.iter().filter(|other| *other == port).count() > 1;
            if *port == 0 || twice || GIVEN_PORTS.contains(port) {
                return None;
            }
            *slot = *port;
        }
        Some(listeners)
    }

    /// Where the sockets go among a sandbox's descriptors, in the order in which they are made.
    pub fn places(&self) -> impl Iterator<Item = Descriptor> {
        let given = [
            Descriptor::Proxy,
            Descriptor::Http,
            Descriptor::Tls,
            Descriptor::Dns,
            Descriptor::DnsTcp,
        ];
        let named = Descriptor::PORTS.into_iter().zip(self.ports()).map(|(place, _)| place);
        given.into_iter().chain(named)
    }

    /// The ports, in the order of their descriptors.
    pub fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.into_iter().take_while(|port| *port != 0)
    }
}

pub(crate) fn write_listeners(listeners: Option<Listeners>, writer: &mut Writer) {
    writer.u8(listeners.is_some().into());
    for port in listeners.unwrap_or_default().ports {
        writer.u16(port);
    }
}

pub(crate) fn read_listeners(reader: &mut Reader<'_>) -> Result<Option<Listeners>, Malformed> {
    let wanted = reader.bool()?;
    let mut ports = [0; MAX_PORTS];
    for port in &mut ports {
        *port = reader.u16()?;
    }
    let used = ports.iter().rposition(|port| *port != 0).map_or(0, |last| last + 1);
    if !wanted && used > 0 {
        return Err(Malformed("ports of no listeners"));
    }
    let listeners = Listeners::new(ports.get(..used).unwrap_or_default());
    let listeners = listeners.ok_or(Malformed("ports"))?;
    Ok(wanted.then_some(listeners))
}
