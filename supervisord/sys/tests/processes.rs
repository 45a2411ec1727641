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

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::prctl::set_no_new_privs;
use supervisor_sys::{
    Answer, Instruction, Listener, SingleThreaded, execute, install_filter, landlock_abi,
    random_bits, sealed_memfd,
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

/// Asks about fcntl with F_SETLK, of whatever architecture.
fn asking_about_locks() -> Vec<Instruction> {
    let (load, equal, answer) = (0x20, 0x15, 0x06);
    let instruction = |code, jf, k| Instruction { code, jt: 0, jf, k };
    vec![
        instruction(load, 0, 0),
        instruction(equal, 3, nix::libc::SYS_fcntl as u32),
        instruction(load, 0, 24), // the lower half of the second argument
        instruction(equal, 1, nix::libc::F_SETLK as u32),
        instruction(answer, 0, nix::libc::SECCOMP_RET_USER_NOTIF),
        instruction(answer, 0, nix::libc::SECCOMP_RET_ALLOW),
    ]
}

fn lock(file: &File) -> Result<(), Errno> {
    let all = nix::libc::flock {
        l_type: nix::libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&all)).map(drop)
}

#[test]
fn a_call_that_is_asked_about_goes_on_or_fails_as_it_is_answered() {
    let (hand_over, listener) = std::sync::mpsc::channel();
    // A filter and no_new_privs are this thread's own.
    let asks = std::thread::spawn(move || {
        set_no_new_privs().unwrap();
        hand_over.send(Listener::install(&asking_about_locks()).unwrap()).unwrap();
        let second = Listener::install(&asking_about_locks()).err().unwrap();
        let file = File::options().write(true).open("/dev/null").unwrap();
        (second.raw_os_error(), lock(&file), lock(&file))
    });
    let listener: Listener = listener.recv().unwrap();
    let question = listener.next().unwrap().unwrap();
    assert_eq!(i64::from(question.call()), nix::libc::SYS_fcntl);
    listener.answer(question, Answer::Fail(nix::libc::ENOLCK)).unwrap();
    let next = listener.next().unwrap().unwrap();
    listener.answer(question, Answer::GoOn).unwrap(); // is no question any more, and no error
    listener.answer(next, Answer::GoOn).unwrap();
    let told = asks.join().unwrap();
    assert_eq!(told, (Some(nix::libc::EBUSY), Err(Errno::ENOLCK), Ok(())));
}
