//! Bytes as a hostile program sends them.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// After this, nothing more is expected of who has begun to speak.
const SILENCE: Duration = Duration::from_secs(2);

/// What the proxy says to these bytes, until it closes or says nothing for a while.
pub fn proxy(bytes: &[u8]) -> String {
    say("127.0.0.1:3128", bytes)
}

/// What comes back from an address.
pub fn say(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    hear(&mut stream)
}

/// A connection that waits for its first byte even on a machine that has much else to do.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
    stream
}

/// What there is to read, until the end or a silence.
pub fn hear(stream: &mut TcpStream) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => all.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            // A reset after an answer is none of the reader's business; one instead of it is.
            Err(error) if all.is_empty() => return format!("<{error}>"),
            Err(_) => break,
        }
        stream.set_read_timeout(Some(SILENCE)).unwrap();
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The status in an answer; 0 where there is none.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// The head of an answer, as soon as it is there.
pub fn head(stream: &mut TcpStream) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while !all.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        all.push(byte[0]);
    }
    String::from_utf8_lossy(&all).into_owned()
}
