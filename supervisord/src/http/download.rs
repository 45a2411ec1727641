//! The bytes of one artifact. They were made by somebody hostile: they go out as an attachment with
//! a harmless name, and with no media type that a browser would run.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use supervisor_api::{ApiError, Artifact, ErrorCode};
use tokio::task::spawn_blocking;

use super::answer::{Answer, Problem, with_type};
use super::bounds::READ_SIZE;
use super::range::Extent;
use super::streaming::{unfold, until};
use crate::session::OpenFile;

/// Media type of bytes that nobody should interpret.
pub const BYTES: &str = "application/octet-stream";

/// Characters of a file name that is suggested to a client; most file systems end at 255.
const MAX_NAME: usize = 100;

/// Media types that are passed on, and how: none of them can carry a program.
const SAFE_TYPES: &[(&str, &str)] = &[
    ("application/json", "application/json"),
    ("image/png", "image/png"),
    ("text/csv", "text/csv; charset=utf-8"),
    ("text/plain", "text/plain; charset=utf-8"),
];

/// Where reading is in a file.
struct Reading {
    file: Arc<OpenFile>,
    offset: u64,
    left: u64,
}

/// The artifact, or the part of it that the request asks for.
///
/// # Errors
///
/// [`ErrorCode::Internal`] when the artifact's digest is none.
pub fn answer(artifact: &Artifact, file: OpenFile, request: &HeaderMap) -> Result<Answer, Problem> {
    let tag = entity_tag(artifact)?;
    let Some(part) = Part::of(extent(request, Some(&tag), artifact.size), artifact.size) else {
        return unsatisfiable(artifact.size);
    };
    let reading = Reading { file: Arc::new(file), offset: part.offset, left: part.length };
    let body = unfold(reading, read);
    let mut response = part.answer(&artifact.path, safe_type(&artifact.media_type), body)?;
    response.headers_mut().insert(header::ETAG, tag);
    Ok(response)
}

/// A file of a workspace as it is now, or the part of it that the request asks for. It may change while it is
/// read and between two parts, so there is no tag. It breaks off when the session is being closed, which waits
/// for that.
///
/// # Errors
///
/// [`ErrorCode::Internal`] when its size can't be told.
pub fn file(path: &str, file: OpenFile, request: &HeaderMap) -> Result<Answer, Problem> {
    let size = file.file().metadata().map(|metadata| metadata.len()).map_err(|error| {
        tracing::error!(%error, "a file that was just opened can't be looked at");
        Problem(ApiError::new(ErrorCode::Internal, "the file can't be read"))
    })?;
    let Some(part) = Part::of(extent(request, None, size), size) else {
        return unsatisfiable(size);
    };
    let closing = file.closing();
    let reading = Reading { file: Arc::new(file), offset: part.offset, left: part.length };
    part.answer(path, BYTES, until(unfold(reading, read), closing))
}

/// What goes out of so many bytes.
struct Part {
    offset: u64,
    length: u64,
    /// What of which it is, where it isn't all.
    content_range: Option<String>,
}

impl Part {
    fn of(extent: Extent, size: u64) -> Option<Self> {
        match extent {
            Extent::Whole => Some(Self { offset: 0, length: size, content_range: None }),
            Extent::Part { first, last } => {
                let content_range = Some(format!("bytes {first}-{last}/{size}"));
                Some(Self { offset: first, length: last - first + 1, content_range })
            }
            Extent::Unsatisfiable => None,
        }
    }

    fn answer(self, path: &str, media_type: &'static str, body: Body) -> Result<Answer, Problem> {
        let status = match self.content_range {
            None => StatusCode::OK,
            Some(_) => StatusCode::PARTIAL_CONTENT,
        };
        let mut response = with_type(status, media_type, body);
        let fields = response.headers_mut();
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(self.length));
        fields.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let name = safe_name(path);
        insert(fields, header::CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))?;
        if let Some(range) = &self.content_range {
            insert(fields, header::CONTENT_RANGE, range)?;
        }
        Ok(response)
    }
}

/// The first bytes of a file, as the body of a request.
pub fn bytes_of(file: OpenFile, length: u64) -> Body {
    unfold(Reading { file: Arc::new(file), offset: 0, left: length }, read)
}

/// The digest names the bytes, so it is a strong tag (RFC 9110 §8.8.3).
fn entity_tag(artifact: &Artifact) -> Result<HeaderValue, Problem> {
    if artifact.sha256.len() != 64 || !artifact.sha256.bytes().all(|byte| byte.is_ascii_hexdigit())
    {
        tracing::error!(path = %artifact.path, "an artifact's digest is not a digest");
        return Err(Problem(ApiError::new(ErrorCode::Internal, "the artifact's digest is lost")));
    }
    value(&format!("\"sha256:{}\"", artifact.sha256))
}

/// A range is served only of the very bytes that the client has the beginning of, where it says which.
fn extent(request: &HeaderMap, tag: Option<&HeaderValue>, size: u64) -> Extent {
    let mut ranges = request.get_all(header::RANGE).iter();
    let (Some(range), None) = (ranges.next(), ranges.next()) else {
        return Extent::Whole;
    };
    if request.get(header::IF_RANGE).is_some_and(|known| Some(known) != tag) {
        return Extent::Whole;
    }
    range.to_str().map_or(Extent::Whole, |range| Extent::of(range, size))
}

fn unsatisfiable(size: u64) -> Result<Answer, Problem> {
    let error = ApiError::new(ErrorCode::RangeNotSatisfiable, "the range begins past the end")
        .with_hint(format!("there are {size} bytes"));
    let mut response = Problem(error).into_response();
    insert(response.headers_mut(), header::CONTENT_RANGE, &format!("bytes */{size}"))?;
    Ok(response.into())
}

fn safe_type(media_type: &str) -> &'static str {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let safe = SAFE_TYPES.iter().find(|(name, _)| essence.eq_ignore_ascii_case(name));
    safe.map_or(BYTES, |(_, sent)| sent)
}

/// The last component of a path, of characters that mean nothing to a shell, a terminal, a header
/// or a file system (RFC 6266 §4.3).
fn safe_name(path: &str) -> String {
    let last = path.rsplit('/').next().unwrap_or_default();
    let kept = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = last.chars().take(MAX_NAME).map(kept).collect();
    // No hidden file, no `..`, no option of a program.
    match name.trim_start_matches(['.', '-']) {
        "" => "artifact".to_owned(),
        name => name.to_owned(),
    }
}

async fn read(reading: Reading) -> io::Result<Option<(Bytes, Reading)>> {
    if reading.left == 0 {
        return Ok(None);
    }
    let Reading { file, offset, left } = reading;
    let size = usize::try_from(left).unwrap_or(READ_SIZE).min(READ_SIZE);
    let open = file.clone();
    let piece = spawn_blocking(move || read_at(open.file(), offset, size)).await??;
    let count = u64::try_from(piece.len()).unwrap_or(left);
    Ok(Some((Bytes::from(piece), Reading { file, offset: offset + count, left: left - count })))
}

fn read_at(file: &File, offset: u64, size: usize) -> io::Result<Vec<u8>> {
    let mut piece = vec![0u8; size];
    // An artifact never changes, so a file that is too short is a broken one.
    file.read_exact_at(&mut piece, offset)?;
    Ok(piece)
}

fn insert(fields: &mut HeaderMap, name: HeaderName, text: &str) -> Result<(), Problem> {
    fields.insert(name, value(text)?);
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, Problem> {
    HeaderValue::from_str(text).map_err(|_| {
        Problem(ApiError::new(ErrorCode::Internal, "a header field could not be written"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_harmless_media_types_are_passed_on() {
        for (given, sent) in [
            ("image/png", "image/png"),
            ("text/plain", "text/plain; charset=utf-8"),
            ("Text/Plain; charset=x", "text/plain; charset=utf-8"),
            ("image/svg+xml", BYTES),
            ("text/html", BYTES),
            ("application/javascript", BYTES),
            ("", BYTES),
            ("image/png\r\nX: y", BYTES),
        ] {
            assert_eq!(safe_type(given), sent, "{given}");
        }
    }

    #[test]
    fn a_suggested_name_is_harmless() {
        for (path, name) in [
            ("out/plot.png", "plot.png"),
            ("a b\"c;d\r\n.txt", "a_b_c_d__.txt"),
            ("../..", "artifact"),
            (".bashrc", "bashrc"),
            ("-rf", "rf"),
            ("dir/", "artifact"),
            ("\u{202e}gpj.exe", "_gpj.exe"),
        ] {
            assert_eq!(safe_name(path), name, "{path}");
        }
    }

    proptest! {
        #[test]
        fn every_suggested_name_fits_a_header(path in any::<String>()) {
            let name = safe_name(&path);
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME);
            prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)));
        }
    }
}
