//! A vault, requests for it, and sources that are under the test's control.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use http::Request;
use http::request::Parts;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use crate::credential::*;
use crate::seam::Identity;

/// The secret of all these tests, with characters that every encoding treats in its own way.
pub const SECRET: &str = "SVCANARY-0123+/=Ab&c%41\"<d>";

pub const HOST: &str = "api.example.com";

/// Collects notices.
#[derive(Debug, Default)]
pub struct Collected(pub Mutex<Vec<Notice>>);

impl Notices for Collected {
    fn notice(&self, notice: &Notice) {
        self.0.lock().expect("no panic").push(notice.clone());
    }
}

/// A source that delivers `value-nr-1`, `value-nr-2`, …, and counts.
#[derive(Debug, Default)]
pub struct Counting {
    pub fetched: AtomicUsize,
    pub lifetime: Option<Duration>,
    /// Fails instead of delivering, from this fetch on.
    pub fails_from: Option<usize>,
    /// Waits for this before it delivers.
    pub gate: Option<Notify>,
}

impl Source for Counting {
    fn fetch(&self, _: Why) -> Pending<'_, Result<Delivery, SourceError>> {
        Box::pin(async {
            let number = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
            if let Some(gate) = &self.gate {
                gate.notified().await;
            }
            if self.fails_from.is_some_and(|first| number >= first) {
                return Err(SourceError::new("the source is out of order"));
            }
            let value = Value::Text(secret(&format!("value-nr-{number}")));
            Ok(Delivery { value, lifetime: self.lifetime, told: self.lifetime })
        })
    }
}

pub fn name(text: &str) -> CredentialName {
    text.parse().expect("a name")
}

pub fn secret(text: &str) -> Secret {
    Secret::new(Zeroizing::new(text.into())).expect("a secret")
}

pub fn definition(credential: &str, supply: Supply) -> Definition {
    let bounds = vec![HOST.parse().expect("a bound")];
    Definition { name: name(credential), kind: "static", bounds, supply }
}

pub fn fixed(text: &str) -> Supply {
    Supply::Fixed(Value::Text(secret(text)))
}

/// A vault with these credentials.
pub fn vault(definitions: Vec<Definition>) -> (Arc<Vault>, Arc<Collected>) {
    let notices = Arc::new(Collected::default());
    let vault = Vault::new(PlaceholderKey::new(&Zeroizing::new([7; 32])), notices.clone());
    vault.load(definitions, &[], &BTreeSet::new());
    (Arc::new(vault), notices)
}

/// A vault with one credential, `key`, whose value is [`SECRET`].
pub fn simple_vault() -> (Arc<Vault>, Arc<Collected>) {
    vault(vec![definition("key", fixed(SECRET))])
}

pub fn bind(place: Place) -> Vec<Binding> {
    vec![Binding { credential: name("key"), place, needs_placeholder: false }]
}

pub fn bind_placeholder(place: Place) -> Vec<Binding> {
    vec![Binding { credential: name("key"), place, needs_placeholder: true }]
}

/// Whose the requests of these tests are.
pub fn me() -> &'static Identity {
    static ME: LazyLock<Identity> =
        LazyLock::new(|| Identity { session: "se-a".into(), execution: "ex-a".into(), uid: 7 });
    &ME
}

pub fn wanted(bindings: &[Binding]) -> Wanted<'_> {
    let (whose, body) = (me(), BodyDigest::Empty);
    Wanted { whose, host: HOST, port: 443, encrypted: true, bindings, body }
}

pub fn head(target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::get(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// Prepares a request with these bindings.
pub async fn prepare(
    vault: &Vault,
    bindings: &[Binding],
    head: &mut Parts,
) -> Result<Prepared, CredentialRefusal> {
    vault.prepare(&wanted(bindings), head).await
}

/// The values of a field.
pub fn values(head: &Parts, name: &str) -> Vec<String> {
    let all = head.headers.get_all(name).iter();
    all.map(|value| value.to_str().expect("text").to_owned()).collect()
}

/// What a server or a broker has been asked, whole requests.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// Asks with the credential `key` as a bearer token; what goes out is said.
pub async fn sent(vault: &Vault) -> Result<(Prepared, String), CredentialRefusal> {
    let mut head = head("/", &[]);
    let prepared = prepare(vault, &bind(Place::bearer()), &mut head).await?;
    Ok((prepared, values(&head, "authorization").remove(0)))
}
