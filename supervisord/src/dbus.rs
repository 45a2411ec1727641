//! The front end on the system bus: `org.supervisord.Supervisor1`. Who calls is the user that the bus
//! names, what is asked is converted and handed to the [`Supervisor`](crate::supervisor::Supervisor),
//! whose methods are those behind the socket; whether a caller may reach past its own is polkit's.
//!
//! Calls are read off the connection here and not by zbus's object server: what objects there are,
//! and what they say, depends on who asks, and the object server shows everybody the same tree.
//!
//! ```text
//! bus ──▶ connection (reconnects) ──▶ load (bounds) ──▶ call (who) ──▶ dispatch ──▶ manager, execution,
//!                                                          sessions, approvals, stewardship,
//!                                                          properties, objects, and operations: all of the
//!                                                          socket's (table), as whom (standing)
//!     ◀── announce, news (signals, to subscribers alone) ◀── executions, sessions, questions, reloads
//! ```

mod announce;
mod approvals;
mod bounds;
mod call;
mod connection;
mod dispatch;
mod execution;
mod failure;
mod feed;
mod load;
mod manager;
mod names;
mod news;
mod objects;
mod operations;
mod options;
mod polkit;
mod properties;
mod sessions;
mod standing;
mod stewardship;
mod subscribers;
mod table;
mod values;

pub use connection::{Address, serve};
pub use table::DESCRIPTION as OPERATIONS_DESCRIPTION;
