//! What takes a supervisor of the test's own, because it is killed, configured or counted on: the rest of what is
//! promised to clients is in `service`.

mod api;
mod audit;
mod events;
mod isolation;
mod landlock;
mod limits;
mod mutations;
mod output;
mod samples;
mod sessions;
mod top_and_metrics;
mod unix_sockets;
