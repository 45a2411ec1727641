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
