//! `supervisorctl`: the command line of the supervisor. It talks to the daemon through its socket and
//! has no more rights than its caller.

mod artifacts;
mod backoff;
mod cli;
mod client;
mod connection;
mod console;
mod credentials;
mod dispatch;
mod doctor;
mod executions;
mod exit;
mod failure;
mod generate;
mod interrupts;
mod local;
mod output;
mod paths;
mod policy;
mod progress;
mod reader;
mod reload;
mod report;
mod run;
mod save;
mod standalone;
mod streams;
mod submission;
mod summary;
mod table;
mod terminal;
mod units;

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dispatch::main())
}
