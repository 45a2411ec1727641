//! Datagrams with descriptors, on a real socket.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use supervisor_sys::{peer_uid, receive, refuse_descriptors, send};

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

#[test]
fn a_descriptor_that_was_sent_arrives_as_the_same_file_and_closed_on_exec() {
    let (ours, theirs) = pair();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    send(ours.as_fd(), b"take this", &[writer.as_fd(), reader.as_fd()]).unwrap();
    let mut buffer = [0; 64];
    let (length, fds) = receive(theirs.as_fd(), &mut buffer).unwrap();
    assert_eq!((&buffer[..length], fds.len()), (b"take this".as_slice(), 2));
    let flags = nix::fcntl::fcntl(&fds[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
    assert_eq!(flags, nix::libc::FD_CLOEXEC);
    File::from(fds.into_iter().next().unwrap()).write_all(b"hello").unwrap();
    writer.flush().unwrap();
    let mut heard = [0; 5];
    reader.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn a_datagram_longer_than_the_buffer_is_an_error_and_leaks_no_descriptor() {
    let (ours, theirs) = pair();
    send(ours.as_fd(), &[7; 100], &[ours.as_fd()]).unwrap();
    assert!(receive(theirs.as_fd(), &mut [0; 10]).is_err());
    assert_eq!(copies(&ours), 1);
}

#[test]
fn more_descriptors_than_a_message_may_have_are_an_error_on_both_sides() {
    let (ours, theirs) = pair();
    let many = vec![ours.as_fd(); 33];
    assert!(send(ours.as_fd(), b"x", &many).is_err());
    // A peer that has no such bound: 40 descriptors, more than there is room for.
    let numbers = [theirs.as_raw_fd(); 40];
    let rights = [nix::sys::socket::ControlMessage::ScmRights(&numbers)];
    let bytes = [std::io::IoSlice::new(b"x")];
    let flags = nix::sys::socket::MsgFlags::empty();
    nix::sys::socket::sendmsg::<()>(ours.as_raw_fd(), &bytes, &rights, flags, None).unwrap();
    assert!(receive(theirs.as_fd(), &mut [0; 10]).is_err());
    assert_eq!(copies(&theirs), 1);
}

#[test]
fn a_socket_that_wants_no_descriptors_gets_none_where_the_kernel_can_refuse_them() {
    let (ours, theirs) = pair();
    let refused = refuse_descriptors(theirs.as_fd()).unwrap();
    let sent = send(ours.as_fd(), b"x", &[ours.as_fd()]).map_err(|error| error.raw_os_error());
    assert_eq!(sent, if refused { Err(Some(nix::libc::EPERM)) } else { Ok(()) });
    send(ours.as_fd(), b"y", &[]).unwrap();
    assert_eq!(receive(theirs.as_fd(), &mut [0; 10]).unwrap().0, 1);
}

#[test]
fn the_end_of_a_connection_is_a_message_of_length_zero() {
    let (ours, theirs) = pair();
    assert_eq!(peer_uid(theirs.as_fd()).unwrap(), nix::unistd::getuid().as_raw());
    drop(ours);
    let (length, fds) = receive(theirs.as_fd(), &mut [0; 10]).unwrap();
    assert_eq!((length, fds.len()), (0, 0));
}

/// How many descriptors of this process are this socket. Tests of one binary share a process, but
/// not their sockets.
fn copies(socket: &OwnedFd) -> usize {
    let itself = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| *target == itself)
        .count()
}

#[test]
fn a_peers_groups_are_those_of_its_process() {
    let (ours, _theirs) = pair();
    let mut own: Vec<u32> = nix::unistd::getgroups()
        .expect("groups")
        .into_iter()
        .map(nix::unistd::Gid::as_raw)
        .collect();
    let mut groups = supervisor_sys::peer_groups(ours.as_fd()).expect("groups");
    own.sort_unstable();
    groups.sort_unstable();
    assert_eq!(groups, own);
}
