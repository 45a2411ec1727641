//! Our own standard output and error as the place where a payload's bytes go. On a terminal they
//! are made harmless first; into a file or pipe they pass unchanged.

use std::io::{self, IsTerminal};

use supervisor_api::{OutputChunk, Stream};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::failure::Failure;
use crate::terminal::Neutraliser;

/// Both of them.
pub struct Streams {
    stdout: Channel,
    stderr: Channel,
    cursor_in_line: bool,
}

/// One of them.
struct Channel {
    writer: Box<dyn AsyncWrite + Unpin>,
    is_terminal: bool,
    neutraliser: Option<Neutraliser>,
}

impl Streams {
    /// This process's own; with `raw` a terminal gets the payload's bytes as they are.
    pub fn new(raw: bool) -> Self {
        let stdout = Channel::new(tokio::io::stdout(), io::stdout().is_terminal(), raw);
        let stderr = Channel::new(tokio::io::stderr(), io::stderr().is_terminal(), raw);
        Self { stdout, stderr, cursor_in_line: false }
    }

    /// Writes a chunk to where it belongs; it is on its way when this returns.
    pub async fn write(&mut self, chunk: &OutputChunk) -> Result<(), Failure> {
        let channel = match chunk.stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        channel.write(&chunk.data.0).await.map_err(Failure::writing)?;
        if channel.is_terminal {
            self.cursor_in_line = chunk.data.0.last() != Some(&b'\n');
        }
        Ok(())
    }

    /// Writes what is held back, and ends a line on which the payload left the cursor.
    pub async fn end(&mut self) -> Result<(), Failure> {
        self.stdout.end().await.map_err(Failure::writing)?;
        self.stderr.end().await.map_err(Failure::writing)?;
        if self.cursor_in_line && self.stderr.is_terminal {
            self.cursor_in_line = false;
            self.stderr.write(b"\n").await.map_err(Failure::writing)?;
        }
        Ok(())
    }
}

impl Channel {
    fn new(writer: impl AsyncWrite + Unpin + 'static, is_terminal: bool, raw: bool) -> Self {
        let neutraliser = (is_terminal && !raw).then(Neutraliser::default);
        Self { writer: Box::new(writer), is_terminal, neutraliser }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.neutraliser {
            Some(neutraliser) => {
                let text = neutraliser.piece(bytes);
                self.writer.write_all(text.as_bytes()).await?;
            }
            None => self.writer.write_all(bytes).await?,
        }
        self.writer.flush().await
    }

    async fn end(&mut self) -> io::Result<()> {
        let rest = self.neutraliser.as_mut().map(Neutraliser::end).unwrap_or_default();
        self.writer.write_all(rest.as_bytes()).await?;
        self.writer.flush().await
    }
}
