//! Values that change: ahead of their end, after a 401, and how often a source is asked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::request::Parts;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;

use super::support::*;
use crate::credential::*;

fn counting(source: Counting) -> (Arc<Vault>, Arc<Counting>, Arc<Collected>) {
    let source = Arc::new(source);
    let (vault, notices) = vault(vec![definition("key", Supply::Fetched(source.clone()))]);
    (vault, source, notices)
}

async fn sent(vault: &Vault) -> Result<String, CredentialRefusal> {
    let mut head = head("/", &[]);
    prepare(vault, &bind(Place::bearer()), &mut head).await?;
    Ok(values(&head, "authorization").remove(0))
}

/// Many requests at once, and what they carried.
async fn crowd(vault: &Arc<Vault>, count: usize) -> Vec<String> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let vault = vault.clone();
        all.spawn(async move { sent(&vault).await.expect("prepared") });
    }
    all.join_all().await
}

#[tokio::test]
async fn a_crowd_of_requests_asks_a_source_once() {
    let (vault, source, notices) = counting(Counting::default());
    assert_eq!(vault.list()[0].condition, Condition::Unfetched);
    let carried = crowd(&vault, 50).await;
    assert!(carried.iter().all(|value| value == "Bearer value-nr-1"));
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
    assert_eq!(vault.list()[0].condition, Condition::Ready(None));
    let renewed = Notice::Renewed { credential: name("key"), whose: me().clone() };
    assert_eq!(*notices.0.lock().expect("no panic"), [renewed]);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_renewed_ahead_of_its_end_while_requests_go_on_with_the_old_one() {
    let (vault, source, _) =
        counting(Counting { lifetime: Some(Duration::from_secs(1000)), ..Counting::default() });
    assert_eq!(sent(&vault).await.expect("prepared"), "Bearer value-nr-1");
    time::advance(Duration::from_secs(799)).await;
    assert_eq!(sent(&vault).await.expect("prepared"), "Bearer value-nr-1");
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
    time::advance(Duration::from_secs(2)).await;
    let carried = crowd(&vault, 20).await;
    assert!(carried.iter().any(|value| value == "Bearer value-nr-1"), "nobody waits");
    time::sleep(Duration::from_millis(1)).await; // with paused time: until all else is done
    assert_eq!(source.fetched.load(Ordering::SeqCst), 2);
    assert_eq!(sent(&vault).await.expect("prepared"), "Bearer value-nr-2");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_has_ended_is_not_sent() {
    let (vault, _, _) = counting(Counting {
        lifetime: Some(Duration::from_secs(100)),
        fails_from: Some(2),
        ..Counting::default()
    });
    assert_eq!(sent(&vault).await.expect("prepared"), "Bearer value-nr-1");
    time::advance(Duration::from_secs(96)).await;
    assert_eq!(sent(&vault).await.expect_err("ended").code, RefusalCode::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_left_alone_for_longer_each_time() {
    let (vault, source, notices) =
        counting(Counting { fails_from: Some(1), ..Counting::default() });
    for _ in 0..20 {
        let refusal = sent(&vault).await.expect_err("no value");
        assert!(
            !refusal.cause.contains("out of order"),
            "the payload isn't told what the source said"
        );
    }
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
    assert_eq!(
        vault.list()[0].condition,
        Condition::Failed("the source is out of order".to_owned())
    );
    for (pause, count) in [(1, 2), (1, 2), (2, 3), (3, 3), (4, 4), (60, 5), (60, 6)] {
        time::advance(Duration::from_secs(pause)).await;
        sent(&vault).await.expect_err("no value");
        assert_eq!(source.fetched.load(Ordering::SeqCst), count);
    }
    let notices = notices.0.lock().expect("no panic").len();
    assert_eq!(notices, 6);
}

async fn answered_401(vault: &Vault) -> (Vec<Binding>, Prepared) {
    let bindings = bind(Place::bearer());
    let mut head = head("/", &[]);
    let prepared = prepare(vault, &bindings, &mut head).await.expect("prepared");
    assert!(prepared.is_renewable());
    (bindings, prepared)
}

#[tokio::test(start_paused = true)]
async fn fifty_401s_at_once_fetch_one_new_value_and_each_is_retried_once() {
    let (vault, source, _) = counting(Counting::default());
    let mut all = JoinSet::new();
    let mut rejected = Vec::new();
    for _ in 0..50 {
        rejected.push(answered_401(&vault).await);
    }
    time::advance(Duration::from_secs(11)).await;
    for (bindings, prepared) in rejected {
        let vault = vault.clone();
        all.spawn(async move {
            let wanted = wanted(&bindings);
            let (head, again) =
                vault.renew(&wanted, &prepared).await.expect("allowed").expect("a newer value");
            assert!(!again.is_renewable(), "once only");
            assert!(vault.renew(&wanted, &again).await.expect("allowed").is_none());
            values(&head, "authorization").remove(0)
        });
    }
    assert!(all.join_all().await.iter().all(|value| value == "Bearer value-nr-2"));
    assert_eq!(source.fetched.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_payload_that_provokes_401s_cannot_have_the_source_asked_as_often() {
    let (vault, source, _) = counting(Counting::default());
    for _ in 0..100 {
        let (bindings, prepared) = answered_401(&vault).await;
        vault.renew(&wanted(&bindings), &prepared).await.expect("allowed");
        time::advance(Duration::from_millis(100)).await;
    }
    assert!(source.fetched.load(Ordering::SeqCst) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_renewed_after_a_401_however_often_the_configuration_was_read_anew() {
    let lifetime = Some(Duration::from_secs(3600));
    let made = || {
        let source = Arc::new(Counting { lifetime, ..Counting::default() });
        definition("key", Supply::Fetched(source))
    };
    let (vault, _) = vault(vec![made()]);
    for _ in 0..20 {
        sent(&vault).await.expect("prepared");
        vault.load(vec![made()], &[], &BTreeSet::new());
    }
    let (bindings, prepared) = answered_401(&vault).await;
    time::advance(Duration::from_secs(11)).await;
    let renewed = vault.renew(&wanted(&bindings), &prepared).await.expect("allowed");
    assert!(renewed.is_some());
}

#[tokio::test]
async fn a_fixed_value_has_no_newer_one() {
    let (vault, _) = simple_vault();
    let bindings = bind(Place::bearer());
    let prepared = prepare(&vault, &bindings, &mut head("/", &[])).await.expect("prepared");
    let renewed: Option<(Parts, Prepared)> =
        vault.renew(&wanted(&bindings), &prepared).await.expect("allowed");
    assert!(renewed.is_none());
}

#[tokio::test]
async fn a_fetch_comes_to_its_end_when_nobody_waits_for_it_any_more() {
    let (vault, source, _) =
        counting(Counting { gate: Some(Notify::new()), ..Counting::default() });
    {
        let mut waiting = std::pin::pin!(sent(&vault));
        while source.fetched.load(Ordering::SeqCst) == 0 {
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("the gate is shut"),
                () = tokio::task::yield_now() => {}
            }
        }
    }
    source.gate.as_ref().expect("a gate").notify_one();
    assert_eq!(sent(&vault).await.expect("prepared"), "Bearer value-nr-1");
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_credential_that_is_revoked_while_it_is_fetched_is_not_sent() {
    let (vault, source, _) =
        counting(Counting { gate: Some(Notify::new()), ..Counting::default() });
    let waiting = tokio::spawn({
        let vault = vault.clone();
        async move { sent(&vault).await }
    });
    while source.fetched.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    vault.revoke(&name("key"));
    source.gate.as_ref().expect("a gate").notify_one();
    assert!(waiting.await.expect("no panic").is_err());
    assert_eq!(vault.list()[0].condition, Condition::Revoked);
}
