//! One question to one name server.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use ring::rand::{SecureRandom, SystemRandom};
use supervisor_policy::egress::HostName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::limits::{MAX_ADDRESSES, MAX_DNS_QUERY, NAME_SERVER_PATIENCE, RESOLVED_FOR};

/// Aliases that are followed within one answer, as name servers themselves do.
const MAX_ALIASES: usize = 12;

/// What a name server said.
#[derive(Debug)]
pub struct Response {
    /// The addresses; none where the name has none or doesn't exist.
    pub addresses: Vec<IpAddr>,
    /// For how long.
    pub valid_for: Duration,
}

/// Why a name server's answer can't be used.
#[derive(Debug)]
pub enum QueryError {
    /// The exchange failed.
    Io(io::Error),
    /// Nothing came in time.
    TimedOut,
    /// What came is no answer to this question.
    Unusable(&'static str),
    /// The server says that it can't.
    Refused(ResponseCode),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("exchanging messages with it failed"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Unusable(what) => f.write_str(what),
            Self::Refused(code) => write!(f, "it answered {code}"),
        }
    }
}

impl QueryError {
    /// Whether it is this host that failed, and no server that was asked or didn't listen.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() != io::ErrorKind::ConnectionRefused)
    }
}

impl std::error::Error for QueryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for QueryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Asks over UDP, and over TCP where the answer doesn't fit a datagram.
///
/// # Errors
///
/// [`QueryError`]; that a name doesn't exist is an answer, not an error.
pub async fn ask(
    server: SocketAddr,
    name: &HostName,
    kind: RecordType,
) -> Result<Response, QueryError> {
    let mut fqdn = Name::from_ascii(name.as_str())
        .map_err(|_| QueryError::Unusable("the name can't be asked for"))?;
    fqdn.set_fqdn(true);
    let question = Query::query(fqdn, kind);
    let id = random_id()?;
    let mut query = Message::new(id, MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    query.add_query(question.clone());
    let mut edns = Edns::new();
    edns.set_max_payload(u16::try_from(MAX_DNS_QUERY).unwrap_or(512));
    query.set_edns(edns);
    let query =
        query.to_vec().map_err(|_| QueryError::Unusable("the question can't be written"))?;
    let exchange = async {
        let message = over_udp(server, &query, id, &question).await?;
        match message.metadata.truncation {
            false => Ok(message),
            true => over_tcp(server, &query, id, &question).await,
        }
    };
    let message =
        timeout(NAME_SERVER_PATIENCE, exchange).await.map_err(|_| QueryError::TimedOut)??;
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(read(&message, &question)),
        code => Err(QueryError::Refused(code)),
    }
}

/// A fresh socket with a random port each time, which together with the random id is what makes
/// answers hard to forge (RFC 5452 §9.2).
async fn over_udp(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    question: &Query,
) -> Result<Message, QueryError> {
    let own: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((own, 0)).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut bytes = [0u8; 4096];
    loop {
        let length = socket.recv(&mut bytes).await?;
        // Anything else may be forged; the real answer can still come.
        if let Some(message) = usable(bytes.get(..length).unwrap_or_default(), id, question) {
            return Ok(message);
        }
    }
}

async fn over_tcp(
    server: SocketAddr,
    query: &[u8],
    id: u16,
    question: &Query,
) -> Result<Message, QueryError> {
    let mut stream = TcpStream::connect(server).await?;
    let mut framed = u16::try_from(query.len()).unwrap_or(0).to_be_bytes().to_vec();
    framed.extend_from_slice(query);
    stream.write_all(&framed).await?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut bytes).await?;
    usable(&bytes, id, question).ok_or(QueryError::Unusable("its answer is to another question"))
}

/// The message, if it is the answer to this question.
pub fn usable(bytes: &[u8], id: u16, question: &Query) -> Option<Message> {
    let message = Message::from_vec(bytes).ok()?;
    let [asked] = message.queries.as_slice() else { return None };
    let ours = message.metadata.id == id
        && message.metadata.message_type == MessageType::Response
        && asked.name == question.name
        && asked.query_type == question.query_type
        && asked.query_class == question.query_class;
    ours.then_some(message)
}

/// The addresses at the end of the question's chain of aliases; records of other names are nothing
/// that was asked for.
pub fn read(message: &Message, question: &Query) -> Response {
    let mut name = question.name.clone();
    let mut valid_for = RESOLVED_FOR.1;
    let mut addresses = Vec::new();
    for _ in 0..MAX_ALIASES {
        let mut alias = None;
        for record in message.answers.iter().filter(|record| record.name == name) {
            let address = match &record.data {
                RData::A(v4) => Some(IpAddr::V4(v4.0)),
                RData::AAAA(v6) => Some(IpAddr::V6(v6.0)),
                RData::CNAME(target) => {
                    alias = Some(target.0.clone());
                    None
                }
                _ => continue,
            };
            valid_for = valid_for.min(Duration::from_secs(record.ttl.into()));
            addresses.extend(address);
        }
        match alias {
            Some(target) if addresses.is_empty() => name = target,
            _ => break,
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    Response { addresses, valid_for }
}

fn random_id() -> Result<u16, QueryError> {
    let mut id = [0u8; 2];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| QueryError::Unusable("the system gives no random bytes"))?;
    Ok(u16::from_be_bytes(id))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::CNAME;
    use supervisor_policy::egress::Host;
    use tokio::net::TcpListener;

    use super::super::{Names, Resolver, Unresolved};
    use super::*;

    fn name(text: &str) -> HostName {
        Host::parse(text).unwrap().name().unwrap().clone()
    }

    fn dns(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    /// What a test's name server says: `big.test` only over TCP, `alias.test` by an alias with a
    /// stranger's record beside it, `forged.test` after an answer with another id.
    fn says(query: &Message, udp: bool) -> Vec<Message> {
        let question = query.queries[0].clone();
        let mut answer = Message::response(query.metadata.id, OpCode::Query);
        answer.queries.push(question.clone());
        let v4 = |last| RData::A(Ipv4Addr::new(192, 0, 2, last).into());
        if question.query_type != RecordType::A {
            return vec![answer];
        }
        match question.name.to_ascii().as_str() {
            "big.test." if udp => answer.metadata.truncation = true,
            "big.test." => answer.answers.push(Record::from_rdata(question.name, 60, v4(1))),
            "alias.test." => {
                let real = dns("real.test.");
                let alias = RData::CNAME(CNAME(real.clone()));
                answer.answers.push(Record::from_rdata(question.name, 60, alias));
                answer.answers.push(Record::from_rdata(dns("stranger.test."), 60, v4(66)));
                answer.answers.push(Record::from_rdata(real, 60, v4(2)));
            }
            "forged.test." => {
                let mut forged = answer.clone();
                forged.metadata.id = forged.metadata.id.wrapping_add(1);
                forged.answers.push(Record::from_rdata(question.name.clone(), 60, v4(66)));
                answer.answers.push(Record::from_rdata(question.name, 60, v4(3)));
                return vec![forged, answer];
            }
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        vec![answer]
    }

    async fn name_server() -> (SocketAddr, Arc<AtomicUsize>) {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 2048];
            loop {
                let (length, peer) = udp.recv_from(&mut bytes).await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                for message in says(&Message::from_vec(&bytes[..length]).unwrap(), true) {
                    udp.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut bytes).await.unwrap();
                let answer = says(&Message::from_vec(&bytes).unwrap(), false)[0].to_vec().unwrap();
                stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn names_resolve_through_aliases_over_tcp_and_past_forgeries() {
        let (server, _) = name_server().await;
        let resolver = Resolver::new(Names::new(vec![server], "192.0.2.200 fixed.test\n"));
        for (asked, last) in
            [("big.test", 1), ("alias.test", 2), ("forged.test", 3), ("fixed.test", 200)]
        {
            let resolved = resolver.resolve(&name(asked), false).await.unwrap();
            assert_eq!(*resolved.addresses, [IpAddr::from([192, 0, 2, last])], "{asked}");
        }
    }

    #[tokio::test]
    async fn what_is_known_or_missing_is_not_asked_for_again() {
        let (server, asked) = name_server().await;
        let resolver = Resolver::new(Names::new(vec![server], ""));
        for _ in 0..5 {
            assert!(resolver.resolve(&name("alias.test"), false).await.is_ok());
            let missing = resolver.resolve(&name("no.test"), true).await;
            assert_eq!(missing, Err(Unresolved::WithoutAddress));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 4);
    }

    /// A name server that answers for IPv4, and for IPv6 from the second question on.
    async fn late_server() -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 2048];
            loop {
                let (length, peer) = socket.recv_from(&mut bytes).await.unwrap();
                let query = Message::from_vec(&bytes[..length]).unwrap();
                let question = query.queries[0].clone();
                let data = match question.query_type {
                    RecordType::A => RData::A(Ipv4Addr::new(192, 0, 2, 1).into()),
                    _ if count.fetch_add(1, Ordering::SeqCst) == 0 => continue,
                    _ => RData::AAAA(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
                };
                let mut answer = Message::response(query.metadata.id, OpCode::Query);
                answer.answers.push(Record::from_rdata(question.name.clone(), 3600, data));
                answer.queries.push(question);
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        (address, asked)
    }

    #[tokio::test]
    async fn one_family_s_silence_is_not_waited_for_unless_its_addresses_are_wanted() {
        let (server, asked) = late_server().await;
        let resolver = Resolver::new(Names::new(vec![server], ""));
        let (v4, v6) = (IpAddr::from([192, 0, 2, 1]), "2001:db8::1".parse::<IpAddr>().unwrap());
        let soon = resolver.resolve(&name("late.test"), false).await.unwrap();
        // A second round would have asked once more.
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!((&*soon.addresses, soon.is_whole), (&[v4][..], false));
        let until = Instant::now() + RESOLVED_FOR.0;
        assert_eq!(super::super::lock(&resolver.cache).get(&name("late.test"), until), None);
        let whole = resolver.resolve(&name("late.test"), true).await.unwrap();
        assert_eq!((&*whole.addresses, whole.is_whole), (&[v6, v4][..], true));
        let again = resolver.resolve(&name("late.test"), false).await.unwrap();
        assert_eq!((again, asked.load(Ordering::SeqCst)), (whole, 2));
    }

    #[tokio::test]
    async fn who_asks_at_once_for_a_name_shares_one_look_up() {
        let (server, asked) = name_server().await;
        let resolver = Arc::new(Resolver::new(Names::new(vec![server], "")));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let resolver = resolver.clone();
            all.spawn(async move { resolver.resolve(&name("alias.test"), true).await });
        }
        assert!(all.join_all().await.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::SeqCst), 2, "one for each family");
    }

    #[tokio::test]
    async fn a_look_up_that_could_not_be_made_is_made_again() {
        // Nobody may send to this address.
        let nowhere = SocketAddr::from((Ipv4Addr::BROADCAST, 53));
        let resolver = Resolver::new(Names::new(vec![nowhere], ""));
        assert_eq!(resolver.resolve(&name("a.test"), false).await, Err(Unresolved::Unasked));
        assert_eq!(super::super::lock(&resolver.cache).get(&name("a.test"), Instant::now()), None);
        assert!(super::super::lock(&resolver.asking).is_empty());
    }

    #[tokio::test]
    async fn without_name_servers_nothing_resolves() {
        let resolver = Resolver::new(Names::default());
        assert_eq!(resolver.resolve(&name("a.test"), false).await, Err(Unresolved::ServerMissing));
    }
}
