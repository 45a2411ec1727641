//! The system call filters, compiled from the reviewed tables when init was built.

use supervisor_launch::seccomp::Profile;
use supervisor_sys::Instruction;

include!(concat!(env!("OUT_DIR"), "/filters.rs"));
