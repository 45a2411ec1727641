//! What the store promises, on real files.

mod crash;
mod damage;
mod full;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use supervisor_api::{
    Artifact, ArtifactList, Execution, ExecutionId, Inputs, Limits, Outcome, OutputSummary,
    PolicyReference, SessionId, State, UniqueMap, Usage,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::capture::SmallOutput;
use crate::store::directory::Directory;
use crate::store::writer::{Write, Writer};
use crate::store::{Among, Record, Store, StoreError, database};

const OWNER: u32 = 1000;

fn queued(number: u128) -> Execution {
    Execution {
        id: ExecutionId::from_bits(number),
        session: SessionId::from_bits(number),
        owner_uid: OWNER,
        state: State::Queued,
        queue_position: None,
        outcome: None,
        argv: vec!["python3".into(), "-c".into(), format!("print({number})")],
        language: None,
        labels: UniqueMap::default(),
        stdin_open: false,
        terminal: false,
        policy: PolicyReference { name: "default".into(), digest: "0".repeat(64) },
        image: None,
        limits: limits(),
        created_at: "2026-01-01T00:00:00Z".into(),
        started_at: None,
        paused_at: None,
        start: None,
        finished_at: None,
        usage: Usage::default(),
        output: OutputSummary::default(),
        artifact_count: 0,
        artifacts_truncated: false,
        kept_bytes: None,
        changes: None,
        controls: Vec::new(),
        waits_for: Vec::new(),
        inputs: Inputs::default(),
    }
}

fn limits() -> Limits {
    let fields = supervisor_api::Limit::ALL.iter().map(|limit| (limit.name().to_owned(), 1.into()));
    serde_json::from_value(serde_json::Value::Object(fields.collect())).unwrap()
}

fn finished(number: u128) -> Execution {
    Execution {
        state: State::Finished,
        outcome: Some(Outcome::Exited { code: 0 }),
        paused_at: None,
        finished_at: Some("2026-01-01T00:00:01Z".into()),
        ..queued(number)
    }
}

fn artifacts(number: u128) -> ArtifactList {
    let artifact = Artifact {
        path: format!("plot-{number}.png"),
        size: 1,
        sha256: "1".repeat(64),
        media_type: "image/png".into(),
    };
    ArtifactList { artifacts: vec![artifact], refused: Vec::new(), truncated: false }
}

async fn run_one(store: &Store, number: u128) {
    store.insert(&queued(number)).await.unwrap();
    store.finish(&finished(number), &artifacts(number), None).await.unwrap();
}

async fn all(store: &Store) -> Result<Vec<Execution>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(None, Among::All, after, 7).await?;
        found.extend(page.executions);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

fn numbers(executions: &[Execution]) -> Vec<u128> {
    executions.iter().map(|execution| execution.id.bits()).collect()
}

fn mode(path: &Path) -> u32 {
    std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o7777
}

#[tokio::test]
async fn what_was_finished_is_there_after_the_store_was_closed_and_opened() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    run_one(&store, 1).await;
    store.insert(&queued(2)).await.unwrap();
    store.close().await.unwrap();
    assert!(matches!(store.get(ExecutionId::from_bits(1)).await, Err(StoreError::Closed)));
    assert!(matches!(store.insert(&queued(3)).await, Err(StoreError::Closed)));

    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.get(ExecutionId::from_bits(1)).await.unwrap(), Some(finished(1)));
    assert_eq!(store.artifacts(ExecutionId::from_bits(1)).await.unwrap(), Some(artifacts(1)));
    assert_eq!(store.artifacts(ExecutionId::from_bits(2)).await.unwrap(), None);
    assert_eq!(store.unfinished().await.unwrap(), [queued(2)]);
    assert_eq!(store.get(ExecutionId::from_bits(3)).await.unwrap(), None);
}

#[tokio::test]
async fn a_finished_record_is_final() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let id = ExecutionId::from_bits(1);
    run_one(&store, 1).await;
    let other = Execution { outcome: Some(Outcome::Cancelled), ..finished(1) };
    let refused = store.finish(&other, &artifacts(2), None).await;
    assert!(matches!(refused, Err(StoreError::AlreadyFinished(same)) if same == id));
    let again = store.insert(&queued(1)).await;
    assert!(matches!(again, Err(StoreError::Duplicate(same)) if same == id));
    store.enqueue_update(&Execution { state: State::Running, ..queued(1) }).await.unwrap();
    store.insert(&queued(2)).await.unwrap(); // after the update, so that has been tried by now
    assert_eq!(store.get(id).await.unwrap(), Some(finished(1)));
    assert_eq!(store.artifacts(id).await.unwrap(), Some(artifacts(1)));

    let missing = store.finish(&finished(3), &artifacts(3), None).await;
    assert!(matches!(missing, Err(StoreError::Unknown(_))));
    for wrong in [
        store.insert(&finished(4)).await,
        store.enqueue_update(&finished(2)).await,
        store.finish(&queued(2), &artifacts(2), None).await,
        store.finish(&Execution { outcome: None, ..finished(2) }, &artifacts(2), None).await,
    ] {
        assert!(matches!(wrong, Err(StoreError::WrongState { .. })), "{wrong:?}");
    }
}

#[tokio::test]
async fn an_update_is_recorded_before_what_is_written_later() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.insert(&queued(1)).await.unwrap();
    for state in [State::Launching, State::Running, State::Collecting] {
        store.enqueue_update(&Execution { state, ..queued(1) }).await.unwrap();
        store.insert(&queued(10 + state as u128)).await.unwrap();
        let found = store.get(ExecutionId::from_bits(1)).await.unwrap().unwrap();
        assert_eq!(found.state, state);
    }
}

#[tokio::test]
async fn pages_give_every_execution_of_the_owner_once_newest_first() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for number in 0..40 {
        let owner_uid = OWNER + (number % 2) as u32;
        store.insert(&Execution { owner_uid, ..queued(number) }).await.unwrap();
    }
    for number in (0..40).step_by(5) {
        let owner_uid = OWNER + (number % 2) as u32;
        let end = Execution { owner_uid, ..finished(number) };
        store.finish(&end, &artifacts(number), None).await.unwrap();
    }
    for owner in [None, Some(OWNER), Some(OWNER + 1), Some(7)] {
        for among in [Among::All, Among::Finished, Among::Unfinished] {
            let expected: Vec<u128> = (0..40u128)
                .rev()
                .filter(|number| owner.is_none_or(|uid| uid == OWNER + (number % 2) as u32))
                .filter(|number| match among {
                    Among::All => true,
                    Among::Finished => number % 5 == 0,
                    Among::Unfinished => number % 5 != 0,
                })
                .collect();
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = store.list(owner, among, after, 4).await.unwrap();
                found.extend(numbers(&page.executions));
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            assert_eq!(found, expected, "{owner:?} {among:?}");
        }
    }
}

#[tokio::test]
async fn a_page_cannot_start_after_somebody_elses_execution() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.insert(&queued(1)).await.unwrap();
    for (owner, after) in [(Some(OWNER + 1), 1), (Some(OWNER), 2), (None, 2)] {
        let page = store.list(owner, Among::All, Some(ExecutionId::from_bits(after)), 10).await;
        assert!(matches!(page, Err(StoreError::Unknown(_))), "{page:?}");
    }
}

#[tokio::test]
async fn a_list_goes_on_where_an_execution_stood_that_was_removed_meanwhile() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for number in 0..5 {
        run_one(&store, number).await;
    }
    let page = store.list(Some(OWNER), Among::All, None, 2).await.unwrap();
    let next = page.next.unwrap();
    assert_eq!(next, ExecutionId::from_bits(3));
    store.remove(vec![next, ExecutionId::from_bits(2)]).await.unwrap();
    for owner in [Some(OWNER), None] {
        let rest = store.list(owner, Among::All, Some(next), 10).await.unwrap();
        assert_eq!(numbers(&rest.executions), [1, 0]);
    }
    let foreign = store.list(Some(OWNER + 1), Among::All, Some(next), 10).await;
    assert!(matches!(foreign, Err(StoreError::Unknown(_))), "{foreign:?}");
}

#[tokio::test]
async fn a_page_of_very_long_records_ends_early_and_says_so() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    for number in 0..8 {
        let argv = vec!["x".repeat(1 << 20)];
        store.insert(&Execution { argv, ..queued(number) }).await.unwrap();
    }
    let page = store.list(None, Among::All, None, 200).await.unwrap();
    assert_eq!(numbers(&page.executions), [7, 6, 5, 4]);
    let rest = store.list(None, Among::All, page.next, 200).await.unwrap();
    assert_eq!((numbers(&rest.executions), rest.next), (vec![3, 2, 1, 0], None));
}

/// Removes those of which an owner has too many.
async fn prune(store: &Store, keep: u32, spare: &HashSet<ExecutionId>) -> Vec<u128> {
    let found = store.too_many(keep, spare).await.unwrap();
    for (owner, id) in &found {
        assert_eq!(store.get(*id).await.unwrap().unwrap().owner_uid, *owner);
    }
    let ids: Vec<_> = found.into_iter().map(|(_, id)| id).collect();
    store.remove(ids.clone()).await.unwrap();
    ids.iter().map(|id| id.bits()).collect()
}

/// Removes those of which too much is kept.
async fn lighten(
    store: &Store,
    owner: u32,
    most: u64,
    spare: &HashSet<ExecutionId>,
) -> Vec<ExecutionId> {
    let ids = store.too_much(owner, most, spare).await.unwrap();
    store.remove(ids.clone()).await.unwrap();
    ids
}

#[tokio::test]
async fn pruning_keeps_the_newest_of_every_owner_and_whatever_has_not_finished() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.insert(&queued(1)).await.unwrap();
    for number in 2..=20 {
        run_one(&store, number).await;
    }
    let other = Execution { owner_uid: OWNER + 1, ..queued(30) };
    store.insert(&other).await.unwrap();
    let other = Execution { owner_uid: OWNER + 1, ..finished(30) };
    store.finish(&other, &artifacts(30), None).await.unwrap();

    let none = HashSet::new();
    let spared = (2..=3).map(ExecutionId::from_bits).collect();
    assert_eq!(prune(&store, 17, &spared).await, [0; 0]);
    assert_eq!(prune(&store, 5, &none).await, (2..=15).collect::<Vec<_>>());
    assert_eq!(prune(&store, 5, &none).await, [0; 0]);
    assert_eq!(numbers(&all(&store).await.unwrap()), [30, 20, 19, 18, 17, 16, 1]);
    assert_eq!(store.artifacts(ExecutionId::from_bits(2)).await.unwrap(), None);
    assert_eq!(store.artifacts(ExecutionId::from_bits(16)).await.unwrap(), Some(artifacts(16)));
}

#[tokio::test]
async fn what_an_owner_keeps_is_bounded_in_bytes_by_the_order_of_ends() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let heavy =
        |number, owner_uid| Execution { owner_uid, kept_bytes: Some(1 << 20), ..finished(number) };
    store.insert(&queued(1)).await.unwrap(); // begins first and ends last
    for number in [2, 3, 4] {
        store.insert(&queued(number)).await.unwrap();
        store.finish(&heavy(number, OWNER), &artifacts(number), None).await.unwrap();
    }
    run_one(&store, 5).await; // keeps little
    let other = Execution { owner_uid: OWNER + 1, ..queued(6) };
    store.insert(&other).await.unwrap();
    store.finish(&heavy(6, OWNER + 1), &artifacts(6), None).await.unwrap();
    store.finish(&heavy(1, OWNER), &artifacts(1), None).await.unwrap();
    assert_eq!(store.keepers().await.unwrap(), [OWNER, OWNER + 1]);

    let none = HashSet::new();
    let ids = |numbers: &[u128]| -> Vec<_> {
        numbers.iter().copied().map(ExecutionId::from_bits).collect()
    };
    assert_eq!(lighten(&store, OWNER, 5 << 20, &none).await, []);
    assert_eq!(lighten(&store, OWNER, 5 << 19, &none).await, ids(&[2, 3]));
    assert_eq!(lighten(&store, OWNER, 5 << 19, &none).await, []);
    assert_eq!(numbers(&all(&store).await.unwrap()), [6, 5, 4, 1]);
    // The one that ended last stays.
    let spared = ids(&[4]).into_iter().collect();
    assert_eq!(lighten(&store, OWNER, 1, &spared).await, []);
    assert_eq!(lighten(&store, OWNER, 1, &none).await, ids(&[4]));
    store.remove(ids(&[1, 6])).await.unwrap();
    assert_eq!(store.keepers().await.unwrap(), [0; 0]);
    assert_eq!(numbers(&all(&store).await.unwrap()), [5]);
}

#[tokio::test]
async fn two_stores_cannot_have_the_same_directory() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let second = Store::open(directory.path()).unwrap_err();
    assert!(matches!(second, StoreError::InUse { .. }), "{second}");
    store.close().await.unwrap();
    Store::open(directory.path()).unwrap();
}

#[tokio::test]
async fn only_the_daemon_can_read_its_state() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    store.insert(&queued(1)).await.unwrap();
    for file in ["state.db", "state.db-wal", "state.db-shm", "initialised", "lock"] {
        assert_eq!(mode(&directory.path().join(file)), 0o600, "{file}");
    }
    let rest = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(rest, 5);
}

#[tokio::test]
async fn sixty_four_executions_can_finish_at_once() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let mut running = JoinSet::new();
    for number in 0..64 {
        let store = store.clone();
        running.spawn(async move { run_one(&store, number).await });
    }
    running.join_all().await;
    assert_eq!(all(&store).await.unwrap().len(), 64);
}

#[test]
fn writes_that_wait_together_share_one_commit_and_one_refusal_spares_the_others() {
    let path = TempDir::new().unwrap();
    let directory = Arc::new(Directory::lock(path.path()).unwrap());
    let (connection, marker) = database::open(&directory).unwrap();
    let before = marker.commits;
    let (queue, writes) = mpsc::channel(64);
    let mut outcomes = Vec::new();
    for number in 0..64u128 {
        let (reply, outcome) = oneshot::channel();
        let record = Record::new(&queued(number % 60)).unwrap();
        assert!(queue.try_send(Write::Insert { record, submission: None, reply }).is_ok());
        outcomes.push(outcome);
    }
    drop(queue);
    Writer::new(connection, marker, Arc::clone(&directory)).run(writes);
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome.blocking_recv().unwrap() {
            Ok(()) => assert!(number < 60),
            Err(error) => assert!(number >= 60 && matches!(error, StoreError::Duplicate(_))),
        }
    }
    assert_eq!(directory.marker().unwrap().unwrap().commits, before + 1);
}

#[tokio::test]
async fn what_waits_is_kept_whole_until_it_is_recorded_that_it_runs() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let [first, second, third] = [1, 2, 3].map(ExecutionId::from_bits);
    for number in [1, 2] {
        store.insert_waiting(&queued(number), format!("{{\"n\": {number}}}")).await.unwrap();
    }
    store.insert(&queued(3)).await.unwrap();
    assert!(matches!(store.begin(third).await, Err(StoreError::Unknown(_))));
    store.begin(first).await.unwrap();
    store.begin(second).await.unwrap();
    store.close().await.unwrap();

    let store = Store::open(directory.path()).unwrap();
    let kept = async |id| store.waiting(id).await.unwrap().map(|it| (it.submission, it.begun));
    assert_eq!(kept(first).await, Some(("{\"n\": 1}".to_owned(), true)));
    assert_eq!(kept(third).await, None);
    store.wait_again(&queued(1)).await.unwrap();
    assert_eq!(kept(first).await, Some(("{\"n\": 1}".to_owned(), false)));
    store.update(&Execution { state: State::Running, ..queued(1) }).await.unwrap();
    assert_eq!(kept(first).await, None);
    store.finish(&finished(2), &artifacts(2), None).await.unwrap();
    assert_eq!(kept(second).await, None);
}

#[tokio::test]
async fn a_database_of_a_version_before_is_used_with_what_it_lacks_added() {
    for (version, gone) in [
        (4, "kept"),
        (3, "kept output"),
        (2, "kept output begun waiting"),
        (1, "kept output begun waiting session"),
    ] {
        let directory = TempDir::new().unwrap();
        let store = Store::open(directory.path()).unwrap();
        run_one(&store, 1).await;
        let other = Execution { owner_uid: OWNER + 1, ..queued(7) };
        store.insert(&other).await.unwrap();
        let mut large = artifacts(7);
        large.artifacts[0].size = 1 << 20;
        let other = Execution { owner_uid: OWNER + 1, ..finished(7) };
        store.finish(&other, &large, None).await.unwrap();
        store.close().await.unwrap();
        let path = directory.path().join("state.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        for table in gone.split(' ') {
            old.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        }
        old.execute_batch(&format!("PRAGMA user_version = {version}")).unwrap();
        drop(old);

        let store = Store::open(directory.path()).unwrap();
        assert_eq!(numbers(&all(&store).await.unwrap()), [7, 1]);
        assert_eq!(store.keepers().await.unwrap(), [OWNER + 1]); // counted by its record
        store.insert_waiting(&queued(2), "{}".to_owned()).await.unwrap();
        assert!(store.waiting(ExecutionId::from_bits(2)).await.unwrap().is_some());
        assert_eq!(store.sessions().await.unwrap().len(), 0);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn little_output_is_recorded_with_its_end_and_goes_with_its_record() {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let said = SmallOutput { stdout: b"1\n\0".to_vec(), ..SmallOutput::default() };
    store.insert(&queued(1)).await.unwrap();
    store.finish(&finished(1), &artifacts(1), Some(said.clone())).await.unwrap();
    run_one(&store, 2).await;
    let [one, two] = [1, 2].map(ExecutionId::from_bits);
    assert_eq!(store.output(one).await.unwrap(), Some(said));
    assert_eq!(store.output(two).await.unwrap(), None);
    assert_eq!(prune(&store, 1, &HashSet::new()).await, [1]);
    assert_eq!(store.output(one).await.unwrap(), None);
}
