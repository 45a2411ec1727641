//! Safe wrappers over the system calls that the `nix` crate lacks, with descriptors that are owned
//! or borrowed, never numbers. The only crate of the project with unsafe code: each unsafe block is
//! one operation and says why it is sound.

mod capability;
mod clone;
mod datagram;
mod descriptor;
mod filter;
mod keyring;
mod listener;
mod listening;
mod lock;
mod loop_device;
mod loopback;
mod message;
mod mount;
mod process;
mod quota;
mod random;
mod terminal;
mod wiping;
mod without;

pub use capability::{
    empty_bounding_set, empty_capability_sets, no_capabilities_left, set_securebits,
};
pub use clone::{Cloned, SingleThreaded, clone_sibling, clone_user_namespace, fork};
pub use datagram::receive_from_any_address;
pub use descriptor::{
    close_on_exec_from, inherited, keep_on_exec, memory_file, sealed_memfd, take_inherited,
    write_at_once,
};
pub use filter::{Instruction, install_filter, landlock_abi};
pub use keyring::leave_session_keyring;
pub use listener::{Answer, Listener, Question};
pub use listening::is_listened_on;
pub use lock::lock_first_free;
pub use loop_device::{behind_loop, configure_loop, free_loop};
pub use loopback::loopback_up;
pub use message::{
    accept, peer_groups, peer_uid, receive, receive_what_fits, refuse_descriptors, send,
};
pub use mount::{
    FsContext, MountAttributes, attach, attach_over, clone_tree, clone_tree_beneath,
    mount_attributes,
};
pub use process::{default_dispositions, execute, kill, start_as_usual, wait_any_ended};
pub use quota::{
    ENDED_BYTES, ENDED_INODES, ended_projects, has_project_quota, is_empty_project,
    is_free_project, limit_project, project_of, put_into_project,
};
pub use random::random_bits;
pub use terminal::{open_terminal, resize_terminal, take_terminal, terminal_size};
pub use wiping::{Wiping, wipe_freed_memory};
pub use without::{calls_without_rule, handed_on, without};

/// The last error of this thread, as a result.
fn check(returned: libc::c_long) -> std::io::Result<libc::c_long> {
    if returned < 0 { Err(std::io::Error::last_os_error()) } else { Ok(returned) }
}

/// The same for a call that answers a new descriptor.
fn check_fd(returned: libc::c_long) -> std::io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let fd = check(returned)? as std::os::fd::RawFd;
    // SAFETY: the kernel has just made this descriptor for us and nobody else has its number.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}
