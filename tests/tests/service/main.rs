//! What a client of a supervisor is promised: by one of the test's own, or by the installed service where
//! `SUPERVISORD_TEST_SOCKET` names its socket, as in a booted machine. What needs a supervisor to be killed
//! or configured is in `own`.

mod api;
mod artifacts;
mod audit;
mod command_line;
mod connections;
mod events;
mod isolation;
mod jail_filesystem;
mod jail_landlock;
mod jail_namespaces;
mod jail_process;
mod jail_syscalls;
mod limits;
mod memory;
mod mutations;
mod output;
mod programs;
mod pseudo_terminals;
mod record_locks;
mod sessions;
mod top;
