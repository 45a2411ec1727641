//! Request bodies: their type and length are looked at first, then memory is reserved, then they
//! are read, so that a refused body costs nothing and all bodies together cost no more than their
//! bound.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use supervisor_api::{ApiError, ErrorCode};
use tokio::time::timeout;

use super::bounds::{MAX_BODY, MAX_UPLOAD, SMALL_BODY};
use super::{answer, head};
use crate::pool::{Pool, Share};
use crate::supervisor::Caller;

/// A body in memory, and what is reserved for it.
#[derive(Debug)]
pub struct Received {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// To be held for as long as the bytes or what was made of them are.
    pub share: Option<Share>,
}

/// Reads the JSON body of a request within `deadline`.
///
/// # Errors
///
/// [`ErrorCode::UnsupportedMediaType`], [`ErrorCode::LengthRequired`], [`ErrorCode::TooLarge`] and
/// [`ErrorCode::Busy`] before a byte is read; [`ErrorCode::RequestTimeout`] and
/// [`ErrorCode::InvalidArgument`] for a body that comes too slowly or not in full.
pub async fn receive(
    request: Request<Body>,
    caller: &Caller,
    bodies: &Arc<Pool>,
    deadline: Duration,
) -> Result<Received, ApiError> {
    check_type(request.headers())?;
    receive_bytes(request, caller, bodies, deadline, MAX_BODY).await
}

/// Reads a body of at most so many bytes, whatever they are, within `deadline`.
///
/// # Errors
///
/// As [`receive`], but for the type.
pub async fn receive_bytes(
    request: Request<Body>,
    caller: &Caller,
    bodies: &Arc<Pool>,
    deadline: Duration,
    most: u64,
) -> Result<Received, ApiError> {
    let length = declared(request.headers(), most)?.ok_or_else(head::length_required)?;
    let share = reserve(caller, bodies, length)?;
    let collected = timeout(deadline, collect(request.into_body(), length)).await;
    let bytes = collected.map_err(|_| {
        ApiError::new(ErrorCode::RequestTimeout, "the request body did not arrive in time")
    })??;
    Ok(Received { bytes, share })
}

/// Refuses a body where the operation has none.
///
/// # Errors
///
/// [`ErrorCode::InvalidArgument`] when there is one.
pub fn expect_none(fields: &HeaderMap) -> Result<(), ApiError> {
    match declared_length(fields)? {
        None | Some(0) => Ok(()),
        Some(_) => {
            Err(ApiError::new(ErrorCode::InvalidArgument, "this operation takes no request body"))
        }
    }
}

/// Whether bytes of a body may be under way.
pub fn has_body(fields: &HeaderMap) -> bool {
    !matches!(declared_length(fields), Ok(None | Some(0)))
}

/// The length of a body that is passed on as it arrives.
///
/// # Errors
///
/// [`ErrorCode::LengthRequired`] where the head gives none.
pub fn declared_upload(fields: &HeaderMap) -> Result<u64, ApiError> {
    declared(fields, MAX_UPLOAD)?.ok_or_else(head::length_required)
}

/// The length given in the head, in bytes. The wire has looked at it before; this is not taken on
/// trust because everything behind allocates by it.
fn declared_length(fields: &HeaderMap) -> Result<Option<u64>, ApiError> {
    declared(fields, MAX_BODY)
}

fn declared(fields: &HeaderMap, most: u64) -> Result<Option<u64>, ApiError> {
    if fields.contains_key(header::TRANSFER_ENCODING) {
        return Err(head::length_required());
    }
    let mut values = fields.get_all(header::CONTENT_LENGTH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            let length = head::parse_length(value.as_bytes())?;
            if length > most { Err(head::too_large()) } else { Ok(Some(length)) }
        }
        (Some(_), Some(_)) => Err(head::length_required()),
    }
}

fn check_type(fields: &HeaderMap) -> Result<(), ApiError> {
    let media_type = fields.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(answer::JSON) {
        return Ok(());
    }
    Err(ApiError::new(ErrorCode::UnsupportedMediaType, "the request body is not declared as JSON")
        .with_hint(format!("send Content-Type: {}", answer::JSON)))
}

fn reserve(caller: &Caller, bodies: &Arc<Pool>, length: u64) -> Result<Option<Share>, ApiError> {
    if length <= SMALL_BODY {
        return Ok(None);
    }
    let share = bodies.take(caller, length).ok_or_else(|| {
        ApiError::new(ErrorCode::Busy, "too many large request bodies are being read")
            .with_hint("try again in a second")
    })?;
    Ok(Some(share))
}

async fn collect(mut body: Body, length: u64) -> Result<Vec<u8>, ApiError> {
    let cut_off = || ApiError::new(ErrorCode::InvalidArgument, "the request ended within its body");
    let length = usize::try_from(length).map_err(|_| head::too_large())?;
    let mut bytes = Vec::with_capacity(length);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            tracing::debug!(%error, "a request body ended early");
            cut_off()
        })?;
        if let Some(data) = frame.data_ref() {
            if data.len() > length - bytes.len() {
                return Err(head::too_large());
            }
            bytes.extend_from_slice(data);
        }
    }
    if bytes.len() == length { Ok(bytes) } else { Err(cut_off()) }
}
