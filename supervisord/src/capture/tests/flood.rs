//! More output than is kept, and no space to keep any.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use nix::mount::{MsFlags, mount};
use supervisor_api::Stream;
use tempfile::TempDir;

use super::{Payload, files, made, open, read_all, start, summary, text};
use crate::alone::{in_a_mount_namespace_of_its_own, in_a_process_of_its_own};
use crate::capture::Capture;

const LIMIT: u64 = 1 << 20;

/// The most memory that this process ever had, in KiB.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// So many bytes on one stream, one more than is kept on the other.
async fn flood(capture: &Arc<Capture>, bytes: u64) {
    let (mut payload, pipes) = Payload::start();
    let mut stdout = payload.stdout.take().unwrap();
    let mut stderr = payload.stderr.take().unwrap();
    let pump = start(capture, pipes);
    let out = std::thread::spawn(move || {
        let block = [b'o'; 60_000];
        for _ in 0..bytes / block.len() as u64 {
            stdout.write_all(&block).unwrap();
        }
        stdout.write_all(&block[..(bytes % block.len() as u64) as usize]).unwrap();
    });
    let err =
        std::thread::spawn(move || stderr.write_all(&vec![b'e'; LIMIT as usize + 1]).unwrap());
    pump.await.unwrap().unwrap();
    out.join().unwrap();
    err.join().unwrap();
}

#[tokio::test]
async fn a_flood_is_cut_at_the_limit_counted_to_the_byte_and_takes_no_memory() {
    const OWN: &str = "capture::tests::flood::a_flood_is_cut_at_the_limit_counted_to_the_byte_and_takes_no_memory";
    const FLOOD: u64 = 200 << 20;
    // It looks at the memory of its process.
    let Some(directory) = in_a_process_of_its_own(OWN) else { return };
    let directory: &Path = &directory;
    // A little one first, so that the program's own pages are there.
    flood(&Capture::create(made(TempDir::new().unwrap().path()), LIMIT), LIMIT + 1).await;
    let capture = Capture::create(made(directory), LIMIT);
    let before = peak_memory();
    flood(&capture, FLOOD).await;
    let grown = peak_memory() - before;
    capture.finish();
    assert!(grown < 4 << 10, "{grown} KiB");
    assert_eq!(capture.summary(), summary((LIMIT, FLOOD - LIMIT), (LIMIT, 1)));
    let size: u64 =
        files(directory).iter().map(|name| directory.join(name).metadata().unwrap().len()).sum();
    assert!(size < 2 * LIMIT + LIMIT / 16, "{size}");

    let read = read_all(&capture, Some(Stream::Stdout)).await;
    assert!(read[..LIMIT as usize].iter().all(|byte| *byte == (Stream::Stdout, b'o')));
    let marker = "\n[supervisord: 208666624 bytes cut, limit output_bytes = 1048576]\n";
    assert_eq!(text(&read[LIMIT as usize..]), marker);
    let read = read_all(&capture, None).await;
    let markers = format!("{marker}\n[supervisord: 1 bytes cut, limit output_bytes = 1048576]\n");
    assert_eq!(text(&read[2 * LIMIT as usize..]), markers);
}

#[tokio::test]
async fn a_payload_that_changes_streams_with_every_byte_does_not_fill_the_disk() {
    const BYTES: u64 = 20_000;
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), LIMIT);
    let (mut payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    let payload = std::thread::spawn(move || {
        for _ in 0..BYTES {
            payload.write(Stream::Stdout, b"o");
            payload.write(Stream::Stderr, b"e");
        }
    });
    pump.await.unwrap().unwrap();
    payload.join().unwrap();
    assert_eq!(capture.summary(), summary((BYTES, 0), (BYTES, 0)));
    let index = directory.path().join("index").metadata().unwrap().len();
    assert!(index < 16 << 10, "{index} bytes of index for {} of output", 2 * BYTES);
}

#[tokio::test]
async fn output_that_a_full_disk_cannot_take_is_cut_and_the_payload_goes_on() {
    const OWN: &str =
        "capture::tests::flood::output_that_a_full_disk_cannot_take_is_cut_and_the_payload_goes_on";
    const OUTPUT: usize = 300_000;
    let Some(directory) = in_a_mount_namespace_of_its_own(OWN) else { return };
    let directory: &Path = &directory;
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=128k")).unwrap();
    let capture = Capture::create(made(directory), LIMIT);
    let (mut payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    payload.say(&capture, Stream::Stderr, b"first\n").await;
    let mut stdout = payload.stdout.take().unwrap();
    let writer = std::thread::spawn(move || stdout.write_all(&[b'o'; OUTPUT]).unwrap());
    tokio::task::spawn_blocking(|| writer.join().unwrap()).await.unwrap();
    payload.say(&capture, Stream::Stderr, &[b'e'; 5000]).await;
    drop(payload);
    pump.await.unwrap().unwrap();
    capture.sync().await.unwrap();
    capture.finish();

    let found = capture.summary();
    assert_eq!(found.stdout.kept + found.stdout.cut, OUTPUT as u64);
    assert_eq!(found.stderr.kept + found.stderr.cut, 5006);
    assert!(found.stdout.kept > 50_000 && found.stdout.cut > 150_000, "{found:?}");
    let read = text(&read_all(&capture, None).await);
    assert!(read.starts_with("first\nooo"), "{read}");
    let marker = format!("{} bytes cut, no space left to keep them]", found.stdout.cut);
    assert!(read.contains(&marker), "{}", &read[read.len() - 200..]);
    let reopened = Capture::reopen(open(directory), LIMIT).unwrap();
    assert_eq!(reopened.summary().stdout.kept, found.stdout.kept);
    reopened.finish();
    assert_eq!(text(&read_all(&reopened, Some(Stream::Stderr)).await).get(..6), Some("first\n"));
}
