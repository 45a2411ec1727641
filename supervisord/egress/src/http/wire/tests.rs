use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

/// Writes more than the peer takes, after it has asked for another protocol.
async fn leave_lying(switched: bool) -> io::Result<()> {
    let (mut peer, stream) = duplex(256);
    let shared = Arc::new(Shared::default());
    let mut wire = Wire::of_a_server(stream, shared.clone(), &Limits::default());
    let head =
        "GET / HTTP/1.1\r\nHost: up.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    peer.write_all(head.as_bytes()).await.unwrap();
    wire.read_exact(&mut vec![0; head.len()]).await.unwrap();
    assert!(wire.framing.is_other());
    if switched {
        shared.switch();
    }
    wire.write_all(&[b'x'; 1024]).await
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_another_protocol_has_to_take_the_answer_in_time() {
    let ended = leave_lying(false).await.expect_err("nobody reads");
    assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    let granted = tokio::time::timeout(Duration::from_secs(6000), leave_lying(true)).await;
    assert!(granted.is_err(), "a protocol of its own has its own deadlines");
}

/// A request whose sender says no more, and the connection that it came by.
async fn half_closed() -> (tokio::io::DuplexStream, Arc<Shared>, Wire<tokio::io::DuplexStream>) {
    let (mut peer, stream) = duplex(256);
    let shared = Arc::new(Shared::default());
    let mut wire = Wire::of_a_server(stream, shared.clone(), &Limits::default());
    let head = "GET / HTTP/1.1\r\nHost: up.test\r\n\r\n";
    peer.write_all(head.as_bytes()).await.unwrap();
    peer.shutdown().await.unwrap();
    wire.read_exact(&mut vec![0; head.len()]).await.unwrap();
    (peer, shared, wire)
}

#[tokio::test(start_paused = true)]
async fn who_says_no_more_has_its_answer_before_the_input_ends() {
    let (mut peer, shared, mut wire) = half_closed().await;
    let asked = shared.request();
    let mut byte = [0];
    let soon = tokio::time::timeout(Duration::from_secs(59), wire.read(&mut byte)).await;
    assert!(soon.is_err(), "it is being answered");
    // What it is sent shows that it is there.
    wire.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
    wire.flush().await.unwrap();
    let soon = tokio::time::timeout(Duration::from_secs(59), wire.read(&mut byte)).await;
    assert!(soon.is_err(), "and takes its answer");
    wire.write_all(b"\r\n").await.unwrap();
    drop(asked);
    let unflushed = tokio::time::timeout(Duration::from_secs(1), wire.read(&mut byte)).await;
    assert!(unflushed.is_err(), "the last of it is not out");
    wire.flush().await.unwrap();
    assert_eq!(wire.read(&mut byte).await.unwrap(), 0);
    let mut answer = vec![0; 19];
    peer.read_exact(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"\r\n\r\n"));
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_is_not_waited_for_without_end() {
    let (_peer, shared, mut wire) = half_closed().await;
    let (_asked, begun) = (shared.request(), Instant::now());
    assert_eq!(wire.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(begun.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_stays_does_not_keep_its_connection() {
    let (mut peer, stream) = duplex(256);
    let shared = Arc::new(Shared::default());
    let mut wire = Wire::new(stream, shared, &Limits::default());
    peer.write_all(&[5, 1, 0]).await.unwrap();
    assert_eq!(wire.read(&mut [0; 9]).await.unwrap(), 0);
    let begun = Instant::now();
    // As hyper closes: it flushes first, each time.
    std::future::poll_fn(|cx| {
        ready!(Pin::new(&mut wire).poll_flush(cx))?;
        Pin::new(&mut wire).poll_shutdown(cx)
    })
    .await
    .unwrap();
    assert_eq!(begun.elapsed().as_secs(), 2);
}
