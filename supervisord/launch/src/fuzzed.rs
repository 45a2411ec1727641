//! What holds for all bytes on the wire: targets of the fuzzer (tests/fuzz), and of ordinary tests. What a
//! reader accepts has one form, the one that our writer makes of it.

use crate::{
    COPY_DESCRIPTORS, Copied, MAX_MESSAGE, MAX_START, OLDEST, Reply, Report, Request, Setup, Start,
    VERSION, Wanted,
};

#[cfg(test)]
#[path = "../../../tests/fuzz/mutations.rs"]
mod mutations;

/// What the launcher reads from the daemon.
pub fn requests(bytes: &[u8]) {
    let Ok((version, request)) = Request::decode(bytes) else { return };
    assert!((OLDEST..=VERSION).contains(&version));
    assert!(bytes.len() <= MAX_MESSAGE);
    assert_eq!(request.encode(version).as_deref(), Ok(bytes));
    if let Request::Prepare(prepare) = request
        && let Some(listeners) = prepare.listeners
    {
        let mut ports: Vec<u16> = listeners.ports().collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), listeners.ports().count(), "a port stands there twice");
        assert!(ports.iter().all(|port| ![0, 53, 80, 443].contains(port)));
    }
}

/// What the daemon reads from the launcher, and from a sandbox's init.
pub fn replies(bytes: &[u8]) {
    if let Ok((version, reply)) = Reply::decode(bytes) {
        assert!((OLDEST..=VERSION).contains(&version));
        assert!(bytes.len() <= MAX_MESSAGE);
        assert_eq!(reply.encode(version).as_deref(), Ok(bytes));
    }
    if let Ok(bytes) = <&[u8; Report::LENGTH]>::try_from(bytes)
        && let Ok(report) = Report::decode(bytes)
    {
        assert_eq!(&report.encode(), bytes);
    }
}

/// What init, the payload's stub and the seed read.
pub fn starts(bytes: &[u8]) {
    if let Some(head) = bytes.first_chunk()
        && let Ok(length) = Start::length(*head)
    {
        assert!(length <= MAX_START);
    }
    if let Ok(start) = Start::decode(bytes) {
        assert!(!start.argv.is_empty());
        assert_eq!(start.encode().as_deref(), Ok(bytes));
        assert_eq!(bytes.first_chunk().map(|head| Start::length(*head)), Some(Ok(bytes.len())));
    }
    if let Ok(setup) = Setup::decode(bytes) {
        assert_eq!(setup.encode(), bytes);
    }
    if let Ok(wanted) = Wanted::decode(bytes) {
        assert_eq!(bytes.len(), Wanted::LENGTH);
        assert_eq!(wanted.encode(), bytes);
        let more = [wanted.channel, wanted.terminal, wanted.root].map(usize::from);
        assert!(COPY_DESCRIPTORS + more.iter().sum::<usize>() <= 10);
    }
    if let Ok(copied) = Copied::decode(bytes) {
        assert_eq!(bytes.len(), Copied::LENGTH);
        assert_eq!(copied.encode(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_on_the_wire_are_read_as_what_they_are_not() {
        mutations::hold("launch_requests", 20_000, requests);
        mutations::hold("launch_replies", 20_000, replies);
        mutations::hold("launch_starts", 20_000, starts);
    }
}
