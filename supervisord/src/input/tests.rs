use std::io::Read as _;

use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use supervisor_sys::memory_file;

use super::*;

fn made() -> (Arc<Input>, OwnedFd, std::fs::File) {
    let input = Input::new(memory_file(c"input").unwrap());
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    (input, writer, reader.into())
}

fn numbered(bytes: usize) -> Vec<u8> {
    (0..bytes / 8).flat_map(|number| format!("{number:07}\n").into_bytes()).collect()
}

#[tokio::test]
async fn what_is_sent_twice_arrives_once() {
    let (input, writer, mut reader) = made();
    input.begin(b"first ").unwrap();
    assert_eq!(input.send(Some(6), b"second ").await.unwrap().offset, 13);
    assert_eq!(input.send(Some(6), b"second ").await.unwrap().offset, 13);
    assert_eq!(input.send(Some(10), b"nd third").await.unwrap().offset, 18);
    assert_eq!(input.send(None, b".").await.unwrap().offset, 19);
    let missing = input.send(Some(20), b"?").await.unwrap_err();
    assert_eq!(missing.code, ErrorCode::Conflict, "{missing}");
    assert_eq!(input.close(Some(18)).await.unwrap_err().code, ErrorCode::Conflict);
    assert!(!input.close(Some(19)).await.unwrap().open);
    assert_eq!(input.feed(writer).await.unwrap(), End::Complete);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "first second third.");
    let after = input.send(Some(0), b"first second third.").await;
    assert_eq!(after.unwrap(), InputState { offset: 19, passed_on: 19, open: false });
    assert_eq!(input.send(None, b"more").await.unwrap_err().code, ErrorCode::Conflict);
}

#[tokio::test]
async fn a_payload_that_reads_nothing_costs_a_window_and_the_answer_says_what_was_taken() {
    let (input, _writer, _reader) = made();
    let (bytes, soon) = (vec![7; 3 * WINDOW as usize], Instant::now() + Duration::from_millis(20));
    let taken = input.send_by(soon, Some(0), &bytes).await.unwrap();
    assert_eq!(taken, InputState { offset: WINDOW, passed_on: 0, open: true });
}

#[tokio::test]
async fn of_two_who_send_at_the_same_offset_one_is_told_and_nothing_of_either_is_lost() {
    let (input, writer, mut reader) = made();
    assert_eq!(input.send(Some(0), b"one's").await.unwrap().offset, 5);
    for other in [b"two's".as_slice(), b"two's, longer", b"one's!"] {
        let sent = input.send(Some(0), other).await;
        if other.starts_with(b"one's") {
            assert_eq!(sent.unwrap().offset, 6, "the same bytes and one more");
            continue;
        }
        let refused = sent.unwrap_err();
        assert_eq!((refused.code, refused.field.as_deref()), (ErrorCode::Conflict, Some("offset")));
        let hint = refused.hint.unwrap();
        assert!(hint.contains("at offset 5"), "{hint}");
    }
    assert_eq!(input.send(None, b" two's").await.unwrap().offset, 12);
    input.close(None).await.unwrap();
    let late = input.send(Some(12), b"late").await.unwrap_err();
    assert_eq!(late.field.as_deref(), Some("offset"), "{late}");
    assert_eq!(input.feed(writer).await.unwrap(), End::Complete);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one's! two's");
}

#[tokio::test]
async fn the_largest_piece_can_be_sent_twice_and_what_is_too_old_to_be_compared_is_refused() {
    let (input, writer, mut reader) = made();
    let counting = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let feeding = tokio::spawn({
        let input = input.clone();
        async move { input.feed(writer).await }
    });
    let sent = numbered(3 * MAX_PIECE as usize);
    let mut offset = 0;
    for piece in sent.chunks(MAX_PIECE as usize) {
        for _ in 0..2 {
            let end = offset + MAX_PIECE;
            assert_eq!(input.send(Some(offset), piece).await.unwrap().offset, end);
        }
        offset += MAX_PIECE;
    }
    input.close(None).await.unwrap();
    assert_eq!(feeding.await.unwrap().unwrap(), End::Complete);
    assert!(counting.await.unwrap() == sent);
    let old = input.send(Some(0), b"0000000\n").await.unwrap_err();
    assert_eq!(old.code, ErrorCode::Conflict, "{old}");
}

/// One who comes later with the same file goes on where the one before was stopped, be it within a piece.
#[tokio::test]
async fn whoever_comes_later_goes_on_where_the_one_before_was() {
    let (first, writer, mut reader) = made();
    let sent = numbered(1 << 18);
    assert_eq!(first.send(Some(0), &sent).await.unwrap().offset, 1 << 18);
    let (second, again) =
        (Input::new(first.file.try_clone().unwrap()), writer.try_clone().unwrap());
    let feeding = tokio::spawn(async move { first.feed(writer).await });
    let read = |mut reader: std::fs::File, most: u64| async move {
        tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            reader.by_ref().take(most).read_to_end(&mut bytes).unwrap();
            (bytes, reader)
        })
        .await
        .unwrap()
    };
    let (mut got, rest) = read(reader, 100_000).await;
    reader = rest;
    feeding.abort();
    assert!(feeding.await.is_err(), "it was stopped in the middle");
    second.close(Some(1 << 18)).await.unwrap();
    let (fed, (more, _)) = tokio::join!(second.feed(again), read(reader, u64::MAX));
    assert_eq!(fed.unwrap(), End::Complete);
    got.extend(more);
    assert!(got == sent, "{} bytes of {}", got.len(), sent.len());
}

#[tokio::test]
async fn once_nobody_can_read_it_no_more_is_taken() {
    let (input, writer, reader) = made();
    drop(reader);
    input.begin(b"unread").unwrap();
    assert_eq!(input.feed(writer).await.unwrap(), End::Unread);
    let refused = input.send(None, b"more").await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
}

/// Ten megabytes through a file that never holds two.
#[tokio::test]
async fn memory_of_what_was_read_is_given_back() {
    let (input, writer, mut reader) = made();
    let counting = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let feeding = tokio::spawn({
        let input = input.clone();
        async move { input.feed(writer).await }
    });
    let sent = numbered(10 << 20);
    let (mut offset, mut most) = (0, 0);
    for piece in sent.chunks(MAX_PIECE as usize) {
        let taken = input.send(Some(offset), piece).await.unwrap().offset;
        assert_eq!(taken, offset + piece.len() as u64);
        offset = taken;
        most = most.max(fstat(&*input.file).unwrap().st_blocks * 512);
    }
    input.close(None).await.unwrap();
    assert_eq!(feeding.await.unwrap().unwrap(), End::Complete);
    assert!(counting.await.unwrap() == sent);
    assert!(most <= 2 << 20, "{most}");
}
