//! Attacks of the acceptance corpus as questions to the compiled programs (x86_64 numbers).

use crate::seccomp::machine::{Data, run};
use crate::seccomp::tests::PROFILES;
use crate::seccomp::{Action, Architecture, Errno, Profile, compile, describe};
use crate::seccomp::{assembler::answer_value, verdict::Verdict};

const ALLOWED: Action = Action::Allow;
const FORBIDDEN: Action = Action::Fail(Errno::EPERM);
const UNKNOWN: Action = Action::Fail(Errno::ENOSYS);
const IMPOSSIBLE: Action = Action::Fail(Errno::EINVAL);

/// A bit that the kernel doesn't look at where it takes 32.
const DIRTY: u64 = 1 << 32;

/// What a profile's program answers to a call by name.
struct Filter(Vec<crate::seccomp::Instruction>);

impl Filter {
    fn of(profile: Profile) -> Self {
        Self(compile(profile, Architecture::X86_64))
    }

    fn raw(&self, number: u32, arguments: &[u64]) -> u32 {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        let architecture = Architecture::X86_64.audit_number();
        run(&self.0, &Data { number, architecture, arguments: all }).answer
    }

    #[track_caller]
    fn expect(&self, action: Action, name: &str, arguments: &[u64]) {
        let number = number(name);
        assert_eq!(self.raw(number, arguments), answer_value(action), "{name} {arguments:x?}");
    }
}

fn number(name: &str) -> u32 {
    let entry = describe(Profile::Default).find(|entry| entry.call.name == name).unwrap();
    entry.call.x86_64.unwrap().into()
}

#[test]
fn a_number_newer_than_the_table_is_unknown_to_a_payload_and_the_end_of_init() {
    for profile in PROFILES {
        let filter = Filter::of(profile);
        for number in [336, 400, 423, 470, 471, 512, 600, 0x3FFF_FFFF, u32::MAX] {
            assert_eq!(filter.raw(number, &[]), answer_value(profile.otherwise()), "{number}");
        }
    }
}

#[test]
fn another_architecture_and_the_x32_interface_are_killed() {
    for profile in PROFILES {
        let filter = Filter::of(profile);
        for number in [0, 20, 41, 102, 120] {
            let foreign = Data { number, architecture: 0x4000_0003, arguments: [0; 6] };
            assert_eq!(run(&filter.0, &foreign).answer, answer_value(Action::Kill));
            let x32 = filter.raw(0x4000_0000 | number, &[]);
            assert_eq!(x32, answer_value(Action::Kill));
        }
    }
}

#[test]
fn no_payload_makes_a_namespace() {
    const FORK: u64 = 17;
    const THREAD: u64 = 0x3D_0F00;
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for flag in [
            0x1000_0000_u64,
            0x2_0000,
            0x4000_0000,
            0x2000_0000,
            0x800_0000,
            0x400_0000,
            0x200_0000,
            0x80,
        ] {
            filter.expect(FORBIDDEN, "clone", &[flag | FORK]);
            filter.expect(FORBIDDEN, "clone", &[flag | FORK | DIRTY]);
            filter.expect(FORBIDDEN, "clone", &[flag | THREAD]);
            filter.expect(FORBIDDEN, "unshare", &[flag]);
            filter.expect(FORBIDDEN, "unshare", &[flag | DIRTY]);
        }
        filter.expect(ALLOWED, "clone", &[FORK]);
        filter.expect(ALLOWED, "clone", &[THREAD]);
        filter.expect(ALLOWED, "clone", &[0x120_0011]);
        filter.expect(ALLOWED, "clone", &[0x4111]);
        filter.expect(UNKNOWN, "clone3", &[0, 64]);
        filter.expect(FORBIDDEN, "setns", &[3, 0]);
    }
}

#[test]
fn an_upper_half_hides_nothing_from_the_filter() {
    let filter = Filter::of(Profile::Default);
    filter.expect(FORBIDDEN, "socket", &[38 | DIRTY, 5, 0]);
    filter.expect(FORBIDDEN, "socket", &[40 | DIRTY, 1, 0]);
    filter.expect(FORBIDDEN, "socket", &[1 | DIRTY, 1, 0]);
    filter.expect(FORBIDDEN, "ioctl", &[0, 0x5412 | DIRTY]);
    filter.expect(FORBIDDEN, "prctl", &[22 | DIRTY]);
    filter.expect(FORBIDDEN, "personality", &[0x40_0000 | DIRTY]);
    filter.expect(FORBIDDEN, "setsockopt", &[3, 6 | DIRTY, 31 | DIRTY]);
    filter.expect(ALLOWED, "socket", &[2 | DIRTY, 1 | DIRTY, 6 | DIRTY]);
    filter.expect(ALLOWED, "personality", &[u64::MAX]);
}

#[test]
fn only_the_named_families_types_and_protocols_make_a_socket() {
    for (profile, families) in [
        (Profile::Default, &[2, 10][..]),
        (Profile::NoNetwork, &[]),
        (Profile::UnixSockets, &[1, 2, 10]),
    ] {
        let filter = Filter::of(profile);
        for family in 0..=47_u64 {
            for options in [0, 0x800, 0x8_0000, 0x8_0800] {
                for kind in [1, 2, 3, 5] {
                    let ordinary = families.contains(&family) && kind <= 2;
                    let packets = family == 1 && families.contains(&1) && kind == 5;
                    let routes = family == 16 && !families.is_empty() && matches!(kind, 2 | 3);
                    let action = if ordinary || packets || routes { ALLOWED } else { FORBIDDEN };
                    filter.expect(action, "socket", &[family, kind | options, 0]);
                }
            }
        }
        for (kind, protocol) in [
            (1, 262),
            (1, 132),
            (1, 256),
            (2, 136),
            (3, 1),
            (3, 255),
            (2, 1),
            (2, 58),
            (1, 17),
            (2, 6),
        ] {
            filter.expect(FORBIDDEN, "socket", &[2, kind, protocol]);
            filter.expect(FORBIDDEN, "socket", &[10, kind, protocol]);
        }
        for protocol in 1..23 {
            filter.expect(FORBIDDEN, "socket", &[16, 3, protocol]);
        }
    }
}

#[test]
fn a_connected_pair_can_be_made_but_not_one_that_connects_elsewhere() {
    for profile in [Profile::Default, Profile::NoNetwork] {
        let filter = Filter::of(profile);
        for options in [0, 0x8_0000] {
            filter.expect(ALLOWED, "socketpair", &[1, 1 | options, 0]);
            filter.expect(ALLOWED, "socketpair", &[1, 5 | options, 0]);
            filter.expect(FORBIDDEN, "socketpair", &[1, 2 | options, 0]);
            // For Unix sockets the kernel takes raw to mean datagram.
            filter.expect(FORBIDDEN, "socketpair", &[1, 3 | options, 0]);
        }
        filter.expect(FORBIDDEN, "socketpair", &[2, 1, 0]);
        filter.expect(FORBIDDEN, "socketpair", &[30, 1, 0]);
    }
    Filter::of(Profile::UnixSockets).expect(ALLOWED, "socketpair", &[1, 2, 0]);
}

#[test]
fn nothing_is_sent_out_of_band() {
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for flags in [1_u64, 1 | 0x4000, 1 | DIRTY] {
            filter.expect(FORBIDDEN, "sendto", &[3, 0, 1, flags]);
            filter.expect(FORBIDDEN, "sendmsg", &[3, 0, flags]);
            filter.expect(FORBIDDEN, "sendmmsg", &[3, 0, 1, flags]);
        }
        filter.expect(ALLOWED, "sendto", &[3, 0, 1, 0x4000]);
        filter.expect(ALLOWED, "sendmsg", &[3, 1, 0x4000_0000]);
    }
}

#[test]
fn nothing_can_be_typed_into_a_terminal() {
    let filter = Filter::of(Profile::Default);
    for request in [0x5412_u64, 0x541C, 0x541D, 0x5423, 0x8004_5432] {
        filter.expect(FORBIDDEN, "ioctl", &[0, request]);
        filter.expect(FORBIDDEN, "ioctl", &[0, request | DIRTY]);
    }
    filter.expect(ALLOWED, "ioctl", &[0, 0x5401]);
    filter.expect(ALLOWED, "ioctl", &[0, 0x8004_5430]);
}

#[test]
fn a_socket_cannot_be_made_into_something_else() {
    let filter = Filter::of(Profile::Default);
    for (level, option) in [
        (6, 31),   // TCP_ULP
        (1, 26),   // SO_ATTACH_FILTER
        (1, 50),   // SO_ATTACH_BPF
        (1, 51),   // SO_ATTACH_REUSEPORT_CBPF
        (1, 52),   // SO_ATTACH_REUSEPORT_EBPF
        (17, 100), // UDP_ENCAP
        (0, 64),   // IPT_SO_SET_REPLACE
        (41, 64),  // IP6T_SO_SET_REPLACE
        (0, 35),   // IP_ADD_MEMBERSHIP
        (0, 42),   // MCAST_JOIN_GROUP
        (41, 20),  // IPV6_ADD_MEMBERSHIP
        (41, 1),   // IPV6_ADDRFORM
        (284, 1),  // SOL_MPTCP
        (1, 13),   // SO_LINGER
    ] {
        filter.expect(FORBIDDEN, "setsockopt", &[3, level, option]);
    }
    filter.expect(ALLOWED, "setsockopt", &[3, 6, 1]);
    filter.expect(ALLOWED, "setsockopt", &[3, 41, 26]);
}

#[test]
fn devices_are_not_made() {
    let filter = Filter::of(Profile::Default);
    for kind in [0x2000_u64, 0x6000, 0x4000, 0xA000] {
        filter.expect(FORBIDDEN, "mknod", &[0, kind | 0o666]);
        filter.expect(FORBIDDEN, "mknodat", &[0, 0, kind | 0o666]);
        filter.expect(FORBIDDEN, "mknodat", &[0, 0, kind | 0o666 | DIRTY | 0x1_0000]);
    }
    filter.expect(ALLOWED, "mknodat", &[0, 0, 0x1000 | 0o600]);
    filter.expect(ALLOWED, "mknodat", &[0, 0, 0o600]);
}

#[test]
fn priority_inheriting_locks_seem_not_to_exist() {
    let filter = Filter::of(Profile::Default);
    for operation in [6_u64, 7, 8, 11, 12, 13] {
        for options in [0, 0x80, 0x100, 0x180] {
            filter.expect(UNKNOWN, "futex", &[0, operation | options]);
        }
    }
    for operation in [0_u64, 1, 9, 10] {
        filter.expect(ALLOWED, "futex", &[0, operation | 0x80]);
    }
}

#[test]
fn the_gates_of_known_escapes_are_shut_whatever_the_arguments() {
    let shut = "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen \
         fsconfig fsmount fspick mount_setattr setns unshare io_uring_setup io_uring_enter \
         io_uring_register io_setup bpf perf_event_open userfaultfd process_vm_readv \
         process_vm_writev process_madvise ptrace kcmp pidfd_getfd add_key keyctl request_key \
         name_to_handle_at open_by_handle_at quotactl quotactl_fd acct swapon swapoff reboot \
         kexec_load kexec_file_load init_module finit_module delete_module syslog settimeofday \
         clock_settime adjtimex clock_adjtime sethostname setdomainname fanotify_init mbind \
         migrate_pages move_pages set_mempolicy modify_ldt iopl ioperm memfd_secret seccomp \
         file_setattr";
    for profile in Profile::PAYLOAD {
        let entries: Vec<_> = describe(profile).collect();
        for name in shut.split_whitespace() {
            let entry = entries.iter().find(|entry| entry.call.name == name).unwrap();
            assert_eq!(entry.verdict, Verdict::Deny(Errno::EPERM), "{name}");
        }
    }
}

#[test]
fn a_host_that_collects_dumps_is_never_told_of_a_crash() {
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for core in [4_u64, 4 | DIRTY] {
            filter.expect(IMPOSSIBLE, "setrlimit", &[core, 0x1000]);
            filter.expect(IMPOSSIBLE, "prlimit64", &[0, core, 0x1000, 0]);
            filter.expect(IMPOSSIBLE, "prlimit64", &[7, core, DIRTY, 0]);
            filter.expect(ALLOWED, "prlimit64", &[0, core, 0, 0x1000]);
        }
        for other in [0, 1, 2, 3, 5, 7, 9, 15] {
            filter.expect(ALLOWED, "setrlimit", &[other, 0x1000]);
            filter.expect(ALLOWED, "prlimit64", &[0, other, 0x1000, 0]);
        }
    }
}

#[test]
fn memory_is_the_sandboxs_own_and_shared_with_nobody() {
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        filter.expect(IMPOSSIBLE, "mmap", &[0, 2 << 20, 3, 0x4_0022]);
        filter.expect(IMPOSSIBLE, "mmap", &[0, 2 << 20, 3, 0x4_0022 | 21 << 26 | DIRTY]);
        filter.expect(IMPOSSIBLE, "memfd_create", &[0, 5]);
        filter.expect(IMPOSSIBLE, "shmget", &[0, 2 << 20, 0x800 | 0o1600]);
        filter.expect(ALLOWED, "mmap", &[0, 4096, 3, 0x22]);
        filter.expect(ALLOWED, "memfd_create", &[0, 3]);
        filter.expect(ALLOWED, "shmget", &[0, 4096, 0o1600]);
        for advice in [12_u64, 12 | DIRTY, 100, 101, 104] {
            filter.expect(IMPOSSIBLE, "madvise", &[0, 4096, advice]);
        }
        for advice in [0_u64, 4, 8, 14, 16, 25] {
            filter.expect(ALLOWED, "madvise", &[0, 4096, advice]);
        }
    }
}

#[test]
fn a_file_in_memory_is_sealed_against_executing_where_nothing_written_may_be_executed() {
    let filter = Filter::of(Profile::NoExec);
    for flags in [0_u64, 1, 3, 0x10, 0x13, DIRTY, 8 << 32] {
        filter.expect(Action::Fail(Errno::EACCES), "memfd_create", &[0, flags]);
    }
    for flags in [8_u64, 9, 0xB, 8 | DIRTY] {
        filter.expect(ALLOWED, "memfd_create", &[0, flags]);
    }
}

#[test]
fn memory_that_nobody_would_see_cannot_be_had_where_nothing_bounds_it() {
    let (unseen, unbound) = (Filter::of(Profile::Unseen), Filter::of(Profile::Unbound));
    unseen.expect(UNKNOWN, "memfd_create", &[0, 8]);
    unseen.expect(ALLOWED, "shmget", &[0, 4096, 0o1600]);
    unbound.expect(UNKNOWN, "shmget", &[0, 4096, 0o1600]);
    unbound.expect(UNKNOWN, "semget", &[0, 1, 0o1600]);
}

#[test]
fn the_hosts_page_cache_is_not_put_into_pipes_not_asked_about_and_not_emptied() {
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for name in ["splice", "tee", "vmsplice", "sendfile"] {
            filter.expect(IMPOSSIBLE, name, &[1, 3, 0, 4096]);
        }
        for advice in [4_u64, 4 | DIRTY, 6] {
            filter.expect(IMPOSSIBLE, "fadvise64", &[3, 0, 4096, advice]);
        }
        for advice in [0_u64, 2, 3] {
            filter.expect(ALLOWED, "fadvise64", &[3, 0, 4096, advice]);
        }
        for name in ["preadv2", "pwritev2"] {
            for flags in [8_u64, 8 | DIRTY, 0x80, 0x88] {
                filter.expect(Action::Fail(Errno::EOPNOTSUPP), name, &[3, 0, 1, 0, 0, flags]);
            }
            for flags in [0_u64, 2, 0x10] {
                filter.expect(ALLOWED, name, &[3, 0, 1, 0, 0, flags]);
            }
        }
    }
}

#[test]
fn a_pipe_that_root_made_does_not_grow() {
    for profile in Profile::PAYLOAD {
        Filter::of(profile).expect(IMPOSSIBLE, "fcntl", &[1, 1031, 1 << 20]);
        Filter::of(profile).expect(ALLOWED, "fcntl", &[1, 1032]);
    }
}

#[test]
fn every_record_lock_is_asked_about_and_there_are_none_that_cannot_be_counted() {
    let counted = Filter::of(Profile::Counted);
    for command in [6_u64, 7, 6 | DIRTY, 7 | DIRTY] {
        counted.expect(Action::Ask, "fcntl", &[3, command]);
    }
    for command in [0_u64, 1, 5, 8, 36, 37, 38] {
        counted.expect(ALLOWED, "fcntl", &[3, command]);
    }
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for command in [5_u64, 6, 7] {
            filter.expect(ALLOWED, "fcntl", &[3, command]);
        }
        // Of an open file, leases, and those of 32-bit programs.
        for command in [36_u64, 37, 38, 37 | DIRTY, 1024, 12, 13, 14] {
            filter.expect(IMPOSSIBLE, "fcntl", &[3, command]);
        }
    }
    // On whichever socket, and for however many.
    for arguments in [[3, 0], [3, 128], [u64::MAX, u64::MAX]] {
        counted.expect(Action::Ask, "listen", &arguments);
    }
    counted.expect(ALLOWED, "accept4", &[3, 0, 0, 0]);
    // Nobody asks init about its own.
    Filter::of(Profile::Init).expect(FORBIDDEN, "fcntl", &[3, 6]);
}

#[test]
fn a_table_of_descriptors_is_shared_by_threads_only() {
    const FILES: u64 = 0x400;
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for flags in [FILES | 17, FILES | 0x100 | 17, FILES | 0xF00, FILES | 17 | DIRTY] {
            filter.expect(FORBIDDEN, "clone", &[flags]);
        }
        filter.expect(ALLOWED, "clone", &[FILES | 0x1_0900]);
    }
}

#[test]
fn init_answers_questions_and_asks_no_device_anything_else() {
    let filter = Filter::of(Profile::Init);
    for request in [0xC050_2100_u64, 0xC018_2101] {
        filter.expect(ALLOWED, "ioctl", &[3, request]);
    }
    // Among them, putting a descriptor into the asking process (SECCOMP_IOCTL_NOTIF_ADDFD).
    for request in [0x4018_2103_u64, 0x4008_2104, 0x5412, 0] {
        filter.expect(FORBIDDEN, "ioctl", &[3, request]);
    }
}

#[test]
fn what_others_do_with_the_hosts_files_is_not_seen_and_those_are_not_written_back() {
    for profile in Profile::PAYLOAD {
        let filter = Filter::of(profile);
        for used in [1_u64, 0x10, 0x20, 0xFFF, 0x20 | DIRTY] {
            filter.expect(FORBIDDEN, "inotify_add_watch", &[3, 0, used]);
        }
        filter.expect(ALLOWED, "inotify_add_watch", &[3, 0, 0xFCE]);
        filter.expect(FORBIDDEN, "syncfs", &[3]);
        filter.expect(ALLOWED, "fsync", &[3]);
    }
}

#[test]
fn a_daemon_that_was_taken_over_stays_one_process_with_the_limits_it_was_given() {
    const THREAD: u64 = 0x3D_0F00;
    let filter = Filter::of(Profile::Daemon);
    filter.expect(ALLOWED, "clone", &[THREAD]);
    for flags in [17_u64, 0x120_0011, 0x4111, THREAD | 0x1000_0000, 17 | DIRTY << 16] {
        filter.expect(FORBIDDEN, "clone", &[flags]);
    }
    for name in ["fork", "vfork", "execve", "quotactl_fd", "file_setattr"] {
        filter.expect(FORBIDDEN, name, &[]);
    }
}

#[test]
fn init_maps_no_file_and_nothing_executable() {
    let filter = Filter::of(Profile::Init);
    filter.expect(ALLOWED, "mmap", &[0, 4096, 3, 0x22]);
    filter.expect(ALLOWED, "mmap", &[0, 4096, 0, 0x20022]);
    filter.expect(FORBIDDEN, "mmap", &[0, 4096, 5, 0x22]);
    filter.expect(FORBIDDEN, "mmap", &[0, 4096, 3 | DIRTY, 0x22]);
    filter.expect(FORBIDDEN, "mmap", &[0, 4096, 3, 0x02]);
    for name in ["execve", "openat", "socket", "clone", "kill", "mprotect", "prctl"] {
        filter.expect(Action::Kill, name, &[]);
    }
}
