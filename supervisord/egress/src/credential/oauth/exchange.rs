//! One request and its response over a connection of their own.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

use super::super::source::SourceError;
use super::Connection;

/// Bytes of a response's head at the most.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes of its body. A response holds two tokens and an identity, a few kilobytes each.
const MAX_BODY: usize = 64 * 1024;

/// Sends a request and reads the whole response.
///
/// # Errors
/// The connection breaks, or the response is longer than it may be. The error says nothing of it.
pub async fn exchange(
    connection: Box<dyn Connection>,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Zeroizing<Vec<u8>>), SourceError> {
    let failed = |error: hyper::Error| SourceError::caused("asking the token endpoint", error);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    let handshake = builder.handshake(TokioIo::new(connection)).await;
    let (mut sender, driver) = handshake.map_err(failed)?;
    let mut driver = Box::pin(driver);
    let mut answer = std::pin::pin!(async move {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status();
        // All at once, so that growing leaves no copy of a token behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BODY));
        let mut body = response.into_body();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(failed)?.into_data() else { continue };
            if data.len() > MAX_BODY - bytes.len() {
                return Err(SourceError::new(format!(
                    "the token endpoint's response is longer than {MAX_BODY} bytes"
                )));
            }
            bytes.extend_from_slice(&data);
        }
        Ok((status, bytes))
    });
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        ended = &mut driver => {
            drop(driver); // nothing more comes
            // An answer is whole by its length, however the connection ended after it: many servers close without
            // TLS's own end. One without a length is whole by that end only.
            match (answer.await, ended) {
                (Err(_), Err(error)) => Err(failed(error)),
                (answer, _) => answer,
            }
        }
    }
}
