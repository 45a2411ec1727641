//! Readers that were cut off go on from any offset.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use supervisor_api::Stream;
use tempfile::TempDir;

use super::{Payload, made, open, read_all, rest, start};
use crate::capture::Capture;
use crate::capture::files::{Files, Part};
use crate::capture::order::{self, Both};

fn stream() -> impl Strategy<Value = Stream> {
    any::<bool>().prop_map(|out| if out { Stream::Stdout } else { Stream::Stderr })
}

async fn check(writes: Vec<(Stream, Vec<u8>)>, limit: u64) {
    let directory = TempDir::new().unwrap();
    let capture = Capture::create(made(directory.path()), limit);
    let (mut payload, pipes) = Payload::start();
    let pump = start(&capture, pipes);
    let mut kept = Both { stdout: 0, stderr: 0 };
    let mut expected = Vec::new();
    for (stream, bytes) in &writes {
        payload.say(&capture, *stream, bytes).await;
        for byte in bytes {
            if kept.get(*stream) < limit {
                *kept.get_mut(*stream) += 1;
                expected.push((*stream, *byte));
            }
        }
    }
    drop(payload);
    pump.await.unwrap().unwrap();
    capture.finish();
    let reopened = Capture::reopen(open(directory.path()), limit).unwrap();
    reopened.finish();
    assert_eq!(reopened.summary(), capture.summary());
    for selection in [None, Some(Stream::Stdout), Some(Stream::Stderr)] {
        let all = read_all(&capture, selection).await;
        let of_files: Vec<_> = expected
            .iter()
            .filter(|(stream, _)| selection.is_none_or(|selected| selected == *stream))
            .copied()
            .collect();
        assert_eq!(all[..of_files.len()], of_files);
        for offset in 0..=all.len() + 1 {
            let expected = all.get(offset..).unwrap_or_default();
            for (capture, follow) in [(&capture, true), (&reopened, false)] {
                let mut reader = capture.reader(selection, offset as u64, follow);
                assert_eq!(rest(&mut reader, offset as u64).await, expected);
            }
        }
    }
}

/// An index of these bytes beside files of these lengths.
fn damaged(index: &[u8], kept: Both<u64>) -> (TempDir, Arc<Files>) {
    let directory = TempDir::new().unwrap();
    let files = Files::new(open(directory.path()));
    files.make(Part::Index).unwrap().write_all_at(index, 0).unwrap();
    for stream in [Stream::Stdout, Stream::Stderr] {
        let file = files.make(Part::Bytes(stream)).unwrap();
        file.set_len(kept.get(stream)).unwrap();
    }
    (directory, Arc::new(files))
}

/// The streams' letters in the order that is made of an index and files of these lengths.
async fn recovered(first: Option<&str>, runs: &[u64], stdout: u64, stderr: u64) -> String {
    let mut index = Vec::new();
    if let Some(first) = first {
        index.extend(b"svindex");
        index.extend(first.as_bytes());
        index.extend([0; 16]);
    }
    runs.iter().for_each(|run| index.extend(run.to_le_bytes()));
    let (directory, files) = damaged(&index, Both { stdout, stderr });
    if first.is_none() && runs.is_empty() {
        std::fs::remove_file(directory.path().join("index")).unwrap();
    }
    drop(files);
    let capture = Capture::reopen(open(directory.path()), 100).unwrap();
    let read = read_all(&capture, None).await;
    read.iter().map(|(stream, _)| if *stream == Stream::Stdout { 'o' } else { 'e' }).collect()
}

#[tokio::test]
async fn bytes_that_the_index_does_not_cover_yet_come_after_those_that_were_read_before() {
    /// The first run's letter, the runs, the lengths of both files, the order.
    type Case<'a> = (Option<&'a str>, &'a [u64], u64, u64, &'a str);
    let cases: [Case<'_>; 10] = [
        (None, &[], 3, 0, "ooo"),
        (None, &[], 0, 3, "eee"),
        (None, &[], 2, 3, "ooeee"),
        (Some("e"), &[], 2, 3, "eeeoo"),
        (Some("o"), &[2], 2, 3, "ooeee"),
        (Some("o"), &[2, 1], 4, 1, "ooeoo"),
        (Some("o"), &[2, 1], 4, 3, "ooeooee"),
        (Some("o"), &[2, 1], 2, 3, "ooeee"), // the machine lost a run
        (Some("o"), &[2, 1, 9, 9], 3, 1, "ooeo"), // and here the bytes
        (Some("x"), &[1, 1], 2, 2, "oeoe"),
    ];
    for (first, runs, stdout, stderr, expected) in cases {
        let found = recovered(first, runs, stdout, stderr).await;
        assert_eq!(found, expected, "{first:?} {runs:?} {stdout} {stderr}");
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn output_can_be_read_on_from_every_byte(
        writes in vec((stream(), vec(any::<u8>(), 1..6)), 0..12),
        limit in 0u64..20,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(writes, limit));
    }

    #[test]
    fn whatever_an_index_says_the_output_can_be_read(
        has_header in any::<bool>(),
        mut runs in vec(0u64..40, 0..12),
        wild in vec(any::<u8>(), 0..30),
        stdout in 0u64..60,
        stderr in 0u64..60,
    ) {
        let mut index = if has_header { b"svindexe".to_vec() } else { Vec::new() };
        index.extend(if has_header { vec![0; 16] } else { wild.clone() });
        runs.iter_mut().for_each(|run| index.extend(run.to_le_bytes()));
        index.extend(wild);
        let kept = Both { stdout, stderr };
        let (directory, files) = damaged(&index, kept);
        let (order, cut) = order::recover(&files, kept).unwrap();
        let again = order::recover(&files, kept).unwrap();
        prop_assert_eq!((order, cut), again, "what was made up is on disk");
        prop_assert!(order.runs() < 50);

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let read = runtime.block_on(async {
            let capture = Capture::reopen(open(directory.path()), 100).unwrap();
            read_all(&capture, None).await
        });
        let count = |wanted| read.iter().filter(|(stream, _)| *stream == wanted).count() as u64;
        prop_assert_eq!((count(Stream::Stdout), count(Stream::Stderr)), (stdout, stderr));
    }
}
