//! Connections that the kernel says another account has made.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

/// Connects as this uid and gid, and as a member of these groups. Credentials are a thread's own, and a connection remembers those of
/// the thread that made it, so a thread changes its own, connects and ends.
pub(crate) fn connect_as(socket: &Path, id: u32, groups: &[u32]) -> io::Result<UnixStream> {
    let groups: Vec<_> = groups.iter().map(|group| Gid::from_raw(*group)).collect();
    let connected = thread::scope(|scope| {
        scope
            .spawn(|| {
                let (user, group) = (Uid::from_raw(id), Gid::from_raw(id));
                set_thread_groups(&groups)?;
                set_thread_res_gid(group, group, group)?;
                set_thread_res_uid(user, user, user)?;
                UnixStream::connect(socket)
            })
            .join()
    });
    connected.expect("nothing in the thread panics")
}
