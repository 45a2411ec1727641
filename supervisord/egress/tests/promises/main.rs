//! What is promised of a sandbox's traffic, tried with real clients against real servers. Each test
//! has two network namespaces: one is the sandbox, where programs dial whatever they like, one is the
//! host, where the upstreams are. Root is needed to make them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has failed"
)]

mod agreement;
mod bounds;
mod clients;
mod endings;
mod framing;
mod held;
mod hostile;
mod multiplexed;
#[path = "../../../../tests/src/mutations.rs"]
#[allow(dead_code, reason = "other tests share it")]
mod mutations;
mod names;
mod refusals;
mod relayed;
mod requests;
mod seams;
mod server;
mod trailers;
mod upstreams;
mod wire;
mod world;

#[test]
fn without_a_check_traffic_comes_through_or_meets_the_next_one() {
    mutations::check(&["promises/"]);
}
