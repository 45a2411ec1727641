//! setsockopt(2), by level and option: an allow-list, because options load modules, attach
//! programs and turn a socket into something else.

use crate::seccomp::verdict::{
    Argument, Clause, Constant, Errno, Group, Test, Verdict, argument, call, constant,
};

const LEVEL: Argument = argument(1, "level");
const OPTION: Argument = argument(2, "optname");

/// Not here: attached filters and BPF, SO_BINDTODEVICE, SO_MARK, SO_ZEROCOPY, SO_TIMESTAMPING; SO_LINGER, by
/// which whoever closes a socket last waits, and that is the daemon or the kernel where one was passed on.
const SOCKET_OPTIONS: &[Constant] = &[
    constant("SO_REUSEADDR", 2),
    constant("SO_BROADCAST", 6),
    constant("SO_SNDBUF", 7),
    constant("SO_RCVBUF", 8),
    constant("SO_KEEPALIVE", 9),
    constant("SO_OOBINLINE", 10),
    constant("SO_PRIORITY", 12),
    constant("SO_REUSEPORT", 15),
    constant("SO_PASSCRED", 16),
    constant("SO_RCVLOWAT", 18),
    constant("SO_RCVTIMEO_OLD", 20),
    constant("SO_SNDTIMEO_OLD", 21),
    constant("SO_RCVTIMEO_NEW", 66),
    constant("SO_SNDTIMEO_NEW", 67),
];

/// Not here: TCP_ULP (kernel TLS, espintcp: Fragnesia), TCP_REPAIR, TCP_CONGESTION, TCP_MD5SIG,
/// TCP_AO_*.
const TCP_OPTIONS: &[Constant] = &[
    constant("TCP_NODELAY", 1),
    constant("TCP_MAXSEG", 2),
    constant("TCP_CORK", 3),
    constant("TCP_KEEPIDLE", 4),
    constant("TCP_KEEPINTVL", 5),
    constant("TCP_KEEPCNT", 6),
    constant("TCP_SYNCNT", 7),
    constant("TCP_LINGER2", 8),
    constant("TCP_DEFER_ACCEPT", 9),
    constant("TCP_WINDOW_CLAMP", 10),
    constant("TCP_QUICKACK", 12),
    constant("TCP_USER_TIMEOUT", 18),
    constant("TCP_FASTOPEN", 23),
    constant("TCP_NOTSENT_LOWAT", 25),
    constant("TCP_FASTOPEN_CONNECT", 30),
    constant("TCP_INQ", 36),
];

/// The C library's resolver asks for IP_RECVERR, Java sets IP_MULTICAST_ALL on every datagram
/// socket. Not here: joining groups, IP_OPTIONS, IP_TRANSPARENT, netfilter's IPT_SO_SET_*.
const IP_OPTIONS: &[Constant] = &[
    constant("IP_TOS", 1),
    constant("IP_TTL", 2),
    constant("IP_PKTINFO", 8),
    constant("IP_MTU_DISCOVER", 10),
    constant("IP_RECVERR", 11),
    constant("IP_RECVTTL", 12),
    constant("IP_RECVTOS", 13),
    constant("IP_BIND_ADDRESS_NO_PORT", 24),
    constant("IP_MULTICAST_TTL", 33),
    constant("IP_MULTICAST_LOOP", 34),
    constant("IP_MULTICAST_ALL", 49),
];

/// Java sets IPV6_MULTICAST_HOPS and IPV6_MULTICAST_ALL. Not here: joining groups, extension
/// headers, flow labels, IPV6_ADDRFORM, netfilter's IP6T_SO_SET_*.
const IPV6_OPTIONS: &[Constant] = &[
    constant("IPV6_UNICAST_HOPS", 16),
    constant("IPV6_MULTICAST_HOPS", 18),
    constant("IPV6_MULTICAST_LOOP", 19),
    constant("IPV6_MTU_DISCOVER", 23),
    constant("IPV6_RECVERR", 25),
    constant("IPV6_V6ONLY", 26),
    constant("IPV6_MULTICAST_ALL", 29),
    constant("IPV6_RECVPKTINFO", 49),
    constant("IPV6_RECVHOPLIMIT", 51),
    constant("IPV6_DONTFRAG", 62),
    constant("IPV6_RECVTCLASS", 66),
    constant("IPV6_TCLASS", 67),
];

const SOCKET: Clause =
    &[Test::OneOf(LEVEL, &[constant("SOL_SOCKET", 1)]), Test::OneOf(OPTION, SOCKET_OPTIONS)];
const TCP: Clause =
    &[Test::OneOf(LEVEL, &[constant("IPPROTO_TCP", 6)]), Test::OneOf(OPTION, TCP_OPTIONS)];
const IP: Clause =
    &[Test::OneOf(LEVEL, &[constant("IPPROTO_IP", 0)]), Test::OneOf(OPTION, IP_OPTIONS)];
const IPV6: Clause =
    &[Test::OneOf(LEVEL, &[constant("IPPROTO_IPV6", 41)]), Test::OneOf(OPTION, IPV6_OPTIONS)];

pub const GROUPS: &[Group] = &[Group {
    reason: "timeouts, sizes and the options that clients, servers and resolvers set; nothing that \
             attaches programs, loads protocols, joins groups, rewrites packets or changes what \
             the socket is (UDP encapsulation, kernel TLS, netfilter tables)",
    verdict: Verdict::AllowIf(&[SOCKET, TCP, IP, IPV6], Errno::EPERM),
    calls: &[call("setsockopt", 54, 208)],
}];
