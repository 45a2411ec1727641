//! Names as a sandbox sees them. Every query is answered here, from the policy and a pool of
//! addresses that mean something in this sandbox only; none is ever passed on.

pub mod answer;
pub mod rate;
pub mod server;
pub mod synthetic;
