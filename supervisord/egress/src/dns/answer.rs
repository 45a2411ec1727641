//! From the bytes of a query to the bytes of its answer. Only the policy is asked and only the pool
//! is looked into, so a query costs microseconds and nothing of it leaves this process.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use supervisor_policy::egress::{Host, HostName};

use crate::limits::MAX_DNS_QUERY;

/// How long a program may remember a synthetic address, in seconds. It never changes; a minute
/// keeps the record of who looked up what meaningful.
const TIME_TO_LIVE: u32 = 60;

/// The option of an Extended DNS Error (RFC 8914 §2) and the codes that are used here (§4).
const EXTENDED_ERROR: u16 = 15;
const BLOCKED: u16 = 15;
const NOT_SUPPORTED: u16 = 21;
const OTHER: u16 = 0;

/// Bytes of explanation in an answer, so that it fits the 512 bytes that any client takes.
const MAX_EXPLANATION: usize = 180;

/// What is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// A name that a policy can know.
    Name(&'a HostName),
    /// What is refused whatever the policy says; it is on record with this code.
    Other(&'a Name, &'static str),
}

/// What the policy and the pool say to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may be asked for, and these stand for it.
    Allowed(Ipv4Addr, Ipv6Addr),
    /// The policy denies it, with the rule and the cause in one sentence.
    Denied(String),
    /// There is no address left for it.
    NoAddressLeft,
}

/// The answer to a query; `None` where none may be given: to what is no query, since an answer to an
/// answer is how loops begin.
pub fn answer(query: &[u8], mut verdict: impl FnMut(Asked<'_>) -> Verdict) -> Option<Vec<u8>> {
    if query.len() < 12 || query.len() > MAX_DNS_QUERY {
        return None;
    }
    let response = match Message::from_vec(query) {
        Ok(query) if query.metadata.message_type != MessageType::Query => return None,
        Ok(query) => respond(&query, &mut verdict),
        Err(_) if query.get(2).is_none_or(|flags| flags & 0x80 != 0) => return None,
        Err(_) => {
            let id = u16::from_be_bytes(query.get(..2)?.try_into().ok()?);
            Message::error_msg(id, OpCode::Query, ResponseCode::FormErr)
        }
    };
    match response.to_vec() {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::debug!(%error, "an answer to a DNS query can't be written");
            None
        }
    }
}

fn respond(query: &Message, verdict: &mut dyn FnMut(Asked<'_>) -> Verdict) -> Message {
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    let explanation = match (&query.edns, query.metadata.op_code, query.queries.as_slice()) {
        (Some(edns), ..) if edns.version() != 0 => {
            response.metadata.response_code = ResponseCode::BADVERS;
            None
        }
        (_, OpCode::Query, [question]) => {
            response.queries.push(question.clone());
            decide(question, &mut response, verdict)
        }
        (_, OpCode::Query, _) => {
            response.metadata.response_code = ResponseCode::FormErr;
            None
        }
        _ => {
            response.metadata.response_code = ResponseCode::NotImp;
            None
        }
    };
    if query.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(u16::try_from(MAX_DNS_QUERY).unwrap_or(512));
        if let Some((code, text)) = explanation {
            edns.options_mut().insert(extended_error(code, &text));
        }
        response.set_edns(edns);
    }
    response
}

/// Fills in what the question gets, and returns what is to be said about it.
fn decide(
    question: &Query,
    response: &mut Message,
    verdict: &mut dyn FnMut(Asked<'_>) -> Verdict,
) -> Option<(u16, String)> {
    let mut refuse = |code, explanation: (u16, String)| {
        response.metadata.response_code = code;
        Some(explanation)
    };
    let whole =
        matches!(question.query_type, RecordType::ANY | RecordType::AXFR | RecordType::IXFR);
    if question.query_class != DNSClass::IN || whole {
        let text = "supervisord answers for single types of class IN only".to_owned();
        verdict(Asked::Other(&question.name, "look_up_not_answered"));
        return refuse(ResponseCode::Refused, (NOT_SUPPORTED, text));
    }
    if let Some(data) = localhost(&question.name, question.query_type) {
        response.answers.extend(data.map(|data| record(question, data)));
        return None;
    }
    let Some(name) = host_name(&question.name) else {
        let text = "supervisord: not a host name that a policy can allow".to_owned();
        verdict(Asked::Other(&question.name, "not_a_host_name"));
        return refuse(ResponseCode::NXDomain, (BLOCKED, text));
    };
    match verdict(Asked::Name(&name)) {
        Verdict::Allowed(v4, v6) => {
            // Any other type of an allowed name exists and is empty: a TXT or HTTPS record would
            // have to be fetched, and what is asked for would leave with it.
            let data = match question.query_type {
                RecordType::A => RData::A(v4.into()),
                RecordType::AAAA => RData::AAAA(v6.into()),
                _ => return None,
            };
            response.answers.push(record(question, data));
            None
        }
        // NXDOMAIN, because REFUSED is "try again" to getaddrinfo and an agent would.
        Verdict::Denied(why) => refuse(ResponseCode::NXDomain, (BLOCKED, why)),
        Verdict::NoAddressLeft => {
            let text = "supervisord: this sandbox has looked up too many names".to_owned();
            refuse(ResponseCode::Refused, (OTHER, text))
        }
    }
}

fn record(question: &Query, data: RData) -> Record {
    Record::from_rdata(question.name.clone(), TIME_TO_LIVE, data)
}

/// RFC 6761 §6.3: `localhost` is this sandbox, whatever a policy says. `Some(None)` is an empty
/// answer, for types that it doesn't have.
fn localhost(name: &Name, kind: RecordType) -> Option<Option<RData>> {
    name.is_localhost().then_some(match kind {
        RecordType::A => Some(RData::A(Ipv4Addr::LOCALHOST.into())),
        RecordType::AAAA => Some(RData::AAAA(Ipv6Addr::LOCALHOST.into())),
        _ => None,
    })
}

/// The name in the one spelling that policies know; labels with other bytes than those of host names
/// have none.
fn host_name(name: &Name) -> Option<HostName> {
    let mut text = String::with_capacity(name.len());
    for label in name.iter() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
    }
    match Host::parse(&text.to_ascii_lowercase()) {
        Ok(Host::Name(name)) => Some(name),
        Ok(Host::Address(_)) | Err(_) => None,
    }
}

fn extended_error(code: u16, text: &str) -> EdnsOption {
    let mut content = code.to_be_bytes().to_vec();
    let end = text.floor_char_boundary(MAX_EXPLANATION);
    content.extend_from_slice(text.get(..end).unwrap_or_default().as_bytes());
    EdnsOption::Unknown(EXTENDED_ERROR, content)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
    const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 1);

    fn verdict(asked: Asked<'_>) -> Verdict {
        match asked {
            Asked::Name(name) if name.as_str() == "up.test" => Verdict::Allowed(V4, V6),
            _ => Verdict::Denied("supervisord: default deny".to_owned()),
        }
    }

    fn ask(name: &str, kind: RecordType) -> Message {
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
        query.set_edns(Edns::new());
        let answer = answer(&query.to_vec().unwrap(), verdict).unwrap();
        assert!(answer.len() <= 512);
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!((answer.metadata.id, &answer.queries), (query.metadata.id, &query.queries));
        answer
    }

    fn explanation(answer: &Message) -> String {
        match answer.edns.as_ref().unwrap().option(EXTENDED_ERROR.into()) {
            Some(EdnsOption::Unknown(_, content)) => {
                String::from_utf8(content[2..].to_vec()).unwrap()
            }
            _ => String::new(),
        }
    }

    #[test]
    fn an_allowed_name_has_synthetic_addresses_of_both_families() {
        let a = ask("up.test.", RecordType::A);
        assert_eq!(a.answers[0].data, RData::A(V4.into()));
        let aaaa = ask("UP.tesT.", RecordType::AAAA);
        assert_eq!(aaaa.answers[0].data, RData::AAAA(V6.into()));
    }

    #[test]
    fn every_other_type_of_an_allowed_name_is_empty() {
        for kind in
            [RecordType::HTTPS, RecordType::SVCB, RecordType::TXT, RecordType::MX, RecordType::SRV]
        {
            let answer = ask("up.test.", kind);
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError, "{kind}");
            assert!(answer.answers.is_empty());
        }
    }

    #[test]
    fn a_denied_name_does_not_exist_and_the_answer_says_why() {
        for name in ["evil.test.", "x.up.test.", "a_b.test.", "x.onion.", "1.0.0.127.in-addr.arpa."]
        {
            let answer = ask(name, RecordType::A);
            assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name}");
            assert!(explanation(&answer).starts_with("supervisord"), "{name}");
            assert!(answer.answers.is_empty());
        }
    }

    #[test]
    fn whole_zones_are_refused() {
        for kind in [RecordType::ANY, RecordType::AXFR] {
            let answer = ask("up.test.", kind);
            assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
        }
    }

    #[test]
    fn localhost_is_the_sandbox() {
        let answer = ask("localhost.", RecordType::AAAA);
        assert_eq!(answer.answers[0].data, RData::AAAA(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn a_dot_within_a_label_makes_no_other_name() {
        let name = Name::from_labels([&b"up.test"[..]]).unwrap();
        assert_eq!(host_name(&name), None);
    }

    #[test]
    fn an_answer_is_never_answered() {
        let mut query = Message::response(7, OpCode::Query);
        query.add_query(Query::query(Name::from_ascii("up.test.").unwrap(), RecordType::A));
        assert_eq!(answer(&query.to_vec().unwrap(), verdict), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_answers_stay_small(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            if let Some(answer) = answer(&bytes, verdict) {
                prop_assert!(answer.len() <= MAX_DNS_QUERY);
                prop_assert_eq!(&answer[..2], &bytes[..2]);
            }
        }

        #[test]
        fn any_label_bytes_are_a_name_or_are_refused(label in prop::collection::vec(any::<u8>(), 1..63)) {
            let name = Name::from_labels([label.as_slice(), b"test"]).unwrap();
            if let Some(name) = host_name(&name) {
                prop_assert!(name.as_str().ends_with(".test"));
            }
        }
    }
}
