//! One request and its answer: HTTP/1.1 on a connection of its own over the daemon's socket.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use supervisor_api::ApiError;
use tokio::net::UnixStream;
use tokio::time;

use crate::failure::Failure;

/// The largest JSON answer we hold in memory: a page of 200 executions with long arguments fits.
const ANSWER_MAX: usize = 64 << 20;

/// The largest problem document; the daemon's are a few hundred bytes.
const PROBLEM_MAX: usize = 1 << 20;

/// Bytes handed to the socket at once, so that the bar moves.
const PIECE: usize = 64 << 10;

/// Pause before another attempt when the socket's queue of connections is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(20);

/// A request.
#[derive(Debug)]
pub struct Call {
    /// The operation in words that complete "refused to".
    pub operation: String,
    /// Its method.
    pub method: Method,
    /// Its path with the query.
    pub target: String,
    /// What it carries.
    pub body: Payload,
    /// The first and the last byte wanted of what is asked for; all of it if left out.
    pub range: Option<(u64, u64)>,
    /// How long the head of the answer may take.
    pub patience: Duration,
    /// Shows how much of the body is sent.
    pub bar: ProgressBar,
}

/// The body of a request.
#[derive(Debug)]
pub enum Payload {
    /// None.
    Nothing,
    /// A JSON value.
    Json(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A file of this machine, as long as it was when it was opened.
    File {
        /// The file.
        file: File,
        /// Its bytes.
        length: u64,
    },
}

/// A successful answer whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    operation: String,
    body: Incoming,
}

impl Call {
    /// Sends the request and waits for the head of the answer.
    pub async fn send(self, socket: &Path) -> Result<Answer, Failure> {
        let operation = self.operation.clone();
        let (patience, range) = (self.patience, self.range);
        let response = time::timeout(patience, self.exchange(socket)).await.map_err(|_| {
            let words = format!("no answer within {} s", patience.as_secs());
            Failure::broken(&operation)(words)
        })??;
        let success = response.status().is_success();
        let status = response.status();
        let body = response.into_body();
        if success {
            // What begins elsewhere than was asked for would be taken for what was asked for.
            if status != StatusCode::PARTIAL_CONTENT && range.is_some_and(|(first, _)| first > 0) {
                let words = "the whole came where a part was asked for";
                return Err(Failure::misunderstood(&operation)(words));
            }
            return Ok(Answer { operation, body });
        }
        let document = collect(&operation, body, PROBLEM_MAX).await?;
        match serde_json::from_slice::<ApiError>(&document) {
            Ok(error) => Err(Failure::Refused { operation, error: Box::new(error) }),
            Err(_) => {
                let words = format!("HTTP status {status} without a problem document");
                Err(Failure::misunderstood(&operation)(words))
            }
        }
    }

    async fn exchange(self, socket: &Path) -> Result<Response<Incoming>, Failure> {
        let stream = connect(socket).await?;
        let operation = self.operation;
        let broken = |error: hyper::Error| Failure::broken(&operation)(error);
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // What goes wrong on the connection is told by the request or the body that waits for it.
        tokio::spawn(async { connection.await.ok() });
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.target)
            .header(header::HOST, "supervisord");
        if let Some((first, last)) = self.range {
            request = request.header(header::RANGE, format!("bytes={first}-{last}"));
        }
        let has_body = !matches!(self.body, Payload::Nothing);
        request = match &self.body {
            Payload::Nothing => request,
            Payload::Json(_) => request.header(header::CONTENT_TYPE, "application/json"),
            Payload::Bytes(_) | Payload::File { .. } => {
                request.header(header::CONTENT_TYPE, "application/octet-stream")
            }
        };
        let left = match self.body {
            Payload::Nothing => Left::Bytes(Bytes::new()),
            Payload::Json(bytes) | Payload::Bytes(bytes) => Left::Bytes(bytes.into()),
            Payload::File { file, length } => Left::File { file, length },
        };
        // Of a body without bytes hyper would not say that it has none.
        if left.length() == 0 && has_body {
            request = request.header(header::CONTENT_LENGTH, 0);
        }
        let request = request
            .body(Upload { left, bar: self.bar })
            .map_err(Failure::misunderstood(&operation))?;
        sender.send_request(request).await.map_err(broken)
    }
}

impl Answer {
    /// The whole body as JSON of this type.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        let bytes = collect(&self.operation, self.body, ANSWER_MAX).await?;
        serde_json::from_slice(&bytes).map_err(Failure::misunderstood(&self.operation))
    }

    /// The next bytes of the body; `None` once it is complete.
    pub async fn bytes(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(Failure::broken(&self.operation))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// How many bytes the body has, where the answer says so.
    pub fn length(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The operation it answers, in words.
    pub fn operation(&self) -> &str {
        &self.operation
    }
}

/// A request body of known length, sent in pieces.
struct Upload {
    left: Left,
    bar: ProgressBar,
}

enum Left {
    Bytes(Bytes),
    File { file: File, length: u64 },
}

impl Left {
    fn length(&self) -> u64 {
        match self {
            Left::Bytes(bytes) => bytes.len() as u64,
            Left::File { length, .. } => *length,
        }
    }

    /// The next piece. A file is read where it is needed: there is nothing else to do meanwhile.
    fn next(&mut self) -> io::Result<Bytes> {
        match self {
            Left::Bytes(bytes) => Ok(bytes.split_to(bytes.len().min(PIECE))),
            Left::File { file, length } => {
                let size = usize::try_from(*length).unwrap_or(PIECE).min(PIECE);
                let mut piece = vec![0; size];
                file.read_exact(&mut piece)?; // one that has shrunk can't be sent as announced
                *length -= size as u64;
                Ok(piece.into())
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left.length() == 0 {
            return Poll::Ready(None);
        }
        let piece = self.left.next()?;
        self.bar.inc(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.length() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left.length())
    }
}

/// Connects; a full queue is waited for, within the patience of the call.
async fn connect(socket: &Path) -> Result<UnixStream, Failure> {
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                time::sleep(QUEUE_PAUSE).await;
            }
            Err(source) => return Err(Failure::Unreachable { socket: socket.to_owned(), source }),
        }
    }
}

async fn collect(operation: &str, body: Incoming, most: usize) -> Result<Bytes, Failure> {
    let collected = Limited::new(body, most).collect().await;
    collected.map(|whole| whole.to_bytes()).map_err(Failure::broken(operation))
}
