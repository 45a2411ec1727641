//! The value of a credential at one time: what stands in requests, what is watched for in responses,
//! and for how long it holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::secret::Secret;
use super::watch::Watch;

/// A value.
#[derive(Debug)]
pub enum Value {
    /// A key, a token or a password.
    Text(Secret),
    /// A key that signs.
    Aws(AwsKey),
}

/// A key of AWS Signature Version 4.
#[derive(Debug)]
pub struct AwsKey {
    /// Says which key it is. It stands in every request and is no secret.
    pub id: String,
    /// Signs. It never leaves the daemon.
    pub secret: Secret,
    /// Goes with keys that hold for a while only. It stands in requests.
    pub session_token: Option<Secret>,
}

/// What a source delivers.
#[derive(Debug)]
pub struct Delivery {
    /// The value.
    pub value: Value,
    /// How long it is used from now on; `None` if without end.
    pub lifetime: Option<Duration>,
    /// How long it holds from now on, as far as its source says: [`Self::lifetime`], or `None` where that is a guess.
    pub told: Option<Duration>,
}

/// A value in use. Requests that are under way keep theirs while the credential gets another one.
#[derive(Debug)]
pub(super) struct Current {
    pub value: Value,
    pub watch: Arc<Watch>,
    /// A number that no other value of any credential has.
    pub number: u64,
    /// Until when it is used.
    pub expires: Option<Instant>,
    /// Until when it holds, which is later; `None` where nobody has said.
    pub ends: Option<Instant>,
    /// From when on a newer one should be fetched.
    pub stale: Option<Instant>,
}

/// A value that ends within this time, or within half its life, is taken to have ended: the request
/// must still get there.
const HASTE: Duration = Duration::from_secs(5);

/// A newer value is fetched when this part of its life is left, …
const LAST_PART: u32 = 5;

/// … or this time, if that is less: then an outage of the source of that length goes unnoticed.
const AHEAD: Duration = Duration::from_secs(300);

impl Value {
    /// Whether another one is of the same secrets.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.expose() == other.expose(),
            (Self::Aws(one), Self::Aws(other)) => {
                let [one, other] = [one, other].map(|key| {
                    (key.secret.expose(), key.session_token.as_ref().map(Secret::expose))
                });
                one == other
            }
            _ => false,
        }
    }

    /// A watch for what must not come back.
    fn watch(&self) -> Watch {
        match self {
            Self::Text(secret) => Watch::new([secret.expose()]),
            Self::Aws(key) => {
                // A token travels, as any other secret does.
                match &key.session_token {
                    Some(token) => Watch::new([key.secret.expose(), token.expose()]),
                    None => Watch::of_a_key(key.secret.expose()),
                }
            }
        }
    }
}

impl Current {
    pub fn new(delivery: Delivery, number: u64) -> Self {
        let Delivery { value, lifetime, told } = delivery;
        let now = Instant::now();
        let after = |time: Duration| now.checked_add(time);
        let useful = lifetime.map(|lifetime| lifetime - HASTE.min(lifetime / 2));
        let ahead = lifetime.map(|lifetime| lifetime - AHEAD.min(lifetime / LAST_PART));
        let watch = Arc::new(value.watch());
        let (expires, stale) = (useful.and_then(after), ahead.and_then(after));
        Self { value, watch, number, expires, ends: told.and_then(after), stale }
    }

    pub fn is_valid(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }

    pub fn is_stale(&self) -> bool {
        self.stale.is_some_and(|stale| stale <= Instant::now())
    }
}
