//! Values that were fetched for a credential before the one in use. Upstreams were sent them, and may tell them
//! while they still hold. What is rotated away or revoked is forgotten instead.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::value::Current;

/// How many are watched for. Tokens are renewed long before they end, each after most of its life.
const MOST: usize = 4;

/// How long one that its source gave no end is watched for.
const WITHOUT_END: Duration = Duration::from_secs(3600);

/// Former values, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Former(Vec<(Arc<Current>, Option<Instant>)>);

impl Former {
    /// One more, which was in use until now.
    pub fn add(&mut self, value: Arc<Current>) {
        let now = Instant::now();
        let until = value.expires.or_else(|| now.checked_add(WITHOUT_END));
        self.forget(now);
        if self.0.len() == MOST {
            self.0.remove(0);
        }
        self.0.push((value, until));
    }

    /// Those that may still be worth something.
    pub fn held(&mut self) -> impl Iterator<Item = Arc<Current>> + '_ {
        self.forget(Instant::now());
        self.0.iter().map(|(value, _)| value.clone())
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|(_, until)| until.is_none_or(|until| now < until));
    }
}
