//! Brokers as they are: Unix sockets.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::support::*;
use crate::credential::*;

/// A broker that answers each question with this, and what it was asked.
fn broker(answer: String) -> (tempfile::TempDir, Asked) {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = UnixListener::bind(directory.path().join("sock")).expect("a listener");
    let asked = Asked::default();
    let seen = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut buffer = [0; 4096];
            let count = stream.read(&mut buffer).await.expect("a question");
            let question = String::from_utf8_lossy(&buffer[..count]).into_owned();
            seen.lock().expect("no panic").push(question);
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    (directory, asked)
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

#[tokio::test]
async fn a_broker_is_asked_over_its_socket() {
    let (directory, asked) = broker("{\"token\":\"from-the-broker\"}\nrest".to_owned());
    let source = Broker::new(name("key"), directory.path().join("sock"), own_uid());
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(source)))]);
    assert_eq!(sent(&vault).await.expect("prepared").1, "Bearer from-the-broker");
    assert_eq!(
        *asked.lock().expect("no panic"),
        ["{\"credential\":\"key\",\"reason\":\"needed\"}\n"]
    );
}

#[tokio::test]
async fn a_broker_that_misbehaves_costs_the_credential() {
    for answer in [
        "",
        "\n",
        "{\"token\":\"\"}\n",
        "{\"token\":\"0123456789\",\"x\":1}\n",
        &"x".repeat(70_000),
    ] {
        let (directory, _) = broker(answer.to_owned());
        let source = Broker::new(name("key"), directory.path().join("sock"), own_uid());
        let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(source)))]);
        assert_eq!(sent(&vault).await.expect_err("no value").code, RefusalCode::Unavailable);
    }
}

#[tokio::test]
async fn a_source_that_never_answers_is_given_up() {
    #[derive(Debug)]
    struct Silent;
    impl Source for Silent {
        fn fetch(&self, _: Why) -> Pending<'_, Result<Delivery, SourceError>> {
            Box::pin(std::future::pending())
        }
    }
    tokio::time::pause();
    let (vault, _) = vault(vec![definition("key", Supply::Fetched(Arc::new(Silent)))]);
    let before = tokio::time::Instant::now();
    assert_eq!(sent(&vault).await.expect_err("no value").code, RefusalCode::Unavailable);
    assert!(before.elapsed() < Duration::from_secs(21));
}
