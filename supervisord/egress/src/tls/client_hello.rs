//! The start of a TLS connection, as far as it is needed to know where it wants to go: the server
//! name (RFC 6066 §3) and the protocols (RFC 7301) of a ClientHello (RFC 8446 §4.1.2), read without
//! trusting a length in it.

use std::fmt;

use crate::limits::MAX_CLIENT_HELLO;

/// What a client says it wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientHello {
    /// The host name as it was written, ASCII; `None` where the client sent none.
    pub server_name: Option<String>,
    /// The protocols that the client offers, in its order.
    pub protocols: Vec<Vec<u8>>,
    /// Whether there may be another hello in it that only the server can read (RFC 9849), with another
    /// name. Clients put noise there as well, which nobody can tell from it.
    pub may_hide_another: bool,
}

/// Bytes that are no ClientHello, and what is wrong with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAHello(&'static str);

/// Takes pieces off the front of bytes.
#[derive(Clone, Copy)]
struct Pieces<'a>(&'a [u8]);

const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const EXTENSION_PROTOCOLS: u16 = 16;
const EXTENSION_ENCRYPTED_HELLO: u16 = 0xfe0d;
const NAME_TYPE_HOST: u8 = 0;
/// RFC 8446 §5.1: a record's fragment has at most 2^14 bytes.
const MAX_FRAGMENT: usize = 1 << 14;

impl fmt::Display for NotAHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a TLS ClientHello: {}", self.0)
    }
}

impl std::error::Error for NotAHello {}

/// Whether a connection that starts with this byte may be TLS.
pub fn may_start_with(first: u8) -> bool {
    first == HANDSHAKE_RECORD
}

/// Reads the ClientHello at the front of `bytes`; `None` while it is not complete.
///
/// # Errors
///
/// What isn't a ClientHello, is longer than [`MAX_CLIENT_HELLO`], or says a thing twice.
pub fn read(bytes: &[u8]) -> Result<Option<ClientHello>, NotAHello> {
    match handshake_message(bytes)? {
        Some(message) => parse(&message).map(Some),
        None => Ok(None),
    }
}

/// The body of the first handshake message, put together from its records.
fn handshake_message(bytes: &[u8]) -> Result<Option<Vec<u8>>, NotAHello> {
    let mut records = Pieces(bytes);
    let mut message = Vec::new();
    loop {
        let Some(header) = records.take(5) else {
            return check_start(records.0).map(|()| None);
        };
        check_start(header)?;
        let mut header = Pieces(header);
        header.skip(3);
        let length = header.u16().map_or(0, usize::from);
        if length == 0 || length > MAX_FRAGMENT {
            return Err(NotAHello("a record has an impossible length"));
        }
        let whole = records.take(length);
        message.extend_from_slice(whole.unwrap_or(records.0));
        let mut front = Pieces(&message);
        if let Some(kind) = front.u8()
            && kind != CLIENT_HELLO
        {
            return Err(NotAHello("the first message is another one"));
        }
        if let Some(length) = front.u24() {
            if length > MAX_CLIENT_HELLO {
                return Err(NotAHello("it is too long"));
            }
            if let Some(body) = front.take(length) {
                // Of a record that isn't whole more is to come, which then follows.
                return match front.0.is_empty() && whole.is_some() {
                    true => Ok(Some(body.to_vec())),
                    false => Err(NotAHello("something follows it in its record")),
                };
            }
        }
        if whole.is_none() {
            return Ok(None);
        }
    }
}

/// Checks as much of a record's header as there is.
fn check_start(header: &[u8]) -> Result<(), NotAHello> {
    match header {
        [kind, ..] if *kind != HANDSHAKE_RECORD => Err(NotAHello("it is no handshake record")),
        [_, major, ..] if *major != 3 => Err(NotAHello("its version is unknown")),
        _ => Ok(()),
    }
}

fn parse(body: &[u8]) -> Result<ClientHello, NotAHello> {
    const SHORT: NotAHello = NotAHello("it is cut short");
    let mut body = Pieces(body);
    body.take(2 + 32).ok_or(SHORT)?; // legacy_version, random
    body.vector8().ok_or(SHORT)?; // legacy_session_id
    body.vector16().ok_or(SHORT)?; // cipher_suites
    body.vector8().ok_or(SHORT)?; // legacy_compression_methods
    let mut hello = ClientHello::default();
    if body.0.is_empty() {
        return Ok(hello); // RFC 5246 §7.4.1.2: extensions may be absent
    }
    let mut extensions = Pieces(body.vector16().ok_or(SHORT)?);
    if !body.0.is_empty() {
        return Err(NotAHello("something follows the extensions"));
    }
    let mut seen_names = false;
    let mut seen_protocols = false;
    while !extensions.0.is_empty() {
        let kind = extensions.u16().ok_or(SHORT)?;
        let content = extensions.vector16().ok_or(SHORT)?;
        match kind {
            EXTENSION_SERVER_NAME if std::mem::replace(&mut seen_names, true) => {
                return Err(NotAHello("it names the server twice"));
            }
            EXTENSION_SERVER_NAME => hello.server_name = Some(server_name(content)?),
            EXTENSION_PROTOCOLS if std::mem::replace(&mut seen_protocols, true) => {
                return Err(NotAHello("it lists protocols twice"));
            }
            EXTENSION_PROTOCOLS => hello.protocols = protocols(content)?,
            EXTENSION_ENCRYPTED_HELLO => hello.may_hide_another = true,
            _ => {}
        }
    }
    Ok(hello)
}

fn server_name(content: &[u8]) -> Result<String, NotAHello> {
    const BAD: NotAHello = NotAHello("its server name is malformed");
    let mut content = Pieces(content);
    let mut names = Pieces(content.vector16().ok_or(BAD)?);
    let kind = names.u8().ok_or(BAD)?;
    let name = names.vector16().ok_or(BAD)?;
    if kind != NAME_TYPE_HOST || !names.0.is_empty() || !content.0.is_empty() {
        return Err(BAD);
    }
    if name.is_empty() || name.len() > 255 || !name.iter().all(u8::is_ascii_graphic) {
        return Err(BAD);
    }
    String::from_utf8(name.to_vec()).map_err(|_| BAD)
}

fn protocols(content: &[u8]) -> Result<Vec<Vec<u8>>, NotAHello> {
    const BAD: NotAHello = NotAHello("its list of protocols is malformed");
    let mut content = Pieces(content);
    let mut list = Pieces(content.vector16().ok_or(BAD)?);
    if list.0.is_empty() || !content.0.is_empty() {
        return Err(BAD);
    }
    let mut protocols = Vec::new();
    while !list.0.is_empty() {
        let protocol = list.vector8().filter(|name| !name.is_empty()).ok_or(BAD)?;
        protocols.push(protocol.to_vec());
    }
    Ok(protocols)
}

impl<'a> Pieces<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (piece, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(piece)
    }

    fn skip(&mut self, count: usize) {
        self.0 = self.0.get(count..).unwrap_or_default();
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).and_then(|bytes| bytes.first().copied())
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)))
    }

    fn u24(&mut self) -> Option<usize> {
        let bytes = self.take(3)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;

    use super::*;

    fn hello_of_a_real_client(name: &str, protocols: &[&str]) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of `size` bytes.
    fn refragmented(hello: &[u8], size: usize) -> Vec<u8> {
        let message = &hello[5..];
        message.chunks(size).fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(&[22, 3, 1]);
            all.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
            all.extend_from_slice(part);
            all
        })
    }

    #[test]
    fn the_name_and_the_protocols_of_a_real_client_are_read() {
        let bytes = hello_of_a_real_client("api.example.test", &["h2", "http/1.1"]);
        let hello = read(&bytes).unwrap().unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("api.example.test"));
        assert_eq!(hello.protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    }

    #[test]
    fn a_client_that_dials_an_address_names_no_server() {
        let hello = read(&hello_of_a_real_client("192.0.2.7", &[])).unwrap().unwrap();
        assert_eq!(hello, ClientHello::default());
    }

    #[test]
    fn what_is_not_tls_is_known_by_its_first_byte() {
        for bytes in
            [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x", b"\x80\x2e\x01\x03\x01", b"\x15\x03\x01"]
        {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(read(b""), Ok(None));
        assert!(read(b"\x16\x02").is_err());
    }

    /// A real client's message with one extension more.
    fn extended(extension: &[u8]) -> Vec<u8> {
        let bytes = hello_of_a_real_client("a.test", &[]);
        let mut message = bytes[9..].to_vec();
        let session = usize::from(message[34]);
        let ciphers_at = 35 + session;
        let ciphers =
            usize::from(u16::from_be_bytes([message[ciphers_at], message[ciphers_at + 1]]));
        let extensions_at = ciphers_at + 2 + ciphers + 2;
        let old = u16::from_be_bytes([message[extensions_at], message[extensions_at + 1]]);
        let new = (old + u16::try_from(extension.len()).unwrap()).to_be_bytes();
        message[extensions_at..extensions_at + 2].copy_from_slice(&new);
        message.extend_from_slice(extension);
        message
    }

    #[test]
    fn a_second_server_name_is_refused() {
        let extension = [0, 0, 0, 11, 0, 9, 0, 0, 6, b'b', b'.', b't', b'e', b's', b't'];
        assert_eq!(parse(&extended(&extension)), Err(NotAHello("it names the server twice")));
    }

    #[test]
    fn a_hello_that_may_hide_another_is_known() {
        let hello = parse(&extended(&[0xfe, 0x0d, 0, 2, 1, 2])).unwrap();
        assert_eq!(hello.server_name.as_deref(), Some("a.test"));
        assert!(hello.may_hide_another);
        assert!(!parse(&extended(&[0xfe, 0x0e, 0, 0])).unwrap().may_hide_another);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let ended = read(&bytes);
            prop_assert!(ended.is_err() || ended.is_ok());
        }

        #[test]
        fn a_changed_hello_is_read_refused_or_incomplete(at in 0usize..400, to in any::<u8>()) {
            let mut bytes = hello_of_a_real_client("a.test", &["h2"]);
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(Some(hello)) = read(&bytes)
                && let Some(name) = hello.server_name
            {
                prop_assert!(name.is_ascii() && !name.is_empty());
            }
        }

        #[test]
        fn every_cut_is_incomplete_and_every_fragmentation_is_the_same(size in 1usize..600, cut in any::<prop::sample::Index>()) {
            let whole = hello_of_a_real_client("api.example.test", &["h2"]);
            let records = refragmented(&whole, size);
            prop_assert_eq!(read(&records), read(&whole));
            let cut = cut.index(records.len());
            prop_assert_eq!(read(&records[..cut]), Ok(None));
        }
    }
}
