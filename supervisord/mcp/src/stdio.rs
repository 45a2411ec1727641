//! The server on standard input and output, one message a line.
//!
//! ```text
//!   input ── line by line, bounded, JSON ──▶ server ── line by line ──▶ output
//!                     │ no JSON, too long, too deep            ▲
//!                     └────────────── an error ────────────────┘
//! ```

use std::io;
use std::sync::Arc;

use rmcp::ServiceExt as _;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream,
};
use tokio::sync::Mutex;

use crate::attended::Attended;
use crate::door::Door;
use crate::failure::Failure;
use crate::server::Server;
use crate::{MESSAGE_MAX, message};

/// Bytes between the server and the ends.
const PIPE: usize = 64 << 10;

/// What a line of input is.
enum Line {
    /// A whole line is there.
    Whole,
    /// It was longer than a message may be, and is passed over.
    TooLong,
    /// Nothing comes any more.
    End,
}

/// Serves one client until its input ends or `interrupted` does, then ends what it waited for.
///
/// # Errors
///
/// When the client does not begin as the protocol says, or its output can't be written.
pub async fn serve(
    door: Arc<dyn Door>,
    input: impl AsyncRead + Send + Unpin + 'static,
    output: impl AsyncWrite + Send + Unpin + 'static,
    interrupted: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let server = Server::new(door);
    let attended = server.attended();
    let output = Arc::new(Mutex::new(output));
    let (to_server, from_client) = tokio::io::duplex(PIPE);
    let (to_client, from_server) = tokio::io::duplex(PIPE);
    let reading = tokio::spawn(read(input, to_server, Arc::clone(&output), attended.clone()));
    let serving = async {
        let writing = write(from_server, output);
        let served = async {
            let running = server.serve((from_client, to_client)).await;
            let running = running.map_err(Failure::broken("begin to speak MCP"))?;
            running.waiting().await.map_err(Failure::broken("speak MCP"))
        };
        let (served, written) = tokio::join!(served, writing);
        written.map_err(Failure::broken("write to the client"))?;
        served.map(drop)
    };
    let served = tokio::select! {
        served = serving => served,
        () = interrupted => Ok(()),
    };
    reading.abort();
    attended.end_all().await;
    served
}

/// Passes on the lines that are JSON, and answers the others.
async fn read(
    input: impl AsyncRead + Unpin,
    mut to_server: DuplexStream,
    output: Arc<Mutex<impl AsyncWrite + Unpin>>,
    attended: Attended,
) -> io::Result<()> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        let refused = match next(&mut input, &mut line).await? {
            Line::End => {
                attended.leave_alone();
                return Ok(());
            }
            Line::TooLong => message::too_long(),
            Line::Whole if line.trim_ascii().is_empty() => continue,
            Line::Whole => match message::refusal(&line) {
                None => {
                    to_server.write_all(&line).await?;
                    to_server.write_all(b"\n").await?;
                    continue;
                }
                Some(refused) => refused,
            },
        };
        put(&output, refused.as_bytes()).await?;
    }
}

/// The next line, without its end.
async fn next(input: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut too_long = false;
    loop {
        let available = input.fill_buf().await?;
        if available.is_empty() {
            // What has no end is no line: whoever wrote it was interrupted.
            return Ok(Line::End);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = available.get(..end.unwrap_or(available.len())).unwrap_or_default();
        too_long |= line.len().saturating_add(piece.len()) > MESSAGE_MAX;
        match too_long {
            true => line.clear(),
            false => line.extend_from_slice(piece),
        }
        let taken = piece.len() + usize::from(end.is_some());
        input.consume(taken);
        if end.is_some() {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

/// Writes what the server says, a whole line at a time.
async fn write(
    from_server: DuplexStream,
    output: Arc<Mutex<impl AsyncWrite + Unpin>>,
) -> io::Result<()> {
    let mut from_server = BufReader::new(from_server);
    let mut line = Vec::new();
    while from_server.read_until(b'\n', &mut line).await? > 0 {
        put(&output, &line).await?;
        line.clear();
    }
    Ok(())
}

async fn put(output: &Mutex<impl AsyncWrite + Unpin>, line: &[u8]) -> io::Result<()> {
    let mut output = output.lock().await;
    output.write_all(line).await?;
    output.flush().await
}
