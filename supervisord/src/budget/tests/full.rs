//! A state directory without space, on a small file system of the test's own.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use supervisor_api::SessionId;
use tokio::time::timeout;

use super::*;
use crate::alone::in_a_mount_namespace_of_its_own;

fn fill(directory: &Path) {
    let mut ballast = File::create(directory.join("ballast")).unwrap();
    while ballast.write_all(&[1; 4096]).is_ok() {}
}

/// One request of another session.
fn of_session(number: u128) -> Arc<[Charge]> {
    let mut charge = requests(1000)[0].clone();
    charge.account = Account::Session(SessionId::from_bits(number));
    [charge].into()
}

/// Spends once it is told that there is something to spend.
async fn spend_when_kept(ledger: &Ledger, charges: &Arc<[Charge]>) {
    loop {
        let mut changed = pin!(ledger.shared.changed.notified());
        changed.as_mut().enable();
        match spend(ledger, charges).await {
            Ok(()) => return,
            Err(Denied::Unkept) => {}
            Err(other) => panic!("{other}"),
        }
        timeout(Duration::from_secs(60), changed).await.expect("it is tried again");
    }
}

#[tokio::test]
async fn a_moment_without_space_closes_no_budget_for_longer_and_nothing_is_forgotten_to_be_forgotten()
 {
    const OWN: &str = "budget::tests::full::a_moment_without_space_closes_no_budget_for_longer_and_nothing_is_forgotten_to_be_forgotten";
    let Some(directory) = in_a_mount_namespace_of_its_own(OWN) else { return };
    let directory: &Path = &directory;
    mount(Some("tmpfs"), directory, Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
    let ledger = Ledger::open(directory).unwrap();
    let (lasting, reset, ended) = (of_session(1), of_session(2), of_session(3));
    for charges in [&lasting, &reset, &ended] {
        spend(&ledger, charges).await.unwrap();
    }
    let mut spent = 1;
    for round in 0..3 {
        fill(directory);
        let refused = loop {
            match spend(&ledger, &lasting).await {
                Ok(()) => spent += 1,
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Denied::Unkept, "round {round}");
        assert!(refused.remedy().contains("make room"), "{}", refused.remedy());
        ledger.reset(&reset[0].account).unwrap();
        ledger.forget(&ended[0].account);
        fs::remove_file(directory.join("ballast")).unwrap();
        spend_when_kept(&ledger, &lasting).await;
        spent += 1;
    }
    // As after kill -9: what the database has is all there is.
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let known = Ledger::open(copy.path()).unwrap().list(None).budgets;
    let lasts = lasting[0].account.to_string();
    assert_eq!(known.iter().map(|each| &each.account).collect::<Vec<_>>(), [&lasts]);
    assert!(known[0].meters[0].spent >= spent, "{known:?}");
    ledger.close().await;
    let known = Ledger::open(directory).unwrap().list(None).budgets;
    let of_it = known.iter().find(|each| each.account == lasts).unwrap();
    assert_eq!(of_it.meters[0].spent, spent);
}
