//! State that is not as it was left: 200 copies of a state directory, each damaged in another way.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::{OWNER, all, finished, numbers, queued, run_one};
use crate::store::{Store, StoreError};

/// More than opening takes on a slow machine; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Files of a state directory that can be damaged.
const FILES: [&str; 4] = ["state.db", "state.db-wal", "state.db-shm", "initialised"];

/// What the records should say, once opened.
const EXECUTIONS: u128 = 40;

/// Random numbers that are the same in every run (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A state directory as a killed daemon leaves it: part of it in the database, part in the log.
async fn original() -> TempDir {
    let (live, copy) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Store::open(live.path()).unwrap();
    for number in 0..EXECUTIONS / 2 {
        run_one(&store, number).await;
    }
    store.close().await.unwrap();
    let store = Store::open(live.path()).unwrap();
    for number in EXECUTIONS / 2..EXECUTIONS - 1 {
        run_one(&store, number).await;
    }
    store.insert(&queued(EXECUTIONS - 1)).await.unwrap();
    copy_files(live.path(), copy.path());
    copy
}

fn copy_files(from: &Path, to: &Path) {
    for file in FILES {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Opens the directory and reads everything, in a thread so that a hang is seen.
fn open(directory: &Path) -> Result<Vec<supervisor_api::Execution>, StoreError> {
    let (sender, receiver) = mpsc::channel();
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = Store::open(&directory).and_then(|store| {
            runtime.block_on(async {
                let read = all(&store).await;
                store.close().await?;
                read
            })
        });
        sender.send(read).unwrap();
    });
    receiver.recv_timeout(PATIENCE).expect("opening neither hangs nor panics")
}

/// Either everything is there, or a reason and a way out are given.
fn assert_whole_or_refused(directory: &Path, damage: &str) -> bool {
    match open(directory) {
        Ok(executions) => {
            let expected: Vec<u128> = (0..EXECUTIONS).rev().collect();
            assert_eq!(numbers(&executions), expected, "{damage}");
            assert!(executions.iter().all(|execution| execution.owner_uid == OWNER), "{damage}");
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "{damage}");
            false
        }
    }
}

fn refusal(directory: &Path, damage: &str) -> (String, &'static str) {
    match open(directory) {
        Err(StoreError::Refused { reason, remedy, .. }) => (reason, remedy),
        other => panic!("{damage}: {other:?}"),
    }
}

#[tokio::test]
async fn state_with_flipped_bytes_is_whole_or_refused() {
    let original = original().await;
    let mut dice = Dice(0x5eed);
    let mut refused = 0;
    for round in 0..120 {
        let copy = TempDir::new().unwrap();
        copy_files(original.path(), copy.path());
        let name = FILES[round % FILES.len()];
        let file = OpenOptions::new().read(true).write(true).open(copy.path().join(name)).unwrap();
        let length = file.metadata().unwrap().len();
        let flips = 1 + dice.roll(64);
        for _ in 0..flips {
            let (offset, mut byte) = (dice.roll(length), [0]);
            file.read_exact_at(&mut byte, offset).unwrap();
            byte[0] ^= 1 + dice.roll(255) as u8;
            file.write_all_at(&byte, offset).unwrap();
        }
        refused += usize::from(!assert_whole_or_refused(copy.path(), &format!("{round} {name}")));
    }
    assert!(refused > 30, "only {refused} of the damaged copies were noticed");
}

#[tokio::test]
async fn state_cut_at_any_page_is_whole_or_refused() {
    let original = original().await;
    let mut variants = 0;
    for name in FILES {
        let length = fs::metadata(original.path().join(name)).unwrap().len();
        let step = (length / 20).next_multiple_of(4096);
        for cut in (0..length).step_by(step as usize) {
            let copy = TempDir::new().unwrap();
            copy_files(original.path(), copy.path());
            OpenOptions::new()
                .write(true)
                .open(copy.path().join(name))
                .unwrap()
                .set_len(cut)
                .unwrap();
            let whole = assert_whole_or_refused(copy.path(), &format!("{name} cut at {cut}"));
            assert!(!whole || name == "state.db-shm", "{name} cut at {cut} went unnoticed");
            variants += 1;
        }
    }
    assert!(variants >= 40, "{variants}");
}

#[tokio::test]
async fn state_that_is_missing_or_something_else_is_refused() {
    let original = original().await;
    type Replace = fn(&Path);
    let replacements: [(&str, Replace); 7] = [
        ("nothing", |_| ()),
        ("nothing at all in it", |path| fs::write(path, "").unwrap()),
        ("text", |path| fs::write(path, "no database ".repeat(1000)).unwrap()),
        ("zeros", |path| fs::write(path, [0; 16384]).unwrap()),
        ("a FIFO", |path| mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link", |path| symlink("/dev/null", path).unwrap()),
    ];
    for name in FILES.into_iter().chain(["state.db-journal", "lock"]) {
        for (what, replace) in replacements {
            let copy = TempDir::new().unwrap();
            copy_files(original.path(), copy.path());
            drop(fs::remove_file(copy.path().join(name))); // two of them are not there
            replace(&copy.path().join(name));
            let damage = format!("{name} is {what}");
            let whole = assert_whole_or_refused(copy.path(), &damage);
            let harmless = match name {
                "state.db-shm" => true,
                "initialised" | "state.db-journal" => what == "nothing",
                "lock" => fs::symlink_metadata(copy.path().join(name)).unwrap().is_file(),
                _ => false,
            };
            assert!(!whole || harmless, "{damage} went unnoticed");
        }
    }
}

#[tokio::test]
async fn the_reason_of_a_refusal_says_what_is_wrong() {
    let original = original().await;
    let damaged = |damage: &dyn Fn(&Path)| {
        let copy = TempDir::new().unwrap();
        copy_files(original.path(), copy.path());
        damage(copy.path());
        let before = listing(copy.path());
        let refusal = refusal(copy.path(), "");
        assert_eq!(listing(copy.path()), before, "a refusal leaves everything as it was");
        refusal
    };
    let sql = |path: &Path, statement: &str| {
        rusqlite::Connection::open(path.join("state.db"))
            .unwrap()
            .execute_batch(statement)
            .unwrap();
        let kept = original.path().join("state.db-shm");
        drop(fs::copy(kept, path.join("state.db-shm"))); // so that the listings can be compared
        drop(OpenOptions::new().create(true).append(true).open(path.join("state.db-wal")));
    };

    let (reason, remedy) = damaged(&|path| sql(path, "PRAGMA user_version = 7"));
    assert!(reason.contains("schema 7"), "{reason}");
    assert!(remedy.contains("newer version"), "{remedy}");
    let (reason, _) = damaged(&|path| sql(path, "PRAGMA application_id = 7"));
    assert!(reason.contains("not a state database"), "{reason}");
    let (reason, _) = damaged(&|path| sql(path, "DROP INDEX execution_owner"));
    assert!(reason.contains("tables"), "{reason}");
    let (reason, _) = damaged(&|path| {
        sql(path, "UPDATE execution SET record = replace(record, 'usage', 'usual')")
    });
    assert!(reason.contains("the record of ex-"), "{reason}");
    let (reason, _) = damaged(&|path| sql(path, "DELETE FROM state"));
    assert!(reason.contains("damaged"), "{reason}");
    let (reason, remedy) = damaged(&|path| fs::write(path.join("state.db-wal"), "").unwrap());
    assert!(reason.contains("lost its newest 39 of 79 commits"), "{reason}");
    assert!(remedy.contains("remove the file `initialised`"), "{remedy}");
}

fn listing(directory: &Path) -> BTreeSet<(String, Vec<u8>)> {
    FILES
        .into_iter()
        .filter(|name| *name != "state.db-shm") // SQLite's own scratch pad
        .map(|name| (name.to_owned(), fs::read(directory.join(name)).unwrap()))
        .collect()
}

#[tokio::test]
async fn another_or_an_older_database_in_the_place_of_this_one_is_refused() {
    let (ours, other) = (original().await, original().await);
    for name in ["state.db", "state.db-wal"] {
        fs::copy(other.path().join(name), ours.path().join(name)).unwrap();
    }
    let (reason, _) = refusal(ours.path(), "another database");
    assert!(reason.contains("another database"), "{reason}");

    let (live, older) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = Store::open(live.path()).unwrap();
    run_one(&store, 1).await;
    store.close().await.unwrap();
    fs::copy(live.path().join("state.db"), older.path().join("state.db")).unwrap();
    let store = Store::open(live.path()).unwrap();
    run_one(&store, 2).await;
    store.close().await.unwrap();
    fs::copy(older.path().join("state.db"), live.path().join("state.db")).unwrap();
    let (reason, _) = refusal(live.path(), "an older database");
    assert!(reason.contains("lost its newest 2 of 4 commits"), "{reason}");

    // The way out that the refusal names.
    fs::remove_file(live.path().join("initialised")).unwrap();
    assert_eq!(open(live.path()).unwrap(), [finished(1)]);
    assert_eq!(open(live.path()).unwrap(), [finished(1)]);
}

/// A state directory of the version before, with something done to its database.
async fn of_the_version_before(damage: &str) -> TempDir {
    let directory = TempDir::new().unwrap();
    let store = Store::open(directory.path()).unwrap();
    run_one(&store, 1).await;
    store.close().await.unwrap();
    let old = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
    let older = "DROP TABLE kept; PRAGMA user_version = 4; PRAGMA ignore_check_constraints = ON;";
    old.execute_batch(&format!("{older} {damage}")).unwrap();
    directory
}

#[tokio::test]
async fn what_is_refused_of_an_older_version_is_left_to_the_version_that_wrote_it() {
    for (damage, expected) in [
        ("UPDATE state SET commits = 1", "lost its newest"),
        ("UPDATE artifacts SET list = '{'", "damaged"),
        ("UPDATE execution SET record = json_remove(record, '$.limits')", "damaged"),
    ] {
        let directory = of_the_version_before(damage).await;
        let (reason, _) = refusal(directory.path(), damage);
        assert!(reason.contains(expected), "{damage}: {reason}");
        let old = rusqlite::Connection::open(directory.path().join("state.db")).unwrap();
        let version: i32 = old.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!((version, old.table_exists(None, "kept").unwrap()), (4, false), "{damage}");
    }
}

#[tokio::test]
async fn a_database_whose_making_was_interrupted_is_made_again() {
    let directory = TempDir::new().unwrap();
    for leftover in ["state.db.new", "state.db.new-wal", "initialised.new"] {
        fs::write(directory.path().join(leftover), "half").unwrap();
    }
    assert_eq!(open(directory.path()).unwrap(), []);
    for leftover in ["state.db.new", "state.db.new-wal", "initialised.new"] {
        assert!(!directory.path().join(leftover).exists(), "{leftover}");
    }
    // Whole, named, and killed before the marker was written.
    fs::remove_file(directory.path().join("initialised")).unwrap();
    assert_eq!(open(directory.path()).unwrap(), []);
    assert!(directory.path().join("initialised").exists());
}
