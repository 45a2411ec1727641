//! Bytes both ways between two connections that nobody looks into: passed TLS, plain TCP, and what a
//! WebSocket becomes.

mod copied;
mod meter;
mod pipe;
mod spliced;

use std::time::Duration;

pub use copied::relay_copied;
pub use meter::{Meter, Reservation};
pub use pipe::Pipes;
pub use spliced::relay_spliced;
use tokio::time::sleep;

use crate::credential::CredentialRefusal;
use crate::seam::Lack;

/// How a relay ended.
#[derive(Debug)]
pub enum Ended {
    /// Both sides had said that they were done.
    Done,
    /// No byte went either way for too long.
    Idle,
    /// No budget gives more.
    Overdrawn(Lack),
    /// The upstream sent a credential back.
    Reflected,
    /// The payload sent what must not leave.
    Leaking(Box<CredentialRefusal>),
    /// One side broke off.
    Broken,
}

/// Ready when no byte has passed the meter for the whole of this time.
async fn idle(meter: &Meter, patience: Duration) {
    loop {
        let before = meter.total();
        sleep(patience).await;
        if meter.total() == before {
            return;
        }
    }
}
