//! A daemon that is killed while output comes in.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use supervisor_api::Stream;
use tempfile::TempDir;

use super::{open, read_all};
use crate::alone::child;
use crate::capture::Capture;

/// Where the pipes are, which the child opens by name, and the files.
const DIRECTORY: &str = "CAPTURE_TEST_CRASH_DIRECTORY";

const KILLS: usize = 20;

/// Bytes that each stream gets for every daemon: more than its pipe holds.
const ROUND: usize = 150_000;

/// Bytes of each stream; the last daemon is not killed.
const LENGTH: usize = (KILLS + 1) * ROUND;

/// A byte that depends on its place, so that one that is lost or repeated shows.
fn pattern(stream: Stream, place: usize) -> u8 {
    let salt = if stream == Stream::Stdout { 17 } else { 91 };
    ((place * 31 + place / 251 + place / 65521) ^ salt) as u8
}

fn pipe(directory: &Path, name: &str, options: &mut OpenOptions) -> File {
    options.custom_flags(OFlag::O_NONBLOCK.bits()).open(directory.join(name)).unwrap()
}

/// Writes a stream in pieces of every length, as much as it is told to; waits like a payload when
/// the pipe is full.
fn write(directory: PathBuf, name: &'static str, stream: Stream, rounds: mpsc::Receiver<()>) {
    let mut pipe = OpenOptions::new().write(true).open(directory.join(name)).unwrap();
    let bytes: Vec<u8> = (0..LENGTH).map(|place| pattern(stream, place)).collect();
    let mut length = 1;
    for (mut round, ()) in bytes.chunks(ROUND).zip(rounds) {
        while !round.is_empty() {
            let (piece, after) = round.split_at(length.min(round.len()));
            pipe.write_all(piece).unwrap();
            (round, length) = (after, (length * 7 + 3) % 9973 + 1);
        }
    }
}

fn ends(directory: &Path) -> [OwnedFd; 2] {
    ["stdout-pipe", "stderr-pipe"]
        .map(|name| OwnedFd::from(pipe(directory, name, OpenOptions::new().read(true))))
}

/// The daemon that is killed.
async fn keep_what_comes() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let [stdout, stderr] = ends(&directory);
    let files = directory.join("files");
    let capture = Capture::reopen(open(&files), u64::MAX).unwrap();
    let mut progress = capture.progress.subscribe();
    let report = tokio::spawn(async move {
        while progress.changed().await.is_ok() {
            println!("\nkept {}", progress.borrow_and_update().kept.total());
        }
    });
    capture.pump(stdout, Some(stderr)).await.unwrap();
    report.abort();
}

/// A daemon that is killed once it has kept so many bytes, while it may be keeping more.
fn run_until_killed(daemon: &mut Command, directory: &Path, bytes: usize) {
    daemon.env(DIRECTORY, directory).stdout(Stdio::piped());
    let mut child = daemon.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut kept = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("kept ").map(|kept| kept.parse::<usize>().unwrap()));
    assert!(kept.any(|kept| kept >= bytes), "the child ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_and_repeats_no_byte() {
    const OWN: &str = "capture::tests::crash::kill_9_at_any_moment_loses_and_repeats_no_byte";
    let Some(mut daemon) = child(OWN) else { return keep_what_comes().await };
    let directory = TempDir::new().unwrap();
    let files = directory.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for name in ["stdout-pipe", "stderr-pipe"] {
        mkfifo(&directory.path().join(name), Mode::S_IRWXU).unwrap();
    }
    let held = ends(directory.path()); // as the launcher holds them while the daemon is away
    let (rounds, writers): (Vec<_>, Vec<_>) =
        [("stdout-pipe", Stream::Stdout), ("stderr-pipe", Stream::Stderr)]
            .map(|(name, stream)| {
                let directory = directory.path().to_owned();
                let (sender, rounds) = mpsc::channel();
                (sender, thread::spawn(move || write(directory, name, stream, rounds)))
            })
            .into_iter()
            .unzip();
    let mut merged = Vec::new();
    for kill in 0..KILLS {
        rounds.iter().for_each(|round| round.send(()).unwrap());
        let bytes = 2 * ROUND * kill + 1 + kill * 77_777 % (2 * ROUND);
        run_until_killed(&mut daemon, directory.path(), bytes);
        let capture = Capture::reopen(open(&files), u64::MAX).unwrap();
        let now = read_all(&capture, None).await;
        assert_eq!(now.get(..merged.len()), Some(&merged[..]), "what was read stays where it was");
        merged = now;
    }
    for round in rounds {
        round.send(()).unwrap();
    }
    let capture = Capture::reopen(open(&files), u64::MAX).unwrap();
    let [stdout, stderr] = held;
    capture.pump(stdout, Some(stderr)).await.unwrap();
    for writer in writers {
        writer.join().unwrap();
    }
    for stream in [Stream::Stdout, Stream::Stderr] {
        let read = read_all(&capture, Some(stream)).await;
        assert_eq!(read.len(), LENGTH);
        let wrong = (0..LENGTH).find(|place| read[*place].1 != pattern(stream, *place));
        assert_eq!(wrong, None, "{stream:?}");
    }
    let all = read_all(&capture, None).await;
    assert_eq!(all.get(..merged.len()), Some(&merged[..]));
    assert_eq!(all.len(), 2 * LENGTH);
}
