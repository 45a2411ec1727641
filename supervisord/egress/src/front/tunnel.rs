//! A connection to a destination, from when it is known what may be spoken with it to its end.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use supervisor_policy::egress::{Destination, Host, Protocol};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::plan::{Https, Passage, Plan};
use super::refuse::{refuse, reset};
use super::rewound::Rewound;
use super::sniff::{Speech, sniff};
use crate::event::{Failure, Subject};
use crate::http::{serve_http1, serve_http2};
use crate::limits::MAX_ECHO;
use crate::refused::Refused;
use crate::relay::{Ended, relay_spliced};
use crate::session::Session;
use crate::shared::Place;
use crate::tls::client_hello::ClientHello;
use crate::upstream::Socket;
use crate::without::without;

/// Serves a payload's stream, of which `front` has been read. `upstream` is what was dialled already
/// for a stream that may be passed on.
pub async fn serve(
    session: Arc<Session>,
    mut stream: TcpStream,
    mut front: BytesMut,
    plan: Plan,
    upstream: Option<Socket>,
    place: Place,
) {
    if let Some(passage) = plan.tcp {
        return pass(&session, stream, front.freeze(), passage, upstream).await;
    }
    let limits = &session.shared.limits;
    let speech = match sniff(&mut stream, &mut front, limits.idle, limits.head).await {
        Ok(speech) => speech,
        Err(error) => {
            tracing::debug!(%error, "a connection ended before it said anything");
            return give_up_tls(&session, plan.https, "cut_off");
        }
    };
    let (destination, front) = (plan.destination, front.freeze());
    let refused = match (&speech, plan.https) {
        (Speech::Tls(hello), Some(https)) => match (agree(&destination, hello), https) {
            (Ok(()), Https::Inspect) => {
                let stream = Rewound::new(front, stream);
                let offered = hello.protocols.clone();
                return Box::pin(inspect(session, stream, offered, destination, place)).await;
            }
            (Ok(()), Https::Pass(passage)) if !hello.may_hide_another => {
                return pass(&session, stream, front, passage, upstream).await;
            }
            (agreed, https) => {
                let hidden = || Refused::hidden_name(&destination);
                let refused = agreed.err().unwrap_or_else(hidden);
                give_up_tls(&session, Some(https), refused.code);
                refused
            }
        },
        (Speech::Words, https) if plan.http => {
            give_up_tls(&session, https, "other_protocol");
            let stream = Rewound::new(front, stream);
            let http = serve_http1(session, stream, destination, Protocol::Http, place);
            return Box::pin(http).await;
        }
        (Speech::Silence, https) => return give_up_tls(&session, https, "idle"),
        (_, https) => {
            let refused = unexpected(&destination, &speech);
            give_up_tls(&session, https, refused.code);
            refused
        }
    };
    let subject = Subject::Connection { destination: Some(destination), protocol: None };
    session.refuse(session.number(), subject, &refused);
    refuse(stream, &speech, &refused, session.shared.limits.linger).await;
}

/// Records that nothing is passed on although it was allowed, if it was.
pub fn give_up(session: &Session, plan: Plan, how: &'static str) {
    if let Some(passage) = plan.tcp {
        session.ended(passage.number, None, &passage.meter, how);
    }
    give_up_tls(session, plan.https, how);
}

/// The same of TLS alone.
fn give_up_tls(session: &Session, https: Option<Https>, how: &'static str) {
    if let Some(Https::Pass(passage)) = https {
        session.ended(passage.number, None, &passage.meter, how);
    }
}

/// The server name has to be the one that the connection was opened to. Without one, the upstream is
/// the one that was opened to all the same.
fn agree(destination: &Destination, hello: &ClientHello) -> Result<(), Refused> {
    let Some(name) = &hello.server_name else { return Ok(()) };
    match Host::parse(name) {
        Ok(named) if named == destination.host || without("server-name") => Ok(()),
        Ok(named) => Err(Refused::disagreement(destination, named)),
        Err(invalid) => Err(Refused::bad_destination(name, invalid, invalid.hint())),
    }
}

/// Passes bytes on, first those that were read already.
async fn pass(
    session: &Session,
    stream: TcpStream,
    front: Bytes,
    passage: Passage,
    upstream: Option<Socket>,
) {
    let upstream = match upstream {
        Some(upstream) => Ok(upstream),
        None => passage.dial(session).await,
    };
    let Ok(mut upstream) = upstream else { return reset(stream) };
    let meter = passage.meter.clone();
    if !front.is_empty() {
        if let Err(overspent) = meter.send(front.len()) {
            let how = (overspent.lack.code(), Some(Failure::overspent(&overspent)));
            session.ended_by(passage.number, None, &meter, how);
            return reset(stream);
        }
        if upstream.write_all(&front).await.is_err() {
            session.ended(passage.number, None, &meter, "cut_off");
            return reset(stream);
        }
    }
    drop(front);
    let (shared, patience) = (&session.shared, session.shared.limits.idle);
    let ended = relay_spliced(&stream, upstream.as_ref(), &meter, &shared.pipes, patience).await;
    let how = match &ended {
        Ended::Done => "done",
        Ended::Idle => "idle",
        Ended::Overdrawn(lack) => lack.code(),
        Ended::Reflected | Ended::Leaking(_) | Ended::Broken => "cut_off",
    };
    let failure = matches!(ended, Ended::Overdrawn(_)).then(Failure::used_up);
    session.ended_by(passage.number, None, &meter, (how, failure));
    if !matches!(ended, Ended::Done) {
        // What was cut must not look complete.
        reset(stream);
    }
}

/// Ends TLS here and serves what is in it.
async fn inspect(
    session: Arc<Session>,
    stream: Rewound<TcpStream>,
    offered: Vec<Vec<u8>>,
    destination: Destination,
    place: Place,
) {
    let subject = || Subject::Connection {
        destination: Some(destination.clone()),
        protocol: Some(Protocol::Https),
    };
    let config = match session.fronts.of(&destination.host.bare()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "no certificate");
            session.refuse(session.number(), subject(), &Refused::cannot_inspect());
            return reset(stream.into_inner());
        }
    };
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = match timeout(session.shared.limits.handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let refused = match error.get_ref().and_then(|cause| cause.downcast_ref()) {
                Some(rustls::Error::NoApplicationProtocol) => no_protocol(&offered),
                _ => handshake_failed(&error),
            };
            return session.refuse(session.number(), subject(), &refused);
        }
        Err(_) => {
            let late = "the TLS handshake took too long";
            return session.refuse(session.number(), subject(), &handshake_failed(&late));
        }
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => serve_http2(session, stream, destination, place).await,
        _ => serve_http1(session, stream, destination, Protocol::Https, place).await,
    }
}

/// The refusal of TLS for what is no HTTP.
fn no_protocol(offered: &[Vec<u8>]) -> Refused {
    let names: Vec<String> = offered.iter().map(|name| name.escape_ascii().to_string()).collect();
    let shown: String = names.join(", ").chars().take(MAX_ECHO).collect();
    Refused::new(
        StatusCode::BAD_REQUEST,
        "tls_protocol_error",
        "alpn_not_supported",
        format!(
            "the connection is inspected, and the program offers none but {shown} for what is in it (ALPN)"
        ),
        "Have it offer h2 or http/1.1; what is no HTTP needs a rule with protocols = [\"tcp\"].",
    )
}

fn handshake_failed(cause: &dyn std::fmt::Display) -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "tls_protocol_error",
        "client_tls",
        format!("the program did not accept the inspected connection: {cause}"),
        "Let the program use the sandbox's own trust store (SSL_CERT_FILE names it).",
    )
}

const ANOTHER: &str = "Use a protocol that a rule names, or ask for a rule with it.";

fn unexpected(destination: &Destination, speech: &Speech) -> Refused {
    let (what, remedy) = match speech {
        Speech::Tls(_) => ("TLS", ANOTHER),
        Speech::BrokenTls => ("TLS that can't be read", ANOTHER),
        Speech::Ssh => (
            "SSH",
            "Use HTTPS instead (git: https://HOST/PATH in place of git@HOST:PATH), or ask for a rule with \
             protocols = [\"tcp\"] and the port, which passes on what nobody sees.",
        ),
        Speech::Words => {
            ("HTTP without TLS", "Use https, or ask for a rule with protocols = [\"http\"].")
        }
        Speech::Unknown | Speech::Silence => ("neither HTTP nor TLS", ANOTHER),
    };
    Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "protocol_not_allowed",
        format!("the connection to {destination} speaks {what}, which no rule allows there"),
        remedy,
    )
}
