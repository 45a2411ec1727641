//! The values of constants against those of the C library's bindings.

use std::collections::{BTreeMap, HashSet};

use crate::seccomp::tests::every_clause;
use crate::seccomp::verdict::{Constant, Test};

macro_rules! values {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name as u32)),*] };
}

#[rustfmt::skip]
const BOUND: &[(&str, u32)] = values!(
    MAP_ANONYMOUS TCGETS TCSETS TCSETSW TCSETSF TCSBRK TCXONC TCFLSH TIOCSCTTY TIOCGPGRP TIOCSPGRP
    TIOCOUTQ TIOCGWINSZ TIOCSWINSZ TIOCPKT TIOCNOTTY TCSBRKP TIOCGSID TCGETS2 TCSETS2 TCSETSW2
    TCSETSF2 TIOCGPTN TIOCSPTLCK TIOCGPTLCK TIOCGPTPEER FIONREAD FIONBIO FIONCLEX FIOCLEX FIOASYNC
    FICLONE FICLONERANGE FS_IOC_GETFLAGS SIOCGIFNAME SIOCGIFCONF SIOCGIFFLAGS SIOCGIFADDR
    SIOCGIFDSTADDR SIOCGIFBRDADDR SIOCGIFNETMASK SIOCGIFMETRIC SIOCGIFMTU SIOCGIFHWADDR SIOCGIFINDEX
    SIOCGIFTXQLEN SCHED_RESET_ON_FORK SCHED_OTHER SCHED_BATCH SCHED_IDLE PR_SET_PDEATHSIG
    PR_GET_PDEATHSIG PR_GET_DUMPABLE PR_SET_DUMPABLE PR_SET_NAME PR_GET_NAME PR_SET_TIMERSLACK
    PR_GET_TIMERSLACK PR_SET_CHILD_SUBREAPER PR_GET_CHILD_SUBREAPER PR_GET_KEEPCAPS PR_GET_SECCOMP
    PR_CAPBSET_READ PR_GET_SECUREBITS PR_SET_NO_NEW_PRIVS PR_GET_NO_NEW_PRIVS
    PR_GET_SPECULATION_CTRL PR_SET_THP_DISABLE PR_GET_THP_DISABLE PR_SET_VMA FUTEX_WAIT FUTEX_WAKE
    FUTEX_REQUEUE FUTEX_CMP_REQUEUE FUTEX_WAKE_OP FUTEX_WAIT_BITSET FUTEX_WAKE_BITSET S_IFREG
    S_IFIFO S_IFSOCK F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_GETLK F_SETLK F_SETLKW F_SETOWN
    F_GETOWN POSIX_FADV_NORMAL POSIX_FADV_RANDOM POSIX_FADV_SEQUENTIAL POSIX_FADV_WILLNEED POSIX_FADV_NOREUSE F_DUPFD_CLOEXEC F_SETPIPE_SZ F_GETPIPE_SZ
    F_ADD_SEALS F_GET_SEALS SOL_SOCKET SO_REUSEADDR SO_BROADCAST SO_SNDBUF SO_RCVBUF SO_KEEPALIVE
    SO_OOBINLINE SO_PRIORITY SO_LINGER SO_REUSEPORT SO_PASSCRED SO_RCVLOWAT TCP_NODELAY TCP_MAXSEG
    TCP_CORK TCP_KEEPIDLE TCP_KEEPINTVL TCP_KEEPCNT TCP_SYNCNT TCP_LINGER2 TCP_DEFER_ACCEPT
    TCP_WINDOW_CLAMP TCP_QUICKACK TCP_USER_TIMEOUT TCP_FASTOPEN TCP_NOTSENT_LOWAT
    TCP_FASTOPEN_CONNECT TCP_INQ IP_TOS IP_TTL IP_PKTINFO IP_MTU_DISCOVER IP_RECVERR IP_RECVTTL
    IP_RECVTOS IP_BIND_ADDRESS_NO_PORT IP_MULTICAST_TTL IP_MULTICAST_LOOP IP_MULTICAST_ALL
    IPV6_UNICAST_HOPS IPV6_MULTICAST_HOPS IPV6_MULTICAST_LOOP IPV6_MTU_DISCOVER IPV6_RECVERR
    IPV6_V6ONLY IPV6_MULTICAST_ALL IPV6_RECVPKTINFO IPV6_RECVHOPLIMIT IPV6_DONTFRAG IPV6_RECVTCLASS
    IPV6_TCLASS IPPROTO_TCP IPPROTO_IP IPPROTO_IPV6 AF_INET AF_INET6 AF_UNIX IPPROTO_UDP AF_NETLINK
    NETLINK_ROUTE MSG_OOB SOCK_STREAM SOCK_DGRAM SOCK_RAW SOCK_SEQPACKET MFD_HUGETLB MFD_NOEXEC_SEAL MAP_HUGETLB
    SHM_HUGETLB MADV_NORMAL MADV_RANDOM MADV_SEQUENTIAL MADV_WILLNEED MADV_DONTNEED MADV_FREE
    MADV_REMOVE MADV_DONTFORK MADV_DOFORK MADV_UNMERGEABLE MADV_HUGEPAGE MADV_NOHUGEPAGE
    MADV_DONTDUMP MADV_DODUMP MADV_WIPEONFORK MADV_KEEPONFORK MADV_COLD MADV_PAGEOUT
    MADV_POPULATE_READ MADV_POPULATE_WRITE RLIMIT_CPU RLIMIT_FSIZE RLIMIT_DATA RLIMIT_STACK
    RLIMIT_RSS RLIMIT_NPROC RLIMIT_NOFILE RLIMIT_MEMLOCK RLIMIT_AS RLIMIT_LOCKS RLIMIT_SIGPENDING
    RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_RTTIME CLONE_THREAD
);

/// Constants that the bindings lack, and names made up for masks, with what they are made of.
const UNBOUND: &[(&str, u32)] = &[
    ("0", 0),
    ("PER_LINUX", 0),
    ("0xffffffff", u32::MAX),
    ("permissions", !libc::S_IFMT),
    ("PROT_READ|PROT_WRITE", (libc::PROT_READ | libc::PROT_WRITE) as u32),
    ("SOCK_NONBLOCK|SOCK_CLOEXEC", (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32),
    (
        "FUTEX_PRIVATE_FLAG|FUTEX_CLOCK_REALTIME",
        (libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME) as u32,
    ),
    ("CLONE_NEW*", NEW_NAMESPACES),
    ("CLONE_NEW*|CLONE_FILES", NEW_NAMESPACES | libc::CLONE_FILES as u32),
    ("SECCOMP_IOCTL_NOTIF_RECV", request(3, size_of::<libc::seccomp_notif>(), 0)),
    ("SECCOMP_IOCTL_NOTIF_SEND", request(3, size_of::<libc::seccomp_notif_resp>(), 1)),
    (
        "IN_ACCESS|IN_CLOSE_NOWRITE|IN_OPEN",
        libc::IN_ACCESS | libc::IN_CLOSE_NOWRITE | libc::IN_OPEN,
    ),
    ("MADV_DONTNEED_LOCKED", 24),
    ("MADV_COLLAPSE", 25),
    ("MADV_GUARD_INSTALL", 102),
    ("MADV_GUARD_REMOVE", 103),
    ("F_SETSIG", 10),
    ("RWF_NOWAIT|RWF_DONTCACHE", (libc::RWF_NOWAIT | 0x80) as u32),
    ("F_GETSIG", 11),
    ("F_SETOWN_EX", 15),
    ("F_GETOWN_EX", 16),
    ("F_DUPFD_QUERY", 1024 + 3),
    ("RNDGETENTCNT", 0x8004_5200),
    ("SIOCATMARK", 0x8905),
    ("PR_SVE_GET_VL", 51),
    ("PR_SME_GET_VL", 64),
    ("PR_GET_SHADOW_STACK_STATUS", 74),
    ("PR_SET_SHADOW_STACK_STATUS", 75),
    ("PR_LOCK_SHADOW_STACK_STATUS", 76),
    ("PR_GET_AUXV", u32::from_be_bytes(*b"AUXV")),
    ("SO_RCVTIMEO_OLD", libc::SO_RCVTIMEO as u32),
    ("SO_SNDTIMEO_OLD", libc::SO_SNDTIMEO as u32),
    ("SO_RCVTIMEO_NEW", 66),
    ("SO_SNDTIMEO_NEW", 67),
];

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWTIME) as u32;

/// A request of seccomp(2)'s listeners, as linux/ioctl.h puts it together.
const fn request(direction: u32, size: usize, number: u32) -> u32 {
    direction << 30 | (size as u32) << 16 | (b'!' as u32) << 8 | number
}

#[test]
fn a_constant_has_the_value_that_the_headers_give_it() {
    let known: BTreeMap<&str, u32> = BOUND.iter().chain(UNBOUND).copied().collect();
    for constant in every_clause().flatten().flat_map(constants) {
        assert_eq!(known.get(constant.name), Some(&constant.value), "{}", constant.name);
    }
}

#[test]
fn no_list_has_a_value_twice() {
    for test in every_clause().flatten() {
        if let Test::OneOf(_, values) | Test::OneOfWithout(_, _, values) = test {
            let distinct: HashSet<u32> = values.iter().map(|one| one.value).collect();
            assert_eq!(distinct.len(), values.len(), "{test}");
        }
    }
}

#[test]
fn no_value_has_a_bit_that_its_mask_takes_away() {
    for test in every_clause().flatten() {
        if let Test::OneOfWithout(_, mask, values) = test {
            assert!(values.iter().all(|one| one.value & mask.value == 0), "{test} never holds");
        }
    }
}

fn constants(test: &Test) -> Vec<Constant> {
    match *test {
        Test::OneOf(_, values) => values.to_vec(),
        Test::OneOfWithout(_, mask, values) => [&[mask], values].concat(),
        Test::NoneOfBits(_, mask) | Test::OnlyBits(_, mask) | Test::AllBits(_, mask) => vec![mask],
    }
}
