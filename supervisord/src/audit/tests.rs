//! The log on a real file system, held against the verifier that anybody has.

use std::fs;
use std::path::{Path, PathBuf};

use supervisor_api::{
    Administration, AuditEvent, AuditFilter, ExecutionId, Fault, Head, HeadState, PublicKey,
    Report, Subject, Verifier, What,
};
use tempfile::TempDir;

use super::{Audit, AuditError, Settings};

fn event(number: u32) -> AuditEvent {
    let act = Administration { act: "cancel".into(), by: Some(number), object: None };
    let execution = Some(ExecutionId::from_bits(u128::from(number % 7)));
    What::Cancellation(act).about(Subject { execution, ..Subject::default() })
}

fn directory(state: &TempDir) -> PathBuf {
    state.path().join("audit")
}

fn open(state: &TempDir) -> Audit {
    Audit::open(state.path(), Settings::default()).unwrap()
}

async fn write(audit: &Audit, numbers: impl Iterator<Item = u32>) {
    for number in numbers {
        audit.write(event(number)).await.unwrap();
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    super::directory::files(directory).unwrap().into_iter().map(|file| file.path).collect()
}

fn verify(state: &TempDir) -> Report {
    let directory = directory(state);
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let key: PublicKey = text("key.pub").trim().parse().unwrap();
    let mut verifier = Verifier::new(vec![key], Head::parse(&text("head")));
    for path in files(&directory) {
        let (name, bytes) = (path.display().to_string(), fs::read(&path).unwrap());
        for (number, line) in (1..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
            verifier.line(&name, number, line);
        }
    }
    verifier.finish()
}

fn refusal(state: &TempDir) -> String {
    match Audit::open(state.path(), Settings::default()) {
        Err(AuditError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_chain_goes_on_over_restarts() {
    let state = tempfile::tempdir().unwrap();
    for (round, head) in [HeadState::New, HeadState::Reached, HeadState::Reached].iter().enumerate()
    {
        let audit = open(&state);
        assert_eq!(audit.head(), *head);
        write(&audit, 0..5).await;
        audit.close().await;
        let report = verify(&state);
        assert!(report.is_whole(), "{report:?}");
        assert_eq!((report.records, report.signed), (6 * (round as u64 + 1) + 1, report.last));
    }
}

#[tokio::test]
async fn a_record_is_in_the_file_when_its_recorder_is_told_so() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    for number in 1..=50 {
        audit.write(event(number)).await.unwrap();
        let bytes = fs::read(&files(&directory(&state))[0]).unwrap();
        assert!(bytes.iter().filter(|byte| **byte == b'\n').count() >= number as usize);
    }
    audit.close().await;
    assert_eq!(audit.write(event(0)).await, Err(super::Unaudited::Closed));
}

#[tokio::test]
async fn a_torn_end_is_cut_off_kept_and_recorded() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    write(&audit, 0..3).await;
    audit.close().await;
    let path = files(&directory(&state)).remove(0);
    let whole = fs::read(&path).unwrap();
    let torn = b"{\"seq\":5,\"time\":\"2026".as_slice();
    fs::write(&path, [whole.as_slice(), torn].concat()).unwrap();
    assert_eq!(verify(&state).findings[0].fault, Fault::Torn);
    let audit = open(&state);
    write(&audit, 0..1).await;
    let filter = AuditFilter { kind: Some("repair".into()), ..AuditFilter::default() };
    let found = audit.search(filter, 0, 10).await.unwrap().records;
    let [record] = found.as_slice() else { panic!("{found:?}") };
    let What::Repair(repair) = &record.event.what else { panic!("{record:?}") };
    assert_eq!((record.seq, repair.bytes), (6, torn.len() as u64));
    assert_eq!(fs::read(directory(&state).join(&repair.kept)).unwrap(), torn);
    audit.close().await;
    assert!(verify(&state).is_whole());
}

#[tokio::test]
async fn what_no_crash_does_is_refused_at_the_start() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    write(&audit, 0..9).await;
    audit.close().await;
    let path = files(&directory(&state)).remove(0);
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    changed[100] ^= 1;
    fs::write(&path, &changed).unwrap();
    assert!(refusal(&state).contains("before its last checkpoint"));
    let shorter: Vec<u8> =
        whole.split_inclusive(|byte| *byte == b'\n').take(4).flatten().copied().collect();
    fs::write(&path, &shorter).unwrap();
    assert_eq!(refusal(&state), "ends at record 4, and 11 were on disk");
    assert_eq!(fs::read(&path).unwrap(), shorter, "left as it was");
    fs::remove_file(&path).unwrap();
    assert_eq!(refusal(&state), "ends at record 0, and 11 were on disk");
    fs::write(&path, &shorter).unwrap();
    fs::remove_file(directory(&state).join("head")).unwrap();
    let audit = open(&state);
    assert_eq!(audit.head(), HeadState::Missing);
    audit.close().await;
}

#[tokio::test]
async fn a_log_that_is_put_back_whole_from_an_older_copy_is_found_out() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    write(&audit, 0..3).await;
    audit.close().await;
    let copy = tempfile::tempdir().unwrap();
    let copied = |from: &Path, to: &Path| {
        for entry in fs::read_dir(from).unwrap().flatten() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    };
    copied(&directory(&state), copy.path());
    let audit = open(&state);
    write(&audit, 3..9).await;
    audit.close().await;
    copied(copy.path(), &directory(&state));
    assert!(verify(&state).is_whole(), "by itself nothing tells");
    let reason = refusal(&state);
    assert!(
        reason.starts_with("ends at record 5, and ") && reason.ends_with(" were on disk"),
        "{reason}"
    );
    fs::remove_file(directory(&state).join("head")).unwrap();
    let audit = open(&state);
    assert_eq!(audit.head(), HeadState::Missing, "somebody has accepted it, and the log says so");
    write(&audit, 9..12).await;
    audit.close().await;
    assert_eq!(open(&state).head(), HeadState::Reached);
}

#[tokio::test]
async fn files_are_bounded_and_what_is_removed_is_stated() {
    let state = tempfile::tempdir().unwrap();
    let settings = Settings { file_bytes: 1, total_bytes: 1, journal: false }; // the least there is
    let audit = Audit::open(state.path(), settings).unwrap();
    for number in 0..4000 {
        audit.record(event(number)).unwrap();
        if number % 100 == 0 {
            audit.write(event(number)).await.unwrap();
        }
    }
    audit.close().await;
    let files = files(&directory(&state));
    let total: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((2..=4).contains(&files.len()) && total <= 5 << 16, "{total} in {files:?}");
    let report = verify(&state);
    assert!(report.is_whole() && report.first > 1, "{report:?}");
    fs::remove_file(&files[0]).unwrap();
    assert_eq!(verify(&state).findings[0].fault, Fault::Dropped);
    let audit = Audit::open(state.path(), settings).unwrap();
    audit.close().await;
}

#[tokio::test]
async fn records_are_found_by_what_they_are_about_and_in_pages() {
    let state = tempfile::tempdir().unwrap();
    let settings = Settings { file_bytes: 100 << 10, total_bytes: 1 << 30, journal: false };
    let audit = Audit::open(state.path(), settings).unwrap();
    for number in 0..2000 {
        audit.record(event(number)).unwrap();
    }
    audit.write(event(2000)).await.unwrap();
    let execution = Some(ExecutionId::from_bits(3));
    let filter = AuditFilter { execution, ..AuditFilter::default() };
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = audit.search(filter.clone(), after, 100).await.unwrap();
        assert!(page.records.len() <= 100);
        found.extend(page.records);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(found.len(), 286);
    assert!(found.is_sorted_by_key(|record| record.seq));
    let middle = found[150].time.clone();
    let later = AuditFilter { since: middle.parse().ok(), ..filter.clone() };
    let earlier = AuditFilter { until: middle.parse().ok(), ..filter };
    let (later, earlier) = (
        audit.search(later, 0, 1000).await.unwrap(),
        audit.search(earlier, 0, 1000).await.unwrap(),
    );
    assert_eq!(later.records.len() + earlier.records.len(), 286);
    assert!(later.records.iter().all(|record| record.time >= middle));
    audit.close().await;
}

#[tokio::test]
async fn a_record_takes_microseconds() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    let begin = std::time::Instant::now();
    for number in 0..10_000 {
        audit.record(event(number)).unwrap();
    }
    let queued = begin.elapsed() / 10_000;
    audit.write(event(0)).await.unwrap();
    let written = begin.elapsed() / 10_000;
    let begin = std::time::Instant::now();
    for number in 0..50 {
        audit.write(event(number)).await.unwrap();
    }
    let waited = begin.elapsed() / 50;
    let begin = std::time::Instant::now();
    for number in 0..50 {
        audit.write_durably(event(number), || {}).await.unwrap();
    }
    let durable = begin.elapsed() / 50;
    eprintln!(
        "queued {queued:?}, written {written:?}; one in the file {waited:?}, on disk {durable:?}"
    );
    assert!(written.as_micros() < 1000, "{written:?}"); // an unoptimised build on a busy machine
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_that_are_faster_than_the_disk_wait_and_nothing_of_theirs_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let audit = open(&state);
    let backlog = audit.source();
    // Four times as many as the queue holds, by as many as can be in one place at once.
    let sources = (0..256).map(|source| {
        let (audit, backlog) = (audit.clone(), backlog.clone());
        tokio::spawn(async move {
            for number in 0..256 {
                audit.room(&backlog).await;
                audit.record_of(&backlog, event(source * 256 + number)).unwrap();
            }
        })
    });
    for source in sources.collect::<Vec<_>>() {
        source.await.unwrap();
    }
    audit.close().await;
    let report = verify(&state);
    assert!(report.is_whole(), "{report:?}");
    assert!(report.records >= 256 * 256, "{report:?}");
}
