//! What can be wrong with an upstream.

use std::fmt;
use std::io;

use http::StatusCode;
use rustls::CertificateError;

use crate::refused::Refused;
use crate::resolve::Unresolved;

/// Why a permitted connection or request got no answer.
#[derive(Debug)]
pub enum UpstreamError {
    /// Its name has no address.
    Unresolved(Unresolved),
    /// None of its addresses took the connection.
    Connect(io::Error),
    /// No address took it in time.
    ConnectTimeout,
    /// Its certificate does not hold.
    Certificate(rustls::Error),
    /// TLS with it failed.
    Tls(io::Error),
    /// TLS with it took too long.
    TlsTimeout,
    /// It broke off, or what it said is no HTTP.
    Http(hyper::Error),
    /// It did not begin to answer in time.
    FirstByte,
    /// Its answer can be read in two ways.
    Ambiguous(&'static str),
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(why) => write!(f, "the upstream can't be found: {why}"),
            Self::Connect(error) => write!(f, "the upstream can't be reached: {error}"),
            Self::ConnectTimeout => f.write_str("the upstream can't be reached in time"),
            Self::Certificate(error) => {
                write!(f, "the upstream's certificate does not hold: {error}")
            }
            Self::Tls(error) => write!(f, "TLS with the upstream failed: {error}"),
            Self::TlsTimeout => f.write_str("TLS with the upstream took too long"),
            Self::Http(_) => f.write_str("the upstream gave no usable answer"),
            Self::FirstByte => f.write_str("the upstream did not answer in time"),
            Self::Ambiguous(what) => write!(f, "the upstream's answer can't be passed on: {what}"),
        }
    }
}

impl std::error::Error for UpstreamError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Http(error) => Some(error),
            _ => None,
        }
    }
}

impl From<UpstreamError> for Refused {
    fn from(error: UpstreamError) -> Self {
        use UpstreamError as E;
        let bad = StatusCode::BAD_GATEWAY;
        let late = StatusCode::GATEWAY_TIMEOUT;
        let (status, kind, code) = match &error {
            E::Unresolved(Unresolved::Unanswered) => (late, "dns_timeout", "upstream_dns"),
            E::Unresolved(Unresolved::Unasked) => {
                (StatusCode::SERVICE_UNAVAILABLE, "dns_error", "upstream_dns")
            }
            E::Unresolved(_) => (bad, "dns_error", "upstream_dns"),
            E::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                (bad, "connection_refused", "upstream_connect")
            }
            E::Connect(_) => (bad, "destination_unavailable", "upstream_connect"),
            E::ConnectTimeout => (late, "connection_timeout", "upstream_connect"),
            E::Certificate(_) => (bad, "tls_certificate_error", "upstream_tls"),
            E::Tls(_) | E::TlsTimeout => (bad, "tls_protocol_error", "upstream_tls"),
            E::Http(error) if error.is_timeout() => {
                (late, "http_response_timeout", "upstream_http")
            }
            E::Http(error) if error.is_parse() => (bad, "http_protocol_error", "upstream_http"),
            E::Http(_) => (bad, "connection_terminated", "upstream_http"),
            E::FirstByte => (late, "http_response_timeout", "upstream_timeout"),
            E::Ambiguous(_) => (bad, "http_protocol_error", "upstream_ambiguous"),
        };
        let remedy = match &error {
            E::Certificate(error) => of_certificate(error),
            _ => {
                "The policy allows this; the upstream is at fault. Try again later, or tell whoever \
                 runs it."
            }
        };
        Self::new(status, kind, code, error.to_string(), remedy)
    }
}

/// What helps against a certificate that does not hold.
fn of_certificate(error: &rustls::Error) -> &'static str {
    use CertificateError as C;
    let rustls::Error::InvalidCertificate(error) = error else { return TELL };
    match error {
        C::Expired | C::ExpiredContext { .. } => {
            "The policy allows this; the upstream's certificate has expired: tell whoever runs it."
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            "The policy allows this; the upstream's certificate is not valid yet: look at this host's \
             clock, or tell whoever runs it."
        }
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "The policy allows this; the upstream's certificate is for another name: use that name, \
             or tell whoever runs it."
        }
        C::UnknownIssuer => {
            "The policy allows this; nobody that this host trusts has issued the upstream's \
             certificate: have the administrator name the issuer's in the daemon's configuration \
             (`upstream_roots`)."
        }
        _ => TELL,
    }
}

const TELL: &str =
    "The policy allows this; the upstream's certificate is at fault: tell whoever runs it.";
