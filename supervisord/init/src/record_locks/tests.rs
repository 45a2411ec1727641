#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics is a test that fails"
)]

use std::io::Write;

use super::*;

#[test]
fn record_locks_of_this_pid_namespace_are_counted_and_nothing_else() {
    for (line, counted) in [
        ("1: POSIX  ADVISORY  WRITE 12 00:2e:5 0 EOF\n", true),
        ("1: POSIX  ADVISORY  READ  12 00:2e:5 128 128\n", true),
        ("2: -> POSIX  ADVISORY  WRITE 13 00:2e:5 0 EOF\n", true),
        ("2:  -> POSIX  ADVISORY  WRITE 13 00:2e:5 0 EOF\n", true),
        ("2: -> POSIX  ADVISORY  WRITE 0 00:2e:5 0 EOF\n", false),
        ("3: POSIX  ADVISORY  READ -7 00:2e:5 0 EOF\n", false),
        ("3: POSIX  ADVISORY  READ 0 00:2e:5 0 EOF\n", false),
        ("4: FLOCK  ADVISORY  WRITE 12 00:2e:5 0 EOF\n", false),
        ("5: OFDLCK ADVISORY  WRITE -1 00:2e:5 0 EOF\n", false),
        ("6: LEASE  ACTIVE    READ 12 00:2e:5 0 EOF\n", false),
        ("7: POSIX  ADVISORY\n", false),
        ("\n", false),
        ("", false),
    ] {
        assert_eq!(is_counted(line.as_bytes()), counted, "{line}");
    }
}

fn listed(lines: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    let line =
        "1: POSIX  ADVISORY  WRITE 12 00:2e:5 0 EOF\n2: FLOCK  ADVISORY  WRITE 9 00:2e:6 0 EOF\n";
    file.write_all(line.repeat(lines / 2).as_bytes()).unwrap();
    file
}

#[test]
fn the_list_is_read_anew_each_time_and_no_further_than_it_decides_something() {
    let few = listed(200);
    for _ in 0..2 {
        assert_eq!(count(&few).unwrap(), Seen { held: 100, lines: 200 });
    }
    let Seen { held, lines } = count(&listed(100_000)).unwrap();
    assert_eq!((held, lines), (MOST, 2047));
}

#[test]
fn who_is_not_seen_is_counted_as_if_the_table_were_full() {
    let mut long = tempfile::tempfile().unwrap();
    let line = "2: FLOCK  ADVISORY  WRITE 9 00:2e:6 0 EOF\n";
    long.write_all(line.repeat(LONGEST as usize / line.len() + 1).as_bytes()).unwrap();
    assert_eq!(count(&long).unwrap().held, MOST);
}

#[test]
fn the_kernels_own_list_can_be_read() {
    count(&File::open("/proc/locks").unwrap()).unwrap();
}

/// Whatever the calls do, and however often the list is read.
#[test]
fn there_are_never_more_than_the_bound() {
    let start = Instant::now();
    let (mut room, mut held, mut readings) = (Room::new(start), 0, 0);
    for turn in 0..200_000_u64 {
        let now = start + Duration::from_micros(turn * 10);
        if room.busy(now) > Duration::ZERO {
            continue;
        }
        if room.is_unknown(now) {
            room.counted(Seen { held, lines: held as u32 }, now);
            readings += 1;
        }
        held += PER_CALL * usize::from(room.take());
        assert!(held <= MOST);
    }
    assert!(held > MOST - 2 * FEW * PER_CALL && readings < 20, "{held} {readings}");
}

#[test]
fn who_unlocks_as_often_as_he_locks_goes_on_for_ever_and_the_list_is_read_rarely() {
    let start = Instant::now();
    let (mut room, mut went_on, mut readings) = (Room::new(start), 0, 0);
    for turn in 0..200_000_u64 {
        let now = start + Duration::from_micros(turn * 10);
        if room.busy(now) > Duration::ZERO {
            continue;
        }
        if room.is_unknown(now) {
            room.counted(Seen { held: 3, lines: 30 }, now);
            readings += 1;
        }
        assert!(room.take());
        went_on += 1;
    }
    assert!(readings <= 200 && went_on > 100_000, "{readings} {went_on} in two seconds");
}

#[test]
fn a_full_table_refuses_at_once_and_has_room_again_when_there_is_some() {
    let start = Instant::now();
    let mut room = Room::new(start);
    while room.take() {}
    assert_eq!(room.busy(start), Duration::ZERO);
    room.counted(Seen { held: MOST, lines: 1024 }, start);
    assert!(!room.take() && !room.is_unknown(start));
    assert_eq!(room.busy(start), Duration::ZERO);
    let later = start + BETWEEN * 33;
    assert!(room.is_unknown(later));
    room.counted(Seen { held: 0, lines: 0 }, later);
    assert!(room.take());
}
