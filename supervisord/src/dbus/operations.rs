//! The interface of operations: a call is made a request of the socket's routes, and the answer one of the bus. What
//! is asked is checked, done and answered there, as for any client of the socket.

use std::fs::File;
use std::os::fd::OwnedFd;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, header};
use http_body_util::BodyExt;
use nix::fcntl::{FcntlArg, fcntl};
use supervisor_api::{ApiError, Operation, RAW_BODY};
use zbus::message::Message;
use zbus::{Fd, OwnedVariant, Structure, Variant};

use crate::dbus::bounds::MAX_ANSWER;
use crate::dbus::call::{Call, Front};
use crate::dbus::failure::Failure;
use crate::dbus::feed;
use crate::dbus::options::Options;
use crate::dbus::standing::{self, Object};
use crate::dbus::table::{self, ANY_SIGNATURE, BY_DESCRIPTOR, Part};
use crate::elsewhere;
use crate::http::bytes_of;
use crate::session::OpenFile;

/// What is asked.
#[derive(Debug)]
struct Asked {
    operation: &'static Operation,
    path: Vec<String>,
    options: Options,
    body: Option<Content>,
}

/// A body that was given.
#[derive(Debug)]
enum Content {
    /// Its bytes.
    Here(Vec<u8>),
    /// A file in memory.
    File(File, u64),
}

/// Does what a call of the interface of operations asks for.
///
/// # Errors
///
/// What the operation refuses with.
pub async fn act(front: &Front, call: &Call, member: &str) -> Result<Message, Failure> {
    let asked = match member {
        BY_DESCRIPTOR => any(call)?,
        _ => one(call, table::operation_of(member).ok_or_else(Failure::unknown_method)?)?,
    };
    let is_text = table::answers_json(asked.operation) && member != BY_DESCRIPTOR;
    // A place for the pipe first: what is done must not be told as refused.
    let share = match is_text {
        true => None,
        false => Some(
            front
                .feeds
                .take(&call.weight(), 1)
                .ok_or_else(|| Failure::busy("too many pipes of output are open"))?,
        ),
    };
    let object = Object {
        operation: asked.operation.id,
        id: asked.path.first().map(String::as_str).unwrap_or_default(),
        all: matches!(asked.options.get("all").map(|value| &**value), Some(Variant::Bool(true))),
    };
    let caller = standing::caller(front, call, object).await?;
    let response = front.routes.ask(request(asked, caller)?).await;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    match share {
        None => call.answer(&(text(response).await?,)),
        Some(share) => {
            let pipe = feed::start(feed::Pieces(response.into_body()), share);
            call.answer(&(Fd::from(pipe.map_err(Failure::internal)?),))
        }
    }
}

/// A call of an operation's own method.
fn one(call: &Call, operation: &'static Operation) -> Result<Asked, Failure> {
    let arguments = table::arguments(operation);
    let expected: String = arguments.iter().map(|(_, signature)| *signature).collect();
    let fields = fields(call, &expected)?;
    let mut asked = Asked { operation, path: Vec::new(), options: Options::new(), body: None };
    for ((part, _), value) in arguments.into_iter().zip(fields) {
        match (part, value) {
            (Part::Path(_), Variant::Str(text)) => asked.path.push(text.to_string()),
            (Part::Path(_), Variant::U64(number)) => asked.path.push(number.to_string()),
            (Part::Options, dictionary) => asked.options = options(dictionary)?,
            (Part::Json, Variant::Str(text)) => {
                asked.body = Some(Content::Here(text.as_bytes().to_vec()));
            }
            (Part::Bytes, Variant::Variant(value)) => asked.body = Some(content(*value)?),
            _ => return Err(Failure::signature(&expected)),
        }
    }
    Ok(asked)
}

/// A call of any operation, by its name.
fn any(call: &Call) -> Result<Asked, Failure> {
    let fields = <[Variant<'static>; 4]>::try_from(fields(call, ANY_SIGNATURE)?);
    let [name, path, given, body] = fields.map_err(|_| Failure::signature(ANY_SIGNATURE))?;
    let name = String::try_from(name).map_err(|_| Failure::signature(ANY_SIGNATURE))?;
    let path = Vec::<String>::try_from(path).map_err(|_| Failure::signature(ANY_SIGNATURE))?;
    let operation = table::operation(&name).ok_or_else(|| {
        ApiError::invalid("operation", "there is no such operation")
            .with_hint("/v1/openapi.json has their names")
    })?;
    let (given_path, expected) = (path.len(), table::in_path(operation).count());
    if given_path != expected {
        let problem = format!("the operation's path has {expected} parameters");
        return Err(ApiError::invalid("path", problem).into());
    }
    let Variant::Variant(body) = body else { return Err(Failure::signature(ANY_SIGNATURE)) };
    let body = match (operation.request, content(*body)?) {
        (None, Content::Here(bytes)) if bytes.is_empty() => None,
        (None, _) => {
            return Err(ApiError::invalid("body", "this operation takes no body").into());
        }
        (Some(_), body) => Some(body),
    };
    Ok(Asked { operation, path, options: options(given)?, body })
}

/// The arguments of a call, if they are of these types.
fn fields(call: &Call, expected: &str) -> Result<Vec<Variant<'static>>, Failure> {
    let body = call.message().body();
    let owned = |value: &Variant<'_>| {
        let owned = value.try_to_owned().map_err(|error| Failure::arguments(&error))?;
        Ok(Variant::from(owned))
    };
    if body.signature().to_string_no_parens() != expected {
        return Err(Failure::signature(expected));
    }
    match expected {
        "" => Ok(Vec::new()),
        "s" => Ok(vec![Variant::from(call.arguments::<(String,)>()?.0)]),
        "a{sv}" => Ok(vec![Variant::from(call.arguments::<(Options,)>()?.0)]),
        _ => {
            let all: Structure<'_> =
                body.deserialize().map_err(|error| Failure::arguments(&error))?;
            all.fields().iter().map(owned).collect()
        }
    }
}

fn options(dictionary: Variant<'static>) -> Result<Options, Failure> {
    let owned = OwnedVariant::try_from(dictionary).map_err(Failure::internal)?;
    Options::try_from(owned).map_err(|_| Failure::signature("a{sv}"))
}

/// Bytes as a text, an array, or a file in memory. Reading any other descriptor could take for ever.
fn content(value: Variant<'static>) -> Result<Content, Failure> {
    let wrong = |problem: &str| {
        Failure::from(
            ApiError::invalid("body", problem)
                .with_hint("it is s, ay, or h: a file in memory, as of memfd_create(2)"),
        )
    };
    match value {
        Variant::Str(text) => Ok(Content::Here(text.as_bytes().to_vec())),
        Variant::Fd(descriptor) => {
            let descriptor = OwnedFd::try_from(descriptor).map_err(Failure::internal)?;
            // Only such files have seals (fcntl(2)).
            fcntl(&descriptor, FcntlArg::F_GET_SEALS)
                .map_err(|_| wrong("the descriptor is of no file in memory"))?;
            let flags = fcntl(&descriptor, FcntlArg::F_GETFL).map_err(Failure::internal)?;
            if flags & nix::libc::O_ACCMODE == nix::libc::O_WRONLY {
                return Err(wrong("the descriptor is not for reading"));
            }
            let file = File::from(descriptor);
            let length = file.metadata().map_err(Failure::internal)?.len();
            Ok(Content::File(file, length))
        }
        other => match Vec::<u8>::try_from(other) {
            Ok(bytes) => Ok(Content::Here(bytes)),
            Err(_) => Err(wrong("the body is of another type")),
        },
    }
}

/// The same request that a client of the socket would send.
fn request(asked: Asked, caller: crate::supervisor::Caller) -> Result<Request<Body>, Failure> {
    let mut target = asked.operation.path.to_owned();
    for (parameter, value) in table::in_path(asked.operation).zip(&asked.path) {
        let (one, many) = (format!("{{{}}}", parameter.name), format!("{{*{}}}", parameter.name));
        target = match target.contains(&many) {
            true => target.replacen(&many, &encoded(value, b"/"), 1),
            false => target.replacen(&one, &encoded(value, b""), 1),
        };
    }
    let mut options: Vec<_> = asked.options.into_iter().collect();
    options.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (index, (name, value)) in options.into_iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        let value = encoded(&word(&name, &value)?, b":,+@/");
        target.push_str(&format!("{}={value}", encoded(&name, b"")));
    }
    let kind = match asked.operation.request {
        Some(RAW_BODY) => "application/octet-stream",
        _ => "application/json",
    };
    let owner = caller.uid;
    let mut request =
        Request::builder().method(asked.operation.method.name()).uri(target).extension(caller);
    let body = match asked.body {
        None => Body::empty(),
        Some(Content::Here(bytes)) => {
            request = request.header(header::CONTENT_LENGTH, bytes.len());
            Body::from(bytes)
        }
        Some(Content::File(file, length)) => {
            elsewhere::admit(owner)?;
            request = request.header(header::CONTENT_LENGTH, length);
            bytes_of(OpenFile::of_uid(owner, file), length)
        }
    };
    if asked.operation.request.is_some() {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    request.body(body).map_err(|_| ApiError::invalid("path", "it is too long").into())
}

/// An option as the query has it.
fn word(name: &str, value: &Variant<'_>) -> Result<String, ApiError> {
    Ok(match value {
        Variant::Str(text) => text.to_string(),
        Variant::Bool(is_so) => is_so.to_string(),
        Variant::U8(number) => number.to_string(),
        Variant::U16(number) => number.to_string(),
        Variant::U32(number) => number.to_string(),
        Variant::U64(number) => number.to_string(),
        Variant::I16(number) => number.to_string(),
        Variant::I32(number) => number.to_string(),
        Variant::I64(number) => number.to_string(),
        _ => {
            let name = crate::http::shorten(name);
            return Err(ApiError::invalid(name, "the option is of another type")
                .with_hint("its type is s, b or a whole number"));
        }
    })
}

/// Text in a URI (RFC 3986 §2.1), with these bytes as they are besides those that are always.
fn encoded(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric()
                || b"-._~".contains(&byte)
                || plain.contains(&byte) =>
            {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// What the routes refuse with.
async fn refusal(response: Response<Body>) -> Failure {
    match whole(response.into_body(), MAX_ANSWER).await {
        Ok(Some(bytes)) => match serde_json::from_slice::<ApiError>(&bytes) {
            Ok(error) => error.into(),
            Err(error) => Failure::internal(error),
        },
        Ok(None) => Failure::internal("a refusal is longer than any"),
        Err(error) => Failure::internal(error),
    }
}

async fn text(response: Response<Body>) -> Result<String, Failure> {
    let bytes = whole(response.into_body(), MAX_ANSWER).await.map_err(Failure::internal)?;
    String::from_utf8(bytes.ok_or_else(Failure::too_large)?).map_err(Failure::internal)
}

/// All of a body, or nothing if it is longer than this.
async fn whole(mut body: Body, most: usize) -> Result<Option<Vec<u8>>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame?;
        let data = frame.data_ref().map(Bytes::as_ref).unwrap_or_default();
        if data.len() > most.saturating_sub(bytes.len()) {
            return Ok(None);
        }
        bytes.extend_from_slice(data);
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_longer_than_a_message_may_be_is_not_kept() {
        let body = |length: usize| Body::from(vec![b'x'; length]);
        let kept = whole(body(10), 10).await.expect("it is in memory");
        assert_eq!(kept.map(|bytes| bytes.len()), Some(10));
        assert_eq!(whole(body(11), 10).await.expect("it is in memory"), None);
    }

    #[test]
    fn what_stands_in_a_path_or_a_query_is_one_component_or_one_value() {
        assert_eq!(encoded("a b/c%\u{e4}", b"/"), "a%20b/c%25%C3%A4");
        assert_eq!(encoded("../x?y&z=1", b""), "..%2Fx%3Fy%26z%3D1");
        assert_eq!(encoded("2026-01-01T00:00:00+01:00", b":,+@/"), "2026-01-01T00:00:00+01:00");
    }
}
