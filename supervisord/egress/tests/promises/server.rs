//! The host's name server.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use tokio::net::UdpSocket;

use crate::upstreams::Seen;

/// Where it listens.
pub const NAMES: &str = "127.0.0.1:53";

/// What names resolve to. The one of a rebinding attack changes with every question.
fn addresses(name: &str, asked: usize) -> &'static [&'static str] {
    match name {
        "up.test." | "other.test." | "evil.test." => &["203.0.113.10"],
        "six.test." => &["2001:db8::10"],
        "both.test." => &["2001:db8::dead", "203.0.113.10"],
        "raw.test." => &["203.0.113.20"],
        "badcert.test." | "expired.test." => &["203.0.113.30"],
        "wrongname.test." => &["203.0.113.10"], // whose certificate holds for others
        "own.test." => &["9.9.9.9"],
        "private.test." => &["10.0.0.1"],
        "metadata.test." => &["169.254.169.254"],
        "loop.test." => &["127.0.0.1"],
        "mixed.test." => &["127.0.0.1", "203.0.113.10"],
        "rebind.test." if asked.is_multiple_of(2) => &["203.0.113.10"],
        "rebind.test." => &["127.0.0.1"],
        _ => &[],
    }
}

/// Answers until it is dropped.
pub async fn serve_names(seen: Arc<Seen>) {
    let socket = UdpSocket::bind(NAMES).await.unwrap();
    let rebound = AtomicUsize::new(0);
    let mut bytes = [0; 2048];
    loop {
        let (length, peer): (usize, SocketAddr) = socket.recv_from(&mut bytes).await.unwrap();
        let query = Message::from_vec(&bytes[..length]).unwrap();
        let question = query.queries[0].clone();
        let name = question.name.to_ascii().to_lowercase();
        seen.name(&name);
        let count = match (name.as_str(), question.query_type) {
            ("rebind.test.", RecordType::A) => rebound.fetch_add(1, Ordering::SeqCst),
            _ => 0,
        };
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        for address in addresses(&name, count) {
            let data = match (address.parse().unwrap(), question.query_type) {
                (IpAddr::V4(v4), RecordType::A) => RData::A(v4.into()),
                (IpAddr::V6(v6), RecordType::AAAA) => RData::AAAA(v6.into()),
                _ => continue,
            };
            answer.answers.push(Record::from_rdata(question.name.clone(), 0, data));
        }
        if addresses(&name, count).is_empty() {
            answer.metadata.response_code = ResponseCode::NXDomain;
        }
        answer.queries.push(question);
        socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
    }
}
