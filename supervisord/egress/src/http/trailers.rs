//! Fields behind a request's body (RFC 9110 §6.5). They go on as they came where the framing has a place for
//! them; a request whose trailers can't go on is refused, because what it says would be another thing without.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue, TRAILER, TRANSFER_ENCODING};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::body::Failure;
use super::fields;
use crate::refused::Refused;
use crate::upstream::OutgoingBody;

/// A body for HTTP/1.1, which has trailers only behind chunks, and only those that the head announces.
struct Announced {
    inner: OutgoingBody,
    /// The names that the head announces; none where the body is not in chunks.
    names: Vec<HeaderName>,
    /// Bytes that are still to come, where the head says how many there are.
    left: Option<u64>,
    /// The last of those. The request is whole once they are sent, so they wait for the trailers.
    last: Option<Bytes>,
}

/// Whether these fields may stand behind a request's body.
///
/// # Errors
///
/// The first that may not.
pub fn check(trailers: &HeaderMap) -> Result<(), Refused> {
    match trailers.keys().find(|name| fields::is_head_only(name)) {
        Some(name) => Err(not_allowed(name)),
        None => Ok(()),
    }
}

/// Frames a request's body for HTTP/1.1: in chunks where its length is not known or trailers are announced behind
/// it. Without being told, the client's side of HTTP would leave out the body of a GET that has no length.
pub fn frame(request: Request<OutgoingBody>) -> Request<OutgoingBody> {
    let (mut head, body) = request.into_parts();
    let length = body.size_hint().exact();
    let has_trailers = head.version == Version::HTTP_2 || length.is_none();
    if body.is_end_stream() || !has_trailers {
        return Request::from_parts(head, body);
    }
    let names = announced(&head.headers);
    if length.is_none() || !names.is_empty() {
        head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let left = length.filter(|_| names.is_empty());
    let body = Announced { inner: body, names, left, last: None };
    Request::from_parts(head, body.boxed_unsync())
}

/// The refusal that a body has ended with, where that is why a request was not sent.
pub fn refusal(error: &hyper::Error) -> Option<Refused> {
    error.source()?.downcast_ref::<Refused>().cloned()
}

/// The refusal of trailers behind a body that is read whole before it is sent.
pub fn held() -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "trailers_not_forwarded",
        "the request has trailers, and its body is read whole before it is sent, which leaves no place for them",
        "Send those fields in the head, or the request without them.",
    )
}

fn announced(fields: &HeaderMap) -> Vec<HeaderName> {
    let lists = fields.get_all(TRAILER).iter().map(HeaderValue::as_bytes);
    let names = lists.flat_map(|list| list.split(|byte| *byte == b','));
    names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect()
}

fn not_allowed(name: &HeaderName) -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "trailer_not_allowed",
        format!("the request has {name} behind its body, where that field has no meaning"),
        "Send that field in the head, or not at all.",
    )
}

fn not_announced(name: &HeaderName) -> Refused {
    Refused::new(
        StatusCode::BAD_REQUEST,
        "http_request_error",
        "trailers_not_forwarded",
        format!(
            "the request has {name} behind its body and doesn't announce it, and the upstream speaks HTTP/1.1"
        ),
        "Name it in a Trailer field of the head, or send it in the head.",
    )
}

impl Announced {
    fn check(&self, trailers: &HeaderMap) -> Result<(), Refused> {
        match trailers.keys().find(|name| !self.names.contains(name)) {
            Some(name) => Err(not_announced(name)),
            None => Ok(()),
        }
    }

    /// Whether these are the last bytes, and what comes next is not known yet.
    fn is_last(&mut self, data: &Bytes) -> bool {
        let Some(left) = &mut self.left else { return false };
        *left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
        *left == 0 && !self.inner.is_end_stream()
    }
}

impl Body for Announced {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        loop {
            let frame = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(failure)) => return Poll::Ready(Some(Err(failure))),
                None => return Poll::Ready(this.last.take().map(|data| Ok(Frame::data(data)))),
            };
            if let Some(trailers) = frame.trailers_ref() {
                return Poll::Ready(match this.check(trailers) {
                    Err(refused) => Some(Err(refused.into())),
                    // There are none in it.
                    Ok(()) if this.last.is_some() => {
                        this.last.take().map(|data| Ok(Frame::data(data)))
                    }
                    Ok(()) => Some(Ok(frame)),
                });
            }
            let Ok(data) = frame.into_data() else { continue };
            if this.last.is_none() {
                if !this.is_last(&data) {
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                this.last = Some(data);
            } else if !data.is_empty() {
                // Behind the last bytes there is only what says that they were.
                return Poll::Ready(Some(Err("the body is longer than it was to be".into())));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.last.as_ref().map_or(0, Bytes::len)).unwrap_or(0);
        let inner = self.inner.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(held));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(held));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A body of these frames, which announces its length or doesn't.
    struct Given(VecDeque<Frame<Bytes>>, Option<u64>);

    impl Body for Given {
        type Data = Bytes;
        type Error = Failure;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.1.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn fields(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// A request with `body` in two pieces and a trailer behind it, as it is framed.
    fn framed(
        version: Version,
        length: Option<u64>,
        announces: &'static str,
    ) -> Request<OutgoingBody> {
        let pieces =
            ["bo", "dy", ""].map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
        let trailers = Frame::trailers(fields(&[("x-sum", "7")]));
        let body = Given(pieces.into_iter().chain([trailers]).collect(), length);
        let mut request = Request::new(body.boxed_unsync());
        *request.version_mut() = version;
        request.headers_mut().insert(TRAILER, HeaderValue::from_static(announces));
        frame(request)
    }

    async fn sent(request: Request<OutgoingBody>) -> (bool, Result<(Bytes, bool), String>) {
        let in_chunks = request.headers().contains_key(TRANSFER_ENCODING);
        let collected = request.into_body().collect().await;
        let whole = collected.map(|all| (all.trailers().is_some(), all.to_bytes()));
        (in_chunks, whole.map(|(has, bytes)| (bytes, has)).map_err(|failure| failure.to_string()))
    }

    #[tokio::test]
    async fn trailers_go_on_that_are_announced_and_in_chunks() {
        for (version, length) in
            [(Version::HTTP_11, None), (Version::HTTP_2, None), (Version::HTTP_2, Some(4))]
        {
            let (in_chunks, whole) = sent(framed(version, length, "x-other, X-Sum")).await;
            assert!(in_chunks, "{version:?} {length:?}");
            assert_eq!(whole, Ok((Bytes::from_static(b"body"), true)));
        }
    }

    #[tokio::test]
    async fn trailers_that_have_no_place_end_the_request_before_it_is_whole() {
        for (version, length, announces) in [
            (Version::HTTP_11, None, "x-other"),
            (Version::HTTP_2, None, ""),
            (Version::HTTP_2, Some(4), ""),
        ] {
            let mut body = framed(version, length, announces).into_body();
            let mut sent = 0;
            let refusal = loop {
                match body.frame().await.expect("it is refused") {
                    Ok(frame) => sent += frame.into_data().expect("only data").len(),
                    Err(failure) => break failure.downcast::<Refused>().expect("a refusal"),
                }
            };
            assert_eq!(refusal.code, "trailers_not_forwarded");
            assert!(length.is_none_or(|length| sent < usize::try_from(length).unwrap()));
        }
    }

    #[tokio::test]
    async fn a_body_without_trailers_comes_through_whole() {
        for length in [None, Some(4)] {
            let frames =
                ["bo", "dy", ""].map(|piece| Frame::data(Bytes::from_static(piece.as_bytes())));
            let body = Given(frames.into_iter().collect(), length);
            let mut request = Request::new(body.boxed_unsync());
            *request.version_mut() = Version::HTTP_2;
            let (in_chunks, whole) = sent(frame(request)).await;
            assert_eq!(in_chunks, length.is_none());
            assert_eq!(whole, Ok((Bytes::from_static(b"body"), false)));
        }
    }

    #[test]
    fn what_was_judged_in_the_head_is_not_said_behind_the_body() {
        for name in ["authorization", "content-length", "te", "x-http-method-override", "x-real-ip"]
        {
            let refused = check(&fields(&[("x-sum", "7"), (name, "1")])).unwrap_err();
            assert_eq!(refused.code, "trailer_not_allowed");
            assert!(refused.cause.contains(name), "{refused}");
        }
        assert_eq!(check(&fields(&[("x-sum", "7")])), Ok(()));
    }
}
