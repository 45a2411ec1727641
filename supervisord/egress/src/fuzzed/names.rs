use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Message, MessageType, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use supervisor_policy::egress::HostName;

use crate::dns::answer::{Asked, Verdict, answer};
use crate::limits::{MAX_ADDRESSES, RESOLVED_FOR};
use crate::resolve::query;

const V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);

/// What a payload asks for names. An answer is to its question, fits what any client takes, and has no
/// address but the sandbox's own; the policy is asked about a name in its one form, at most once.
pub fn queries(bytes: &[u8]) {
    let mut asked = Vec::new();
    let verdict = |about: Asked<'_>| {
        if let Asked::Name(name) = about {
            asked.push(name.clone());
        }
        match about {
            Asked::Name(name) if name.as_str().ends_with(".test") => Verdict::Allowed(V4, V6),
            _ => Verdict::Denied("supervisord: ".repeat(40)),
        }
    };
    let answer = answer(bytes, verdict);
    assert!(asked.len() <= 1);
    for name in &asked {
        assert_eq!(HostName::parse(name.as_str()).as_ref(), Ok(name));
    }
    let Some(answer) = answer else { return };
    assert!(answer.len() <= 512, "{} bytes", answer.len());
    assert_eq!(answer.get(..2), bytes.get(..2));
    let read = Message::from_vec(&answer);
    assert!(read.is_ok(), "{read:?}");
    let Ok(read) = read else { return };
    assert_eq!(read.metadata.message_type, MessageType::Response);
    assert!(read.answers.len() <= 1 && read.queries.len() <= 1);
    for record in &read.answers {
        assert_eq!(Some(&record.name), read.queries.first().map(|question| &question.name));
        let ours = match &record.data {
            RData::A(v4) => [V4, Ipv4Addr::LOCALHOST].contains(&v4.0),
            RData::AAAA(v6) => [V6, Ipv6Addr::LOCALHOST].contains(&v6.0),
            _ => false,
        };
        assert!(ours, "{record}");
    }
}

/// What a name server answers. Addresses come from an answer to the question alone, no more of them and for
/// no longer than is said.
pub fn responses(bytes: &[u8]) {
    let Ok(name) = Name::from_ascii("up.test.") else { return };
    for kind in [RecordType::A, RecordType::AAAA] {
        let question = Query::query(name.clone(), kind);
        let id = bytes.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
        assert!(query::usable(bytes, id.wrapping_add(1), &question).is_none());
        let Some(message) = query::usable(bytes, id, &question) else { continue };
        let response = query::read(&message, &question);
        assert!(response.addresses.len() <= MAX_ADDRESSES);
        assert!(response.valid_for <= RESOLVED_FOR.1);
        assert!(response.addresses.len() <= message.answers.len());
    }
}
