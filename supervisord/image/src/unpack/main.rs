//! `supervisor-unpack`: see [`supervisor_image::unpack`].

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use supervisor_image::unpack;
use supervisor_sys::take_inherited;

fn main() -> ExitCode {
    let Ok([archive, tree, spool]) = views() else {
        eprintln!("supervisor-unpack is started by supervisorctl");
        return ExitCode::FAILURE;
    };
    // Why it wasn't unpacked has been said, to who asked.
    match unpack::serve(archive, &tree, spool) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// The archive, the directory and the spool file, by the numbers that we were started with.
fn views() -> io::Result<[OwnedFd; 3]> {
    let mut words = std::env::args().skip(1);
    let mut view = || {
        let number = words.next().and_then(|word| word.parse().ok());
        take_inherited(number.ok_or(io::ErrorKind::InvalidInput)?)
    };
    Ok([view()?, view()?, view()?])
}
