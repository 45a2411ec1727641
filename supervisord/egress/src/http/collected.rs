//! A body that is read whole before it is sent on: in one piece of memory, which has its place among those that
//! a session may have for as long as anybody has any of it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

/// Why a body is not read whole.
#[derive(Debug, PartialEq, Eq)]
pub enum Uncollected {
    /// It is longer than it may be, or did not arrive.
    Broken,
    /// There are fields behind it, for which there is no place then.
    Trailers,
}

/// The bytes of one body.
struct Held<P> {
    bytes: BytesMut,
    _place: P,
}

impl<P> AsRef<[u8]> for Held<P> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body to its end. Whatever its pieces are, it takes no more than twice its bytes.
///
/// # Errors
///
/// When it has more than `most` bytes, breaks off, or has trailers.
pub async fn collect<B, P>(mut body: B, most: usize, place: P) -> Result<Bytes, Uncollected>
where
    B: Body<Data = Bytes> + Unpin,
    P: Send + 'static,
{
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Uncollected::Broken)?;
        if frame.trailers_ref().is_some_and(|trailers| !trailers.is_empty()) {
            return Err(Uncollected::Trailers);
        }
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most.saturating_sub(bytes.len()) {
            return Err(Uncollected::Broken);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Bytes::from_owner(Held { bytes, _place: place }))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{HeaderMap, HeaderValue};
    use http_body_util::Full;

    use super::*;
    use crate::shared::Count;

    #[tokio::test]
    async fn a_body_has_its_place_as_long_as_anybody_has_any_of_it() {
        let count = Count::default();
        let body = || Full::new(Bytes::from_static(b"body"));
        let bytes = collect(body(), 4, count.one_more(1).unwrap()).await.unwrap();
        assert_eq!(bytes, "body");
        let part = bytes.slice(1..2);
        drop(bytes);
        assert!(count.one_more(1).is_none());
        drop(part);
        assert!(collect(body(), 3, count.one_more(1).unwrap()).await.is_err());
        assert_eq!(count.now(), 0);
    }

    #[tokio::test]
    async fn what_stands_behind_a_body_is_not_left_out_without_a_word() {
        for (value, is_none) in [("7", false), ("", true)] {
            let mut fields = HeaderMap::new();
            if !is_none {
                fields.insert("x-sum", HeaderValue::from_static(value));
            }
            let trailers = async { Some(Ok::<_, Infallible>(fields)) };
            let body = Full::new(Bytes::from_static(b"body")).with_trailers(trailers);
            let collected = collect(Box::pin(body), 4, ()).await;
            assert_eq!(collected.err(), (!is_none).then_some(Uncollected::Trailers));
        }
    }
}
