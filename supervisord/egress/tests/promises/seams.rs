//! The daemon's side, as tests have it: events are kept, nothing is counted, one body is agreed to.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use sha2::{Digest, Sha256};
use supervisor_egress::credential::{
    Binding, BodyDigest, CredentialRefusal, Credentials, Definition, Delivery, Notice, Notices,
    Pending, PlaceholderKey, Prepared, Secret, Source, SourceError, Supply, Value, Vault, Wanted,
    Why,
};
use supervisor_egress::{
    Approvals, Claim, Declined, Event, Failure, Lack, Ledger, Overspent, Question, Recorder,
    Reservation, Reserved, Seams,
};
use zeroize::Zeroizing;

/// The value of the credential `key`.
pub const SECRET: &str = "sk-test-0123456789abcdef0123456789";

/// Keeps events.
#[derive(Default)]
pub struct Events(Mutex<Vec<Event>>);

impl Events {
    /// What has happened so far.
    pub fn all(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// How many have ended so far.
    pub fn ends(&self) -> usize {
        self.all().iter().filter(|event| matches!(event, Event::Ended(_))).count()
    }

    /// What went wrong so far with what was allowed.
    pub fn failures(&self) -> Vec<Failure> {
        let failed = |event: Event| match event {
            Event::Ended(ended) => ended.failure,
            Event::Decided(_) | Event::Credential(_) => None,
        };
        self.all().into_iter().filter_map(failed).collect()
    }

    /// The codes of all decisions so far.
    pub fn codes(&self) -> Vec<&'static str> {
        let decided = |event: &Event| match event {
            Event::Decided(decided) => Some(decided.code),
            Event::Ended(_) | Event::Credential(_) => None,
        };
        self.all().iter().filter_map(decided).collect()
    }
}

impl Recorder for Events {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// A budget of bytes, both ways together; none where it isn't set.
#[derive(Default)]
pub struct Purse {
    left: Mutex<Option<u64>>,
    /// Nothing can be counted.
    pub is_unkept: AtomicBool,
}

impl Purse {
    /// Sets what is left.
    pub fn holds(&self, bytes: u64) {
        *self.left() = Some(bytes);
    }

    fn left(&self) -> MutexGuard<'_, Option<u64>> {
        self.left.lock().unwrap()
    }
}

struct Spending(Arc<Purse>);

impl Reservation for Spending {
    fn spend(&self, sent: u64, received: u64) -> Result<(), Overspent> {
        let mut left = self.0.left();
        match left.as_mut() {
            Some(bytes) => match bytes.checked_sub(sent + received) {
                Some(rest) => {
                    *bytes = rest;
                    Ok(())
                }
                None => Err(overspent(Lack::Exhausted)),
            },
            None => Ok(()),
        }
    }
}

fn overspent(lack: Lack) -> Overspent {
    Overspent { lack, cause: "nothing is given".to_owned(), remedy: "Ask for more.".to_owned() }
}

struct Book(Arc<Purse>);

impl Ledger for Book {
    fn reserve<'a>(&'a self, claim: &'a Claim<'a>) -> Pending<'a, Reserved> {
        Box::pin(async {
            if self.0.is_unkept.load(Ordering::Relaxed) {
                return Err(overspent(Lack::Unkept));
            }
            if self.0.left().is_some_and(|left| left < claim.bytes_out) {
                return Err(overspent(Lack::Exhausted));
            }
            Ok(Some(Box::new(Spending(self.0.clone())) as Box<dyn Reservation>))
        })
    }
}

/// The body that somebody agrees to, by its SHA-256.
pub const AGREED: &str = "please";

struct OneBody;

impl Approvals for OneBody {
    fn ask<'a>(&'a self, question: &'a Question<'a>) -> Pending<'a, Result<(), Declined>> {
        let other = question.fields.is_some_and(|fields| fields.contains("x-amz-target: Drop\n"));
        let agreed = !other && question.body_sha256 == Some(Sha256::digest(AGREED).into());
        let length = u64::try_from(AGREED.len()).ok();
        Box::pin(async move {
            if agreed && question.body == length {
                return Ok(());
            }
            Err(Declined {
                code: "approval_timed_out",
                cause: "nobody answered".to_owned(),
                remedy: "Ask an administrator.".to_owned(),
            })
        })
    }
}

#[derive(Debug)]
struct Silent;

impl Notices for Silent {
    fn notice(&self, _: &Notice) {}
}

/// A token that is fetched, so that there may be another after a 401.
#[derive(Debug)]
struct Tokens;

impl Source for Tokens {
    fn fetch(&self, _: Why) -> Pending<'_, Result<Delivery, SourceError>> {
        let secret = Secret::new(Zeroizing::new(b"tk-test-fedcba9876543210".to_vec())).unwrap();
        Box::pin(async { Ok(Delivery { value: Value::Text(secret), lifetime: None, told: None }) })
    }
}

/// The vault, which can be told to want all of a body, and has a newer value for `/ws-renewed`.
struct Store {
    vault: Vault,
    renewable: Mutex<Option<http::request::Parts>>,
}

impl Credentials for Store {
    fn body_to_digest(&self, bindings: &[Binding], head: &http::request::Parts) -> Option<usize> {
        match head.headers.contains_key("x-digest") {
            true => Some(1024),
            false => self.vault.body_to_digest(bindings, head),
        }
    }

    fn look_at_host(&self, host: &str) -> Result<(), CredentialRefusal> {
        self.vault.look_at_host(host)
    }

    fn prepare<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        head: &'a mut http::request::Parts,
    ) -> Pending<'a, Result<Prepared, CredentialRefusal>> {
        assert!(head.headers.remove("x-digest").is_none() || wanted.body != BodyDigest::Unknown);
        if head.uri.path() == "/ws-renewed" {
            *self.renewable.lock().unwrap() = Some(head.clone());
        }
        self.vault.prepare(wanted, head)
    }

    fn renew<'a>(
        &'a self,
        wanted: &'a Wanted<'a>,
        prepared: &'a Prepared,
    ) -> Pending<'a, Result<Option<(http::request::Parts, Prepared)>, CredentialRefusal>> {
        let head = self.renewable.lock().unwrap().take();
        Box::pin(async move {
            let Some(mut head) = head else { return self.vault.renew(wanted, prepared).await };
            let prepared = self.vault.prepare(wanted, &mut head).await?;
            Ok(Some((head, prepared)))
        })
    }
}

fn vault() -> Vault {
    Vault::new(PlaceholderKey::new(&Zeroizing::new([7; 32])), Arc::new(Silent))
}

/// What stands in the world's session for this credential.
pub fn placeholder(name: &str) -> String {
    vault().placeholder("s-1", &name.parse().unwrap()).to_string()
}

/// Seams for a test.
pub fn seams(events: Arc<Events>, purse: Arc<Purse>) -> Seams {
    let vault = vault();
    let secret = Secret::new(Zeroizing::new(SECRET.as_bytes().to_vec())).unwrap();
    let definition = Definition {
        name: "key".parse().unwrap(),
        kind: "static",
        bounds: vec!["up.test".parse().unwrap()],
        supply: Supply::Fixed(Value::Text(secret)),
    };
    let token = Definition {
        name: "token".parse().unwrap(),
        kind: "oauth2",
        bounds: vec!["up.test".parse().unwrap()],
        supply: Supply::Fetched(Arc::new(Tokens)),
    };
    vault.load(vec![definition, token], &[], &Default::default());
    Seams {
        recorder: events,
        ledger: Arc::new(Book(purse)),
        credentials: Arc::new(Store { vault, renewable: Mutex::default() }),
        approvals: Arc::new(OneBody),
    }
}
