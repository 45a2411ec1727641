//! Sockets: which families, and what is done with them.

use crate::seccomp::verdict::{
    Argument, Clause, Constant, Errno, Group, Test, Verdict, argument, call, constant,
};

const FAMILY: Argument = argument(0, "family");
const TYPE: Argument = argument(1, "type");
const PROTOCOL: Argument = argument(2, "protocol");

const SENDMSG_FLAGS: Argument = argument(2, "flags");
const SENDTO_FLAGS: Argument = argument(3, "flags");
const OUT_OF_BAND: Constant = constant("MSG_OOB", 1);

const TYPE_OPTIONS: Constant = constant("SOCK_NONBLOCK|SOCK_CLOEXEC", 0x800 | 0x8_0000);

const STREAM: Constant = constant("SOCK_STREAM", 1);
const DGRAM: Constant = constant("SOCK_DGRAM", 2);
const RAW: Constant = constant("SOCK_RAW", 3);
const SEQPACKET: Constant = constant("SOCK_SEQPACKET", 5);

const ANY_PROTOCOL: Constant = constant("0", 0);

const INTERNET: Test = Test::OneOf(FAMILY, &[constant("AF_INET", 2), constant("AF_INET6", 10)]);
const UNIX: Test = Test::OneOf(FAMILY, &[constant("AF_UNIX", 1)]);

const TCP: Clause = &[
    INTERNET,
    Test::OneOfWithout(TYPE, TYPE_OPTIONS, &[STREAM]),
    Test::OneOf(PROTOCOL, &[ANY_PROTOCOL, constant("IPPROTO_TCP", 6)]),
];

const UDP: Clause = &[
    INTERNET,
    Test::OneOfWithout(TYPE, TYPE_OPTIONS, &[DGRAM]),
    Test::OneOf(PROTOCOL, &[ANY_PROTOCOL, constant("IPPROTO_UDP", 17)]),
];

const ROUTES: Clause = &[
    Test::OneOf(FAMILY, &[constant("AF_NETLINK", 16)]),
    Test::OneOfWithout(TYPE, TYPE_OPTIONS, &[DGRAM, RAW]),
    Test::OneOf(PROTOCOL, &[constant("NETLINK_ROUTE", 0)]),
];

const ADDRESSABLE: Clause = &[
    UNIX,
    Test::OneOfWithout(TYPE, TYPE_OPTIONS, &[STREAM, DGRAM, SEQPACKET]),
    Test::OneOf(PROTOCOL, &[ANY_PROTOCOL]),
];

const CONNECTED: Clause = &[
    UNIX,
    Test::OneOfWithout(TYPE, TYPE_OPTIONS, &[STREAM, SEQPACKET]),
    Test::OneOf(PROTOCOL, &[ANY_PROTOCOL]),
];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "TCP and UDP to the loopback interface, which is the only one, and the netlink \
                 protocol by which C libraries list interfaces; every other family and protocol \
                 is a part of the kernel that nobody here needs. Unix sockets with addresses \
                 reach whatever listens in a mounted directory, read-only or not",
        verdict: Verdict::AllowIf(&[TCP, UDP, ROUTES], Errno::EPERM),
        calls: &[call("socket", 41, 198)],
    },
    Group {
        reason: "pairs that stay connected: one end of a datagram pair could be connected anew, \
                 to a path",
        verdict: Verdict::AllowIf(&[CONNECTED], Errno::EPERM),
        calls: &[call("socketpair", 53, 199)],
    },
    Group {
        reason: "use of the sockets that could be made",
        verdict: Verdict::Allow,
        calls: &[
            call("connect", 42, 203),
            call("accept", 43, 202),
            call("accept4", 288, 242),
            call("bind", 49, 200),
            call("listen", 50, 201),
            call("shutdown", 48, 210),
            call("getsockname", 51, 204),
            call("getpeername", 52, 205),
            call("recvfrom", 45, 207),
            call("recvmsg", 47, 212),
            call("recvmmsg", 299, 243),
            call("getsockopt", 55, 209),
        ],
    },
    Group {
        reason: "sending, but nothing out of band: on a Unix pair that was a way from a browser's \
                 sandbox into the kernel (CVE-2025-38236), and next to nobody does it on TCP",
        verdict: Verdict::AllowIf(&[&[Test::NoneOfBits(SENDMSG_FLAGS, OUT_OF_BAND)]], Errno::EPERM),
        calls: &[call("sendmsg", 46, 211)],
    },
    Group {
        reason: "as sendmsg",
        verdict: Verdict::AllowIf(&[&[Test::NoneOfBits(SENDTO_FLAGS, OUT_OF_BAND)]], Errno::EPERM),
        calls: &[call("sendto", 44, 206), call("sendmmsg", 307, 269)],
    },
];

/// What [`crate::seccomp::Profile::NoNetwork`] has of its own.
pub const NO_NETWORK: &[Group] = &[Group {
    reason: "no network: connected pairs are all there is",
    verdict: Verdict::Deny(Errno::EPERM),
    calls: &[call("socket", 41, 198)],
}];

/// What [`crate::seccomp::Profile::UnixSockets`] has of its own.
pub const UNIX_SOCKETS: &[Group] = &[
    Group {
        reason: "as the default, and Unix sockets with addresses, for programs whose processes \
                 meet at one; what they can reach is then up to the mounts alone",
        verdict: Verdict::AllowIf(&[TCP, UDP, ROUTES, ADDRESSABLE], Errno::EPERM),
        calls: &[call("socket", 41, 198)],
    },
    Group {
        reason: "where sockets may have addresses, datagram pairs add nothing",
        verdict: Verdict::AllowIf(&[ADDRESSABLE], Errno::EPERM),
        calls: &[call("socketpair", 53, 199)],
    },
];
