//! Requests: their fields, their queries and their bodies, each within its bound.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Bytes;

use super::body::Body;
use hyper::{HeaderMap, Uri, header};
use serde::de::DeserializeOwned;
use tokio::time;

use super::answer::{Kind, Refusal};
use super::connect;

/// How long a body, or the next piece of one, may take to arrive.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The account of a sandbox, by the name that E2B has for it.
const USER: &str = "user";

/// The value of a header.
pub fn field<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The parameters of a query; of one that is given twice, the last.
pub fn query(uri: &Uri) -> BTreeMap<String, String> {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// The whole body.
pub async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let read = Limited::new(body, connect::MESSAGE_MAX).collect();
    let late = |_| Refusal::invalid(format!("the body did not come within {PATIENCE:?}"));
    let read = time::timeout(PATIENCE, read).await.map_err(late)?;
    let whole =
        read.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
            Some(_) => {
                let words = format!("a request has {} bytes at the most", connect::MESSAGE_MAX);
                Refusal::new(Kind::TooLarge, words)
            }
            None => Refusal::invalid(format!("the body broke off: {error}")),
        })?;
    Ok(whole.to_bytes())
}

/// The whole body as JSON.
pub async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    connect::read(&whole(body).await?)
}

/// The only message of a stream.
pub async fn only_message<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let mut messages = connect::Messages::default();
    messages.push(&whole(body).await?);
    messages.next()?.ok_or_else(|| Refusal::invalid("the message is cut off"))
}

/// Refuses what isn't JSON.
pub fn check_type(headers: &HeaderMap, expected: &'static str) -> Result<(), Refusal> {
    let given = field(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(Refusal::new(Kind::MediaType, format!("send {expected}, not {given:?}")))
}

/// Milliseconds that a call may take, where its client says so.
pub fn deadline(headers: &HeaderMap) -> Option<u64> {
    field(headers, "connect-timeout-ms")?.parse().ok().filter(|milliseconds| *milliseconds > 0)
}

/// Refuses every account but the one that there is. Clients name it in a query, or as user of Basic.
pub fn check_user(headers: &HeaderMap, query: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let basic = field(headers, header::AUTHORIZATION.as_str())
        .and_then(|value| value.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
        .map(|bytes| {
            String::from_utf8_lossy(&bytes).split(':').next().unwrap_or_default().to_owned()
        });
    for name in [basic.as_ref(), query.get("username")].into_iter().flatten() {
        if name != USER && !name.is_empty() {
            return Err(Refusal::invalid(format!(
                "there is no {name:?} in a sandbox: everything runs as {USER:?}, which is no root"
            )));
        }
    }
    Ok(())
}
