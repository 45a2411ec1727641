//! OAuth 2 (RFC 6749): client credentials (§4.4) and refresh tokens (§6).
//!
//! The token endpoint is dialled as any upstream is: addresses are checked, TLS is verified. Its
//! response is bounded and read strictly, and nothing of it is repeated in errors.

mod exchange;
pub(crate) mod response;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;
use zeroize::Zeroizing;

use self::response::Tokens;
use super::query::encode;
use super::seam::Pending;
use super::secret::{Secret, sealed};
use super::source::{Source, SourceError, Why};
use super::value::{Delivery, Value};

/// A connection to a token endpoint, inside TLS.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Dials token endpoints: resolves, checks the address, connects to it, verifies the certificate and
/// agrees on HTTP/1.1.
pub trait Dial: fmt::Debug + Send + Sync {
    /// A connection to this host and port.
    ///
    /// # Errors
    /// The host is unknown, its address not allowed, or its certificate is not to be trusted.
    fn dial<'a>(
        &'a self,
        host: &'a str,
        port: u16,
    ) -> Pending<'a, Result<Box<dyn Connection>, SourceError>>;
}

/// How long a refresh token may be under way: the server may have replaced it by then, so what it answers is waited
/// for longer than any payload waits. At it: the ask is given up, and the token sent again at the next.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// Keeps a refresh token over a restart of the daemon. It outlives the source that it is for, so that
/// a source that takes another one's place goes on with the newest.
pub trait Keep: fmt::Debug + Send + Sync {
    /// Waits until nobody has the newest under way, and holds that: servers that find a refresh token used twice
    /// take all of its successors back.
    fn turn(&self) -> Pending<'_, OwnedMutexGuard<()>>;

    /// The newest.
    fn token(&self) -> Arc<Secret>;

    /// Keeps this one in place of the one before. It is on disk when this returns.
    ///
    /// # Errors
    /// It can't be written; [`Keep::token`] is the new one even so.
    fn keep(&self, token: Secret) -> Pending<'_, Result<(), SourceError>>;
}

/// The token endpoint of an authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    uri: Uri,
    host: String,
    port: u16,
}

/// An address that can't be a token endpoint's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidEndpoint;

/// How the client says who it is (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In `Authorization: Basic`.
    Basic,
    /// In the body.
    Post,
}

/// What a token is asked for with.
#[derive(Debug)]
pub enum Grant {
    /// The client's own credentials.
    ClientCredentials,
    /// The newest refresh token.
    RefreshToken(Arc<dyn Keep>),
}

/// What is configured of a client.
#[derive(Debug)]
pub struct Client {
    /// Where tokens are asked for.
    pub endpoint: Endpoint,
    /// The client's name with the server.
    pub id: String,
    /// The client's secret; public clients have none.
    pub secret: Option<Secret>,
    /// How it says who it is.
    pub authentication: ClientAuthentication,
    /// What it asks for, besides: `scope`, `audience`, `resource`.
    pub parameters: Vec<(String, String)>,
    /// What it asks with.
    pub grant: Grant,
}

/// A source that asks an authorization server.
#[derive(Debug)]
pub struct OAuth {
    asking: Arc<Asking>,
}

/// What asks.
#[derive(Debug)]
struct Asking {
    client: Client,
    dial: Arc<dyn Dial>,
}

impl Endpoint {
    /// Reads the address of a token endpoint, such as `https://login.example.com/oauth2/token`.
    ///
    /// # Errors
    /// It is no URL with https, or has user information or a fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidEndpoint> {
        let uri: Uri = text.parse().map_err(|_| InvalidEndpoint)?;
        let authority = uri.authority().ok_or(InvalidEndpoint)?;
        let odd = authority.as_str().contains('@') || text.contains('#');
        if uri.scheme_str() != Some("https") || odd {
            return Err(InvalidEndpoint);
        }
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        let (host, port) = (bare.to_ascii_lowercase(), authority.port_u16().unwrap_or(443));
        Ok(Self { uri, host, port })
    }

    /// Its host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl OAuth {
    /// A source for this client.
    pub fn new(client: Client, dial: Arc<dyn Dial>) -> Self {
        Self { asking: Arc::new(Asking { client, dial }) }
    }

    /// Asks in turn, and to the end even if nobody waits for it any more: what takes the token's place is kept.
    async fn refresh(&self, keep: &Arc<dyn Keep>) -> Result<Delivery, SourceError> {
        let (turn, asking) = (keep.turn().await, self.asking.clone());
        let asked = tokio::spawn(async move {
            let _turn = turn;
            timeout(UNDER_WAY, asking.ask()).await
        });
        match asked.await {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(_)) => Err(SourceError::new(format!("no answer within {UNDER_WAY:?}"))),
            Err(error) => Err(SourceError::caused("asking for a token", error)),
        }
    }
}

impl Asking {
    async fn ask(&self) -> Result<Delivery, SourceError> {
        let Endpoint { host, port, .. } = &self.client.endpoint;
        let refresh = match &self.client.grant {
            Grant::ClientCredentials => None,
            Grant::RefreshToken(keep) => Some(keep.token()),
        };
        let request = self.request(refresh.as_deref())?;
        let connection = self.dial.dial(host, *port).await?;
        let (status, body) = exchange::exchange(connection, request).await?;
        let tokens = response::read(status, &body)?;
        self.take(refresh.as_deref(), tokens).await
    }

    /// The request for a token (RFC 6749 §4.4.2, §6).
    fn request(
        &self,
        refresh: Option<&Secret>,
    ) -> Result<Request<Full<bytes::Bytes>>, SourceError> {
        let client = &self.client;
        let mut body = Zeroizing::new(Vec::with_capacity(self.most_bytes(refresh)));
        match refresh {
            None => body.extend_from_slice(b"grant_type=client_credentials"),
            Some(token) => {
                body.extend_from_slice(b"grant_type=refresh_token&refresh_token=");
                encode(token.expose(), &mut body);
            }
        }
        for (name, value) in &client.parameters {
            parameter(&mut body, name, value.as_bytes());
        }
        let uri = client.endpoint.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::post(uri)
            .header(header::HOST, client.endpoint.uri.authority().map_or("", |text| text.as_str()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json");
        match (&client.secret, client.authentication) {
            (Some(secret), ClientAuthentication::Basic) => {
                request = request.header(header::AUTHORIZATION, basic(&client.id, secret)?);
            }
            (secret, _) => {
                parameter(&mut body, "client_id", client.id.as_bytes());
                if let Some(secret) = secret {
                    parameter(&mut body, "client_secret", secret.expose());
                }
            }
        }
        let body = Full::new(sealed(body));
        request.body(body).map_err(|error| SourceError::caused("can't ask for a token", error))
    }

    /// Takes what the server gave. A new refresh token is on disk before the token is used: the old
    /// one may be worth nothing by now.
    async fn take(&self, sent: Option<&Secret>, tokens: Tokens) -> Result<Delivery, SourceError> {
        let Tokens { access, refresh, lifetime, told } = tokens;
        if let (Grant::RefreshToken(keep), Some(sent), Some(new)) =
            (&self.client.grant, sent, refresh)
            && !sent.is(new.expose())
            && let Err(error) = keep.keep(new).await
        {
            // It works until the daemon ends, so that is better than to stop here.
            tracing::error!(error = %error.chain(), "can't keep a refresh token");
        }
        Ok(Delivery { value: Value::Text(access), lifetime: Some(lifetime), told })
    }

    /// Bytes of the body at the most, each character escaped.
    fn most_bytes(&self, refresh: Option<&Secret>) -> usize {
        const NAMES: usize = 128; // of the parameters that are always the same
        let of = |secret: Option<&Secret>| secret.map_or(0, |secret| secret.expose().len());
        let named = self.client.parameters.iter().map(|(name, value)| name.len() + value.len() + 2);
        let text = self.client.id.len() + of(self.client.secret.as_ref()) + of(refresh);
        NAMES + 3 * (text + named.sum::<usize>())
    }
}

impl Source for OAuth {
    fn fetch(&self, _: Why) -> Pending<'_, Result<Delivery, SourceError>> {
        match &self.asking.client.grant {
            Grant::ClientCredentials => Box::pin(self.asking.ask()),
            Grant::RefreshToken(keep) => Box::pin(self.refresh(keep)),
        }
    }
}

impl fmt::Display for InvalidEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token endpoint is a URL with https, without a user and a fragment")
    }
}

impl std::error::Error for InvalidEndpoint {}

fn parameter(body: &mut Vec<u8>, name: &str, value: &[u8]) {
    body.push(b'&');
    encode(name.as_bytes(), body);
    body.push(b'=');
    encode(value, body);
}

/// Name and secret, each form-encoded first (RFC 6749 §2.3.1).
fn basic(id: &str, secret: &Secret) -> Result<HeaderValue, SourceError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(3 * (id.len() + secret.expose().len()) + 1));
    encode(id.as_bytes(), &mut plain);
    plain.push(b':');
    encode(secret.expose(), &mut plain);
    let scheme = b"Basic ";
    let mut text = Zeroizing::new(vec![0; scheme.len() + plain.len().div_ceil(3) * 4]);
    let (start, encoded) = text.split_at_mut(scheme.len());
    start.copy_from_slice(scheme);
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        SourceError::caused("can't say who the client is", error)
    };
    STANDARD.encode_slice(&*plain, encoded).map_err(|error| failed(error.into()))?;
    let mut value =
        HeaderValue::from_maybe_shared(sealed(text)).map_err(|error| failed(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}
