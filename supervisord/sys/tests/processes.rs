//! Sealed programs, filters and proofs, on the real kernel. Clones are tested by every launch: a test
//! harness has threads, so it can't have the proof that a clone asks for.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;

use supervisor_sys::{
    Instruction, SingleThreaded, execute, install_filter, landlock_abi, random_bits, sealed_memfd,
};

#[test]
fn a_process_with_a_second_thread_cannot_prove_that_it_has_one() {
    // The test harness runs each test in a thread of its own.
    assert!(SingleThreaded::prove().is_err());
}

#[test]
fn a_sealed_program_can_be_executed_and_not_be_changed() {
    let program = sealed_memfd(c"true", File::open("/bin/true").unwrap()).unwrap();
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    // The seal is on the file, so a descriptor opened for writing is of no use either.
    let written =
        OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write_all(b"x"));
    assert!(written.is_err());
    assert!(Command::new(path).status().unwrap().success());
}

#[test]
fn a_program_that_does_not_exist_is_an_error_and_not_an_end() {
    let nothing = File::open("/dev/null").unwrap();
    assert!(execute(nothing.as_fd(), &[c"nothing".to_owned()]).raw_os_error().is_some());
}

#[test]
fn random_bits_differ_and_the_kernel_has_landlock() {
    assert_ne!(random_bits().unwrap(), random_bits().unwrap());
    assert!(landlock_abi() >= 1);
}

#[test]
fn a_filter_that_is_no_program_is_refused() {
    assert!(install_filter(&[]).is_err());
    assert!(install_filter(&[Instruction { code: 0xffff, jt: 0, jf: 0, k: 0 }]).is_err());
}
