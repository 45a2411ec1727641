#![allow(clippy::unwrap_used, reason = "a test that panics is a test that fails")]

use std::io::Write;
use std::os::unix::fs::FileExt;

use super::*;

const HEAD: &str =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n";

/// A list of so many that listen, before some that don't.
fn listed(listen: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    write(&mut file, listen);
    file
}

fn write(file: &mut File, listen: usize) {
    let line =
        |state| format!("   0: 0100007F:0C38 00000000:0000 {state} 00000000:00000000 00:00\n");
    let text = [HEAD, &line("0A").repeat(listen), &line("01").repeat(3), &line("0A")].concat();
    file.set_len(0).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
    file.flush().unwrap();
}

#[test]
fn those_that_listen_are_counted_up_to_the_first_that_does_not() {
    for listen in [0, 1, 100] {
        let file = listed(listen);
        for _ in 0..2 {
            assert_eq!(count(&file).unwrap(), listen);
        }
    }
    assert_eq!(count(&listed(100_000)).unwrap(), MOST + OURS);
    assert_eq!(count(&tempfile::tempfile().unwrap()).unwrap(), 0);
}

#[test]
fn the_kernels_own_lists_can_be_read() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert!(count(&File::open("/proc/self/net/tcp").unwrap()).unwrap() > 0);
    drop(server);
}

#[test]
fn who_closes_as_many_as_he_has_listen_goes_on_and_who_keeps_them_does_not() {
    let (mut four, six) = (listed(0), listed(OURS));
    let mut listening = Listening::of(vec![four.try_clone().unwrap(), six]);
    for _ in 0..10 * MOST {
        assert!(listening.admits(), "none of them is kept");
    }
    listening.calls = 0;
    let mut kept = 0;
    while listening.admits() {
        kept += 1;
        write(&mut four, kept);
    }
    assert_eq!(kept, MOST);
    assert!(!listening.admits());
    write(&mut four, kept - 1);
    assert!(listening.admits(), "one is closed");
}

#[test]
fn a_list_that_cannot_be_read_is_full() {
    let unreadable = File::options().write(true).open("/dev/null").unwrap();
    let mut listening = Listening::of(vec![unreadable]);
    let admitted = (0..2 * MOST).filter(|_| listening.admits()).count();
    assert_eq!(admitted, MOST);
}
