//! Budgets over a real database, killed and restarted.

mod full;

use std::sync::Arc;
use std::time::Instant;

use proptest::prelude::*;
use supervisor_api::SessionId;
use tempfile::TempDir;

use super::book::{Book, Verdict};
use super::keeper::Word;
use super::*;

fn charges(limits: BudgetLimits) -> Arc<[Charge]> {
    let account = Account::Session(SessionId::from_bits(1));
    [Charge { account, limits, owner: Some(7) }].into()
}

fn requests(limit: u64) -> Arc<[Charge]> {
    charges(BudgetLimits { requests: Some(limit), ..BudgetLimits::default() })
}

const ONE: Spending<'static> =
    Spending { requests: 1, unsafe_method: false, bytes_out: 0, bytes_in: 0, host: None };

async fn spend(ledger: &Ledger, charges: &Arc<[Charge]>) -> Result<(), Denied> {
    ledger.reserve(charges, &ONE).await.map(|reservation| reservation.settle(0, 0))
}

/// What is left when everything is spent that can be.
async fn spend_all(ledger: &Ledger, charges: &Arc<[Charge]>) -> u64 {
    let mut count = 0;
    while spend(ledger, charges).await.is_ok() {
        count += 1;
    }
    count
}

/// A copy of the state as a killed daemon leaves it.
fn killed(state: &TempDir) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(state.path()).unwrap().flatten() {
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

#[tokio::test]
async fn a_budget_gives_what_it_has_and_the_refusal_says_what_is_left() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    let bytes = charges(BudgetLimits { bytes_out: Some(1000), ..BudgetLimits::default() });
    let ask = |bytes_out| Spending { bytes_out, ..ONE };
    let first = ledger.reserve(&bytes, &ask(800)).await.unwrap();
    let Err(Denied::Exhausted(refusal)) = ledger.reserve(&bytes, &ask(300)).await else { panic!() };
    assert_eq!((refusal.meter, refusal.left, refusal.asked), (Meter::BytesOut, 200, 300));
    assert!(refusal.to_string().contains("has 200 of 1000 bytes_out left"), "{refusal}");
    first.settle(100, 0);
    let mut second = ledger.reserve(&bytes, &ask(300)).await.unwrap();
    second.moved(900, 0).unwrap();
    assert!(second.moved(1, 0).is_err());
    let left = ledger.list(Some(7)).budgets;
    assert_eq!((left[0].meters[0].spent, left[0].meters[0].left), (1000, 0));
    assert_eq!(ledger.list(Some(8)).budgets, []);
}

#[tokio::test]
async fn what_is_spent_stays_spent_over_a_restart_in_order() {
    let state = tempfile::tempdir().unwrap();
    let charges = requests(1000);
    for round in 0..4 {
        let ledger = Ledger::open(state.path()).unwrap();
        let spent = ledger.list(None).budgets.first().map_or(0, |budget| budget.meters[0].spent);
        assert_eq!(spent, round * 100);
        for _ in 0..100 {
            spend(&ledger, &charges).await.unwrap();
        }
        ledger.close().await;
    }
    let ledger = Ledger::open(state.path()).unwrap();
    assert_eq!(spend_all(&ledger, &charges).await, 600);
}

#[tokio::test]
async fn a_killed_daemon_never_lets_more_be_spent_and_loses_a_block_at_the_most() {
    for limit in [1, 3, 50, 5000] {
        let mut state = tempfile::tempdir().unwrap();
        let charges = requests(limit);
        let mut total = 0;
        for _ in 0..3 {
            let ledger = Ledger::open(state.path()).unwrap();
            for _ in 0..limit / 5 + 1 {
                total += u64::from(spend(&ledger, &charges).await.is_ok());
            }
            state = killed(&state);
        }
        let ledger = Ledger::open(state.path()).unwrap();
        total += spend_all(&ledger, &charges).await;
        let block = Meter::Requests.block(limit);
        assert!(
            total <= limit && total + 3 * (block + block / 2 + 1) >= limit,
            "{total} of {limit}"
        );
    }
}

#[tokio::test]
async fn hosts_are_counted_once_and_remembered() {
    let state = tempfile::tempdir().unwrap();
    let charges = charges(BudgetLimits { hosts: Some(2), ..BudgetLimits::default() });
    let to = |host| Spending { host: Some(host), ..ONE };
    let ledger = Ledger::open(state.path()).unwrap();
    for host in ["a.example", "b.example", "a.example", "b.example"] {
        ledger.reserve(&charges, &to(host)).await.unwrap().settle(0, 0);
    }
    let state = killed(&state);
    let ledger = Ledger::open(state.path()).unwrap();
    ledger.reserve(&charges, &to("a.example")).await.unwrap().settle(0, 0);
    let Err(Denied::Exhausted(refusal)) = ledger.reserve(&charges, &to("c.example")).await else {
        panic!()
    };
    assert_eq!((refusal.meter, refusal.left), (Meter::Hosts, 0));
    ledger.forget(&Account::Session(SessionId::from_bits(1)));
    ledger.reserve(&charges, &to("c.example")).await.unwrap().settle(0, 0);
}

#[tokio::test]
async fn a_refusal_by_one_budget_does_not_block_the_others() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    let session = requests(10)[0].clone();
    let limits = BudgetLimits { requests: Some(0), ..BudgetLimits::default() };
    let uid = Charge { account: Account::Uid(7), limits, owner: Some(7) };
    let both: Arc<[Charge]> = [session.clone(), uid].into();
    assert!(spend(&ledger, &both).await.is_err());
    spend(&ledger, &[session].into()).await.unwrap();
}

#[test]
fn a_window_that_is_over_begins_anew() {
    let mut book = Book::default();
    let limits = BudgetLimits { requests: Some(1), window: Some(60), ..BudgetLimits::default() };
    let charges = charges(limits);
    let mut ask = |now| loop {
        match book.reserve(&charges, &ONE, now) {
            Verdict::Taken(..) => return true,
            Verdict::Exhausted(..) => return false,
            Verdict::Wait(words) => {
                for word in words {
                    if let Word::Grant(grant) = word {
                        book.granted(&grant);
                    }
                }
            }
            Verdict::Unkept(_) => panic!(),
        }
    };
    assert_eq!([0, 59, 60, 119, 120].map(&mut ask), [true, false, true, false, true]);
}

#[test]
fn a_window_that_got_longer_goes_on_with_what_was_spent() {
    let mut book = Book::default();
    let of = |window| {
        let limits = BudgetLimits { requests: Some(2), window, ..BudgetLimits::default() };
        charges(limits)
    };
    assert!(taken(&mut book, &of(Some(60)), &ONE, 86_400 + 90).is_some());
    for (window, now) in [(Some(86_400), 86_400 + 91), (None, 86_400 + 92)] {
        assert_eq!(taken(&mut book, &of(window), &ONE, now).is_some(), window.is_some());
    }
    assert!(taken(&mut book, &of(Some(86_400)), &ONE, 2 * 86_400).is_some(), "the next day");
}

/// A restart is the only time at which a clock that was set counts.
#[test]
fn a_budget_is_not_had_again_by_a_clock_that_was_set_back_or_right_over_a_restart() {
    const DAY: u64 = 86_400;
    let limits = BudgetLimits { requests: Some(1), window: Some(DAY), ..BudgetLimits::default() };
    let charges = charges(limits);
    let left_by = |now: u64| {
        let mut book = Book::default();
        assert!(taken(&mut book, &charges, &ONE, now).is_some());
        book.close().remove(0)
    };
    let now = 20_000 * DAY + 100;
    for (then, case) in [(now, "right"), (now + DAY, "set back"), (now + 3650 * DAY, "years ahead")]
    {
        let mut book = Book::default();
        book.restore(left_by(then), now);
        assert_eq!(book.report(None, now)[0].meters[0].left, 0, "{case}");
        assert!(taken(&mut book, &charges, &ONE, now).is_none(), "{case}");
        assert!(taken(&mut book, &charges, &ONE, now + DAY - 101).is_none(), "{case}");
        assert!(taken(&mut book, &charges, &ONE, now + DAY).is_some(), "{case}: no lock-out");
    }
    let mut book = Book::default();
    book.restore(left_by(now - DAY), now);
    assert!(taken(&mut book, &charges, &ONE, now).is_some(), "of the day before");
}

#[tokio::test]
async fn a_reservation_takes_microseconds() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    let limits = BudgetLimits {
        requests: Some(10_000_000),
        bytes_out: Some(1 << 40),
        ..BudgetLimits::default()
    };
    let session = charges(limits)[0].clone();
    let uid = Charge { account: Account::Uid(7), ..session.clone() };
    let both: Arc<[Charge]> = [session, uid].into();
    let begin = Instant::now();
    for _ in 0..10_000 {
        spend(&ledger, &both).await.unwrap();
    }
    let each = begin.elapsed() / 10_000;
    eprintln!("a reservation on two budgets: {each:?}");
    assert!(each.as_micros() < 500, "{each:?}"); // an unoptimised build on a busy machine
}

proptest! {
    #[test]
    fn no_order_of_asking_and_granting_spends_more_than_the_limit(
        limit in 1u64..200,
        steps in prop::collection::vec((0u64..20, any::<bool>()), 1..200),
    ) {
        let charges = requests(limit);
        let (mut book, mut waiting, mut total, mut durable) = (Book::default(), Vec::new(), 0, 0);
        for (asked, grant) in steps {
            let spending = Spending { requests: asked, ..ONE };
            match book.reserve(&charges, &spending, 0) {
                Verdict::Taken(words, _) => { total += asked; waiting.extend(words); }
                Verdict::Wait(words) => waiting.extend(words),
                Verdict::Exhausted(refusal, words) => {
                    prop_assert_eq!(refusal.left, limit - total);
                    waiting.extend(words);
                }
                Verdict::Unkept(_) => prop_assert!(false),
            }
            if grant {
                for word in waiting.drain(..) {
                    if let Word::Grant(grant) = word {
                        durable = durable.max(grant.upto);
                        book.granted(&grant);
                    }
                }
            }
            prop_assert!(total <= durable && durable <= limit || total == 0, "{total} {durable} {limit}");
        }
    }
}

#[tokio::test]
async fn a_reset_gives_all_of_it_back_over_a_restart_too() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    let charges = requests(20);
    assert_eq!(spend_all(&ledger, &charges).await, 20);
    let account = charges[0].account.clone();
    let reset = ledger.reset(&account).unwrap();
    assert_eq!((reset.meters[0].spent, reset.meters[0].left), (0, 20));
    assert_eq!(spend_all(&ledger, &charges).await, 20);
    assert!(ledger.reset(&account).is_some() && ledger.reset(&Account::Uid(1)).is_none());
    ledger.close().await;
    let after = Ledger::open(state.path()).unwrap();
    assert_eq!(spend_all(&after, &charges).await, 20);
}

#[test]
fn a_grant_from_before_a_reset_counts_for_nothing_after_it() {
    let mut book = Book::default();
    let charges = requests(20);
    let Verdict::Wait(words) = book.reserve(&charges, &ONE, 0) else {
        panic!("nothing is granted")
    };
    let Some(Word::Grant(old)) = words.into_iter().next() else { panic!("a grant") };
    assert!(book.reset(&charges[0].account, 0).is_some());
    book.granted(&old);
    assert!(matches!(book.reserve(&charges, &ONE, 0), Verdict::Wait(words) if !words.is_empty()));
}

const NONE_AHEAD: Ahead = Ahead { era: u64::MAX, bytes_out: 0 };

fn of_user(limits: BudgetLimits) -> Arc<[Charge]> {
    [Charge { account: Account::Uid(7), limits, owner: Some(7) }].into()
}

fn configured(table: &str) -> UidBudgets {
    let table: ConfiguredBudget = toml::from_str(table).unwrap();
    UidBudgets::of(&[table]).unwrap()
}

/// Takes it, and has all grants on disk that it asks for.
fn taken(book: &mut Book, charges: &[Charge], spending: &Spending<'_>, now: u64) -> Option<u64> {
    loop {
        match book.reserve(charges, spending, now) {
            Verdict::Taken(_, era) => return Some(era),
            Verdict::Exhausted(..) => return None,
            Verdict::Wait(words) => {
                for word in words {
                    if let Word::Grant(grant) = word {
                        book.granted(&grant);
                    }
                }
            }
            Verdict::Unkept(_) => panic!(),
        }
    }
}

#[test]
fn a_connection_older_than_a_change_of_the_window_is_held_to_the_new_one() {
    let mut book = Book::default();
    book.limit_uids(configured("bytes_out = 100\nwindow = 86400"));
    let old: Arc<[Charge]> = [book.charge_of(7)].into();
    assert!(taken(&mut book, &old, &ONE, 100_000).is_some());
    book.limit_uids(configured("bytes_out = 10\nwindow = 60"));
    let new: Arc<[Charge]> = [book.charge_of(7)].into();
    let bytes = |bytes_out| Spending { requests: 0, bytes_out, ..ONE };
    assert!(taken(&mut book, &new, &bytes(10), 100_000).is_some());
    let answer = book.spend(&old, &bytes(1), NONE_AHEAD, 100_001);
    assert!(matches!(answer, Verdict::Exhausted(ref over, _) if over.limit == 10), "{answer:?}");
    assert!(taken(&mut book, &new, &bytes(1), 100_001).is_none(), "it has begun anew");
    book.limit_uids(UidBudgets::default());
    assert!(matches!(book.spend(&old, &bytes(1000), NONE_AHEAD, 100_002), Verdict::Taken(..)));
}

#[test]
fn what_was_set_aside_before_a_reset_or_a_window_is_not_given_back_after_it() {
    let limits = BudgetLimits { bytes_out: Some(100), window: Some(60), ..BudgetLimits::default() };
    let charges = of_user(limits);
    let bytes = |bytes_out| Spending { bytes_out, ..ONE };
    let spent = |book: &Book, now| book.report(None, now)[0].meters[0].spent;
    let mut book = Book::default();
    let first = taken(&mut book, &charges, &bytes(90), 60).unwrap();
    assert!(book.reset(&charges[0].account, 61).is_some());
    let second = taken(&mut book, &charges, &bytes(50), 62).unwrap();
    book.give_back(&charges, first, 90, 0);
    assert_eq!(spent(&book, 63), 50, "of before the reset");
    let third = taken(&mut book, &charges, &bytes(40), 120).unwrap();
    book.give_back(&charges, second, 50, 0);
    assert_eq!(spent(&book, 121), 40, "of the window before");
    book.give_back(&charges, third, 30, 0);
    assert_eq!(spent(&book, 122), 10);
}

#[test]
fn what_was_not_counted_when_it_was_set_aside_is_not_given_back() {
    let mut book = Book::default();
    let requests = BudgetLimits { requests: Some(100), ..BudgetLimits::default() };
    let bytes = Spending { bytes_out: 90, ..ONE };
    let era = taken(&mut book, &of_user(requests), &bytes, 1).unwrap();
    let both = of_user(BudgetLimits { bytes_out: Some(100), ..requests });
    assert!(taken(&mut book, &both, &bytes, 2).is_some());
    book.give_back(&both, era, 90, 0);
    assert_eq!(book.report(None, 3)[0].meters[1].spent, 90);
}

#[tokio::test]
async fn a_connection_older_than_a_user_s_budget_is_counted_from_its_beginning_on() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    ledger.limit_uids(UidBudgets::default());
    let bytes = |bytes_out| Spending { bytes_out, ..ONE };
    let charges: Arc<[Charge]> = [ledger.charge_of(7)].into();
    // One upload that said how long it is, and one that did not.
    let mut said = ledger.reserve(&charges, &bytes(1000)).await.unwrap();
    let mut unsaid = ledger.reserve(&charges, &bytes(0)).await.unwrap();
    said.moved(300, 0).unwrap();
    unsaid.moved(300, 0).unwrap();
    assert_eq!(ledger.list(None).budgets, [], "nothing was counted");
    ledger.limit_uids(configured("bytes_out = 100"));
    said.moved(60, 0).unwrap();
    unsaid.moved(30, 0).unwrap();
    assert!(said.moved(11, 0).is_err() && unsaid.moved(11, 0).is_err());
    let spent = || ledger.list(Some(7)).budgets[0].meters[0].spent;
    assert_eq!(spent(), 90);
    said.settle(360, 0);
    unsaid.settle(330, 0);
    assert_eq!(spent(), 90, "what was set aside before was never taken, and is not given back");
}

#[tokio::test]
async fn a_budget_that_was_gone_for_a_while_gives_nothing_back_of_that_time() {
    let state = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(state.path()).unwrap();
    ledger.limit_uids(configured("bytes_out = 100"));
    let bytes = |bytes_out| Spending { bytes_out, ..ONE };
    let charges: Arc<[Charge]> = [ledger.charge_of(7)].into();
    ledger.reserve(&charges, &bytes(80)).await.unwrap().settle(80, 0);
    ledger.limit_uids(UidBudgets::default());
    let mut between = ledger.reserve(&charges, &bytes(1000)).await.unwrap();
    between.moved(500, 0).unwrap();
    ledger.limit_uids(configured("bytes_out = 100"));
    assert!(between.moved(21, 0).is_err());
    between.moved(20, 0).unwrap();
    between.settle(520, 0);
    assert_eq!(ledger.list(Some(7)).budgets[0].meters[0].spent, 100);
}
