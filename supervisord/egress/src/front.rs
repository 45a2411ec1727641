//! The payload's side: what it may connect to, and how what it wants is found out.

pub mod plan;
pub mod proxy;
pub mod refuse;
pub mod rewound;
pub mod sniff;
pub mod transparent;
pub mod tunnel;
