//! A state directory without space, on a small file system of the test's own.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use supervisor_api::{ErrorCode, ExecutionId};
use tokio::task::JoinSet;

use super::{all, artifacts, finished, queued};
use crate::alone::in_a_mount_namespace_of_its_own;
use crate::store::{Store, StoreError};

/// Room for the first log and some records.
const SIZE: &str = "size=2m";

#[tokio::test]
async fn a_full_disk_is_reported_and_the_store_goes_on_when_there_is_space_again() {
    const OWN: &str = "store::tests::full::a_full_disk_is_reported_and_the_store_goes_on_when_there_is_space_again";
    let Some(directory) = in_a_mount_namespace_of_its_own(OWN) else { return };
    let directory: &Path = &directory;
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some(SIZE)).unwrap();
    let store = Store::open(directory).unwrap();
    store.insert(&queued(0)).await.unwrap();
    let mut recorded = 1;
    let mut next = 1;
    for round in 0..3 {
        let mut ballast = File::create(directory.join("ballast")).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
        let error = loop {
            match store.insert(&queued(next)).await {
                Ok(()) => (recorded, next) = (recorded + 1, next + 1),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, StoreError::Full { .. }), "round {round}: {error:?}");
        assert_eq!(error.code(), ErrorCode::StorageFull);
        all_are_refused(&store, next).await;
        assert_eq!(all(&store).await.unwrap().len(), recorded, "what was recorded can be read");

        std::fs::remove_file(directory.join("ballast")).unwrap();
        drop(ballast);
        store.insert(&queued(next)).await.unwrap();
        store.finish(&finished(next), &artifacts(next), None).await.unwrap();
        (recorded, next) = (recorded + 1, next + 1);
    }
    store.close().await.unwrap();
    let store = Store::open(directory).unwrap();
    assert_eq!(all(&store).await.unwrap().len(), recorded, "nothing partial, nothing lost");
    assert_eq!(store.unfinished().await.unwrap().len(), recorded - 3);
    let last = ExecutionId::from_bits(next - 1);
    assert_eq!(store.artifacts(last).await.unwrap(), Some(artifacts(next - 1)));
}

async fn all_are_refused(store: &Store, first: u128) {
    let mut waiting = JoinSet::new();
    for number in first..first + 16 {
        let store = store.clone();
        waiting.spawn(async move { store.insert(&queued(number)).await });
    }
    for outcome in waiting.join_all().await {
        assert!(matches!(outcome, Err(StoreError::Full { .. })), "{outcome:?}");
    }
    let end = store.finish(&finished(0), &artifacts(0), None).await;
    assert!(matches!(end, Err(StoreError::Full { .. })), "{end:?}");
}
