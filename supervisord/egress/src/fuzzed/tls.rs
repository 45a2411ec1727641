use std::io::Cursor;

use rustls::server::Acceptor;

use crate::tls::client_hello::read;

/// The start of a TLS connection. Whatever is still to come, it names the server that it names; and rustls,
/// which speaks with the client where TLS is inspected, reads the same name and the same protocols.
pub fn hellos(bytes: &[u8]) {
    let whole = read(bytes);
    for cut in [bytes.len() / 2, bytes.len().saturating_sub(1)] {
        match (read(bytes.get(..cut).unwrap_or_default()), &whole) {
            (Ok(None), _) => {}
            (Ok(Some(early)), Ok(Some(late))) => assert_eq!(&early, late),
            (early, late) => assert_eq!(early.map(drop), late.clone().map(drop)),
        }
    }
    let Ok(Some(hello)) = whole else { return };
    let mut acceptor = Acceptor::default();
    let mut rest = Cursor::new(bytes);
    // It takes some kilobytes at a time.
    while acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        let Ok(accepted) = acceptor.accept() else { return };
        let Some(accepted) = accepted else { continue };
        let theirs = accepted.client_hello();
        if let Some(name) = theirs.server_name() {
            let ours = hello.server_name.as_ref().map(|name| name.to_ascii_lowercase());
            assert_eq!(ours, Some(name.to_ascii_lowercase()));
        }
        if let Some(protocols) = theirs.alpn() {
            assert_eq!(hello.protocols, protocols.collect::<Vec<_>>());
        }
        return;
    }
}
