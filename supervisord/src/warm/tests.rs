use std::time::{Duration, Instant};

use super::demand::Demand;
use super::recipe::acts_at_start;

#[test]
fn what_is_asked_for_once_is_not_parked_and_what_is_asked_for_again_is() {
    let start = Instant::now();
    let mut demand = Demand::new(start);
    assert_eq!(demand.wants(start), 0);
    demand.note(start);
    assert_eq!(demand.wants(start), 0);
    demand.note(start);
    assert_eq!(demand.wants(start), 1);
    for _ in 0..3 {
        demand.note(start);
    }
    assert_eq!(demand.wants(start), 4);
}

#[test]
fn demand_is_forgotten_within_the_hour_however_large_it_was() {
    let start = Instant::now();
    let mut demand = Demand::new(start);
    for _ in 0..10_000 {
        demand.note(start);
    }
    assert!(demand.wants(start) < 64);
    assert_eq!(demand.wants(start + Duration::from_secs(3600)), 0);
}

#[test]
fn variables_that_an_interpreter_reads_at_its_start_are_known() {
    for name in
        ["PYTHONHASHSEED", "LD_PRELOAD", "LANG", "LC_ALL", "TZ", "PATH", "HOME", "OPENSSL_CONF"]
    {
        assert!(acts_at_start(name), "{name}");
    }
    for name in ["ORDER", "DEBUG", "MY_PATH"] {
        assert!(!acts_at_start(name), "{name}");
    }
}
