//! What the capture promises, on real pipes and files.

mod crash;
mod flood;
mod hostile;
mod resume;

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write as _, pipe};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use supervisor_api::{Digest32, OutputSummary, Stream, StreamSummary};
use tempfile::TempDir;

use crate::capture::{Capture, CaptureReader, MakeDirectory};
use crate::digests::digest;

/// The streams of an execution whose payload is the test.
struct Payload {
    stdout: Option<PipeWriter>,
    stderr: Option<PipeWriter>,
}

impl Payload {
    fn start() -> (Self, [PipeReader; 2]) {
        let ((stdout_end, stdout), (stderr_end, stderr)) = (pipe().unwrap(), pipe().unwrap());
        (Self { stdout: Some(stdout), stderr: Some(stderr) }, [stdout_end, stderr_end])
    }

    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let pipe = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        pipe.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Writes, and waits until the bytes have been seen, so that their place is known.
    async fn say(&mut self, capture: &Capture, stream: Stream, bytes: &[u8]) {
        let mut progress = capture.progress.subscribe();
        let seen = |progress: &crate::capture::Progress| {
            progress.kept.get(stream) + progress.cut.get(stream)
        };
        let before = seen(&progress.borrow_and_update());
        self.write(stream, bytes);
        let after = before + bytes.len() as u64;
        progress.wait_for(|progress| seen(progress) == after).await.unwrap();
    }
}

fn open(directory: &Path) -> OwnedFd {
    File::open(directory).unwrap().into()
}

/// The directory of an execution, which is opened with the first byte.
fn made(directory: &Path) -> MakeDirectory {
    let directory = directory.to_owned();
    Box::new(move || Ok(File::open(&directory)?.into()))
}

/// Starts to pump; the task ends with the streams.
fn start(
    capture: &Arc<Capture>,
    [stdout, stderr]: [PipeReader; 2],
) -> tokio::task::JoinHandle<std::io::Result<()>> {
    let capture = Arc::clone(capture);
    tokio::spawn(async move { capture.pump(stdout.into(), Some(stderr.into())).await })
}

fn summary(stdout: (u64, u64), stderr: (u64, u64)) -> OutputSummary {
    let of = |(kept, cut)| StreamSummary { kept, cut, sha256: None };
    OutputSummary { stdout: of(stdout), stderr: of(stderr), order_sha256: None }
}

/// What is left to read, with every byte's stream; checks that offsets go on without a gap.
async fn rest(reader: &mut CaptureReader, mut offset: u64) -> Vec<(Stream, u8)> {
    let mut read = Vec::new();
    while let Some(chunk) = reader.next().await.unwrap() {
        assert_eq!(chunk.offset, offset);
        assert!(!chunk.data.0.is_empty() && chunk.data.0.len() <= 64 << 10);
        offset += chunk.data.0.len() as u64;
        read.extend(chunk.data.0.into_iter().map(|byte| (chunk.stream, byte)));
    }
    read
}

async fn read_all(capture: &Arc<Capture>, stream: Option<Stream>) -> Vec<(Stream, u8)> {
    rest(&mut capture.reader(stream, 0, false), 0).await
}

fn text(read: &[(Stream, u8)]) -> String {
    String::from_utf8(read.iter().map(|(_, byte)| *byte).collect()).unwrap()
}

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_execution_without_output_leaves_no_file() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 100);
    let (payload, pipes) = Payload::start();
    drop(payload);
    start(&capture, pipes).await.unwrap().unwrap();
    capture.sync().await.unwrap();
    capture.finish();
    assert_eq!(capture.summary(), OutputSummary::default());
    assert_eq!(read_all(&capture, None).await, []);
    assert_eq!(files(directory.path()), [""; 0]);
    let again = Capture::reopen(open(directory.path()), 100).unwrap();
    again.finish();
    assert_eq!(read_all(&again, None).await, []);
    assert_eq!(files(directory.path()), [""; 0]);
}

#[tokio::test]
async fn output_on_one_stream_takes_one_file_that_only_the_daemon_can_read() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 100);
    let (mut payload, pipes) = Payload::start();
    payload.write(Stream::Stdout, b"hello\n");
    drop(payload);
    start(&capture, pipes).await.unwrap().unwrap();
    capture.sync().await.unwrap();
    capture.finish();
    assert_eq!(files(directory.path()), ["stdout"]);
    let mode = directory.path().join("stdout").metadata().unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o7777, 0o600);
    assert_eq!(text(&read_all(&capture, None).await), "hello\n");
    assert_eq!(capture.summary(), summary((6, 0), (0, 0)));
}

#[tokio::test]
async fn the_digest_of_a_stream_is_of_all_that_was_kept_of_it() {
    use sha2::Digest as _;
    let directory = TempDir::new().unwrap();
    let file = std::fs::File::create(directory.path().join("stdout")).unwrap();
    let mut expected = sha2::Sha256::new();
    for number in 0..2500u32 {
        let piece = [number.to_le_bytes(); 1000].concat();
        (&file).write_all(&piece).unwrap();
        expected.update(&piece);
    }
    let capture = Capture::reopen(open(directory.path()), 1 << 30).unwrap();
    let expected = Digest32(expected.finalize().into());
    assert_eq!(digest(capture.file(Stream::Stdout).unwrap(), ()).await.unwrap(), expected);
    assert!(capture.file(Stream::Stderr).is_none());
}

#[tokio::test]
async fn both_streams_are_read_back_in_the_order_in_which_they_came() {
    for first in [Stream::Stdout, Stream::Stderr] {
        let directory = TempDir::new().unwrap();
        let capture = Capture::create(made(directory.path()), 1 << 20);
        let (mut payload, pipes) = Payload::start();
        let pump = start(&capture, pipes);
        let mut expected = String::new();
        for line in 0..500 {
            let odd = (line % 3 == 0) == (first == Stream::Stdout);
            let stream = if odd { Stream::Stdout } else { Stream::Stderr };
            let words = format!("{line} on {stream:?}\n");
            payload.say(&capture, stream, words.as_bytes()).await;
            expected.push_str(&words);
        }
        drop(payload);
        pump.await.unwrap().unwrap();
        capture.finish();
        assert_eq!(text(&read_all(&capture, None).await), expected);
        let again = Capture::reopen(open(directory.path()), 1 << 20).unwrap();
        again.finish();
        assert_eq!(read_all(&again, None).await, read_all(&capture, None).await);
        assert_eq!(again.summary(), capture.summary());
    }
}

#[tokio::test]
async fn readers_that_follow_get_every_byte_once_however_slow_they_are() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 1 << 20);
    let (mut payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    let readers: Vec<_> = [None, Some(Stream::Stdout), Some(Stream::Stderr)]
        .into_iter()
        .flat_map(|stream| [0, 7, 5000].map(|offset| (stream, offset)))
        .map(|(stream, offset)| {
            let mut reader = capture.reader(stream, offset, true);
            (stream, offset, tokio::spawn(async move { rest(&mut reader, offset).await }))
        })
        .collect();
    let mut slow = capture.reader(None, 0, true);
    for round in 0..1000u32 {
        let stream = if round % 7 < 4 { Stream::Stdout } else { Stream::Stderr };
        payload.say(&capture, stream, format!("{round} ").as_bytes()).await;
    }
    let first = slow.next().await.unwrap().unwrap();
    assert_eq!(first.data.0, b"0 1 2 3 ");
    drop(payload);
    pump.await.unwrap().unwrap();
    capture.finish();
    assert_eq!(rest(&mut slow, 8).await, read_all(&capture, None).await[8..]);
    for (stream, offset, reader) in readers {
        let all = read_all(&capture, stream).await;
        let expected = all.get(offset as usize..).unwrap_or_default();
        assert_eq!(reader.await.unwrap(), expected, "{stream:?} from {offset}");
    }
}

#[tokio::test]
async fn a_reader_that_does_not_follow_stops_at_what_there_is() {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), 3);
    let (mut payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    payload.say(&capture, Stream::Stdout, b"abcdef").await;
    let mut reader = capture.reader(None, 1, false);
    assert_eq!(reader.next().await.unwrap().unwrap().data.0, b"bc");
    assert_eq!(reader.next().await.unwrap(), None, "no marker while more may be cut");
    drop(payload);
    pump.await.unwrap().unwrap();
    capture.finish();
    let marker = reader.next().await.unwrap().unwrap();
    assert_eq!(marker.offset, 3);
    assert_eq!(marker.data.0, b"\n[supervisord: 3 bytes cut, limit output_bytes = 3]\n");
    assert_eq!(reader.next().await.unwrap(), None);
}
