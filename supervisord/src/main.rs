//! Starts the daemon: as a service with a configuration, or standalone for one caller.

#![forbid(unsafe_code)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use supervisord::{service, standalone};

const USAGE: &str = "usage: supervisord --config FILE | supervisord --standalone [--strict]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["--version"] => {
            println!("supervisord {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        ["--config", path] => service::run(Path::new(path)),
        ["--standalone"] => return standalone(false),
        ["--standalone", "--strict"] => return standalone(true),
        ["--standalone-daemon", arguments @ ..] => service::run_standalone(arguments),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(64); // EX_USAGE (sysexits.h)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn standalone(strict: bool) -> ExitCode {
    match standalone::run(strict) {
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
