//! Bytes as a hostile program sends them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

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

/// A connection that waits two seconds at the most.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    stream
}

/// What there is to read, until the end or a silence.
pub fn hear(stream: &mut TcpStream) -> String {
    let (mut all, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        all.extend_from_slice(&piece[..count]);
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
