//! Starts the daemon: as a service with a configuration, or standalone for one caller.

#![forbid(unsafe_code)]

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use supervisor_sys::{Wiping, start_as_usual};
use supervisord::service::{self, LauncherGone};
use supervisord::{dbus, standalone};

/// Secrets pass through buffers of libraries on their way out.
#[global_allocator]
static MEMORY: Wiping = Wiping;

const USAGE: &str =
    "usage: supervisord --config FILE | supervisord --standalone [--strict] [--clients=TEXT]";

fn main() -> ExitCode {
    if let Err(error) = start_as_usual() {
        tell(&error);
        return ExitCode::FAILURE;
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Option<Vec<&str>> = arguments.iter().map(|argument| argument.to_str()).collect();
    let Some(words) = words else {
        eprintln!("supervisord: an argument is not UTF-8; give a path that is");
        return ExitCode::from(64); // EX_USAGE (sysexits.h)
    };
    let result = match words.as_slice() {
        ["--version"] => {
            println!("supervisord {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        #[cfg(debug_assertions)]
        ["--fault-points"] => {
            supervisord::fault::NAMES.iter().for_each(|name| println!("{name}"));
            return ExitCode::SUCCESS;
        }
        ["--describe-bus"] => {
            print!("{}", *dbus::OPERATIONS_DESCRIPTION);
            return ExitCode::SUCCESS;
        }
        ["--config", path] => service::run(Path::new(path)),
        ["--standalone", options @ ..] => return standalone(options),
        ["--standalone-daemon", arguments @ ..] => service::run_standalone(arguments),
        _ => return misused(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(error.as_ref());
            match error.is::<LauncherGone>() {
                true => ExitCode::from(LauncherGone::STATUS),
                false => ExitCode::FAILURE,
            }
        }
    }
}

fn misused() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(64) // EX_USAGE (sysexits.h)
}

fn standalone(options: &[&str]) -> ExitCode {
    let (strict, options) = match options {
        ["--strict", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let clients = match options {
        [] => Some(""),
        [clients] => clients.strip_prefix("--clients="),
        _ => None,
    };
    let Some(clients) = clients else { return misused() };
    match standalone::run(strict, clients) {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE, // whoever failed has said why
        Err(error) => {
            tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, once, at the edge.
fn tell(error: &dyn Error) {
    eprintln!("supervisord: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        eprintln!("  because: {inner}");
        cause = inner.source();
    }
}
