//! `supervisorctl`: the command line of the supervisor. It talks to the daemon through its socket and
//! has no more rights than its caller.

mod approvals;
mod artifacts;
mod attach;
mod audit;
mod backoff;
mod budgets;
mod changes;
mod cli;
mod client;
mod connection;
mod console;
mod credentials;
mod dispatch;
mod doctor;
mod doorway;
mod e2b;
mod events;
mod executions;
mod exit;
mod failure;
mod files;
mod generate;
mod image;
mod interpreters;
mod interrupts;
mod local;
mod mcp;
mod output;
mod page;
mod paths;
mod pausing;
mod peer;
mod policy;
mod progress;
mod raw;
mod reader;
mod receipt;
mod reload;
mod report;
mod run;
mod samples;
mod save;
mod sessions;
mod standalone;
mod streams;
mod submission;
mod summary;
mod table;
mod terminal;
mod top;
mod typing;
mod units;
mod why;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dispatch::main())
}
