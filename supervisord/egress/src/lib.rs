//! One sandbox's traffic: what the payload wants, what the policy permits, and then the dialling,
//! the injecting of credentials and the relaying.
//!
//! A connection or a look-up comes in on one of the sandbox's own sockets ([`Traffic`]). What it wants
//! is found out (`front`, `dns`), the policy decides, and only what that permits is resolved
//! (`resolve`), dialled (`upstream`) and passed on, unseen (`relay`) or request by request (`http`).
//! Every bound stands in `limits`.

#![forbid(unsafe_code)]

mod accept;
mod accepted;
pub mod credential;
mod dns;
mod event;
mod front;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod http;
mod limits;
#[cfg(test)]
#[path = "../../../tests/src/mutations.rs"]
#[allow(
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test of its own, which others share"
)]
mod mutations;
mod refused;
mod relay;
mod resolve;
mod running;
mod seam;
mod session;
mod shared;
mod tls;
mod totals;
mod traffic;
mod upstream;
mod without;

pub use accept::Acceptor;
pub use event::{CredentialEvent, Decided, Ended, Event, Failure, Recorder, Subject};
pub use limits::Limits;
pub use refused::Refused;
pub use relay::Reservation;
pub use resolve::Names;
pub use seam::{
    Approvals, Claim, Declined, Identity, Lack, Ledger, Overspent, Question, Reserved, Seams,
};
pub use session::UnusableBinding;
pub use shared::{Settings, Shared};
pub use tls::authority::{Authority, AuthorityError};
pub use tls::upstream::{Roots, RootsError};
pub use totals::Usage;
pub use traffic::{Gauge, Listeners, Traffic};

#[cfg(test)]
#[test]
fn without_a_check_a_secret_comes_through_or_meets_the_next_one() {
    mutations::check(&["credential/"]);
}
