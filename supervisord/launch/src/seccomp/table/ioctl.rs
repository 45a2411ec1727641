//! ioctl(2), by request: an allow-list, because every device and file system adds requests.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant,
};

const REQUEST: Argument = argument(1, "request");

const REQUESTS: &[Constant] = &[
    // Pseudo-terminals: modes, window size, sessions and process groups. TIOCSTI and TIOCLINUX
    // (type into the terminal), TIOCSETD (load a line discipline) and TIOCCONS are not here.
    constant("TCGETS", 0x5401),
    constant("TCSETS", 0x5402),
    constant("TCSETSW", 0x5403),
    constant("TCSETSF", 0x5404),
    constant("TCSBRK", 0x5409),
    constant("TCXONC", 0x540A),
    constant("TCFLSH", 0x540B),
    constant("TIOCSCTTY", 0x540E),
    constant("TIOCGPGRP", 0x540F),
    constant("TIOCSPGRP", 0x5410),
    constant("TIOCOUTQ", 0x5411),
    constant("TIOCGWINSZ", 0x5413),
    constant("TIOCSWINSZ", 0x5414),
    constant("TIOCPKT", 0x5420),
    constant("TIOCNOTTY", 0x5422),
    constant("TCSBRKP", 0x5425),
    constant("TIOCGSID", 0x5429),
    constant("TCGETS2", 0x802C_542A),
    constant("TCSETS2", 0x402C_542B),
    constant("TCSETSW2", 0x402C_542C),
    constant("TCSETSF2", 0x402C_542D),
    constant("TIOCGPTN", 0x8004_5430),
    constant("TIOCSPTLCK", 0x4004_5431),
    constant("TIOCGPTLCK", 0x8004_5439),
    constant("TIOCGPTPEER", 0x5441),
    // Descriptors of every kind.
    constant("FIONREAD", 0x541B),
    constant("FIONBIO", 0x5421),
    constant("FIONCLEX", 0x5450),
    constant("FIOCLEX", 0x5451),
    constant("FIOASYNC", 0x5452),
    // Copies that share blocks, within one file system and its quota, and reading inode flags.
    // What changes flags, project ids, subvolumes, encryption or freezes is not here.
    constant("FICLONE", 0x4004_9409),
    constant("FICLONERANGE", 0x4020_940D),
    constant("FS_IOC_GETFLAGS", 0x8008_6601),
    // How much entropy the kernel counts: some cryptography libraries ask.
    constant("RNDGETENTCNT", 0x8004_5200),
    // Looking at network interfaces, of which there is the loopback one.
    constant("SIOCATMARK", 0x8905),
    constant("SIOCGIFNAME", 0x8910),
    constant("SIOCGIFCONF", 0x8912),
    constant("SIOCGIFFLAGS", 0x8913),
    constant("SIOCGIFADDR", 0x8915),
    constant("SIOCGIFDSTADDR", 0x8917),
    constant("SIOCGIFBRDADDR", 0x8919),
    constant("SIOCGIFNETMASK", 0x891B),
    constant("SIOCGIFMETRIC", 0x891D),
    constant("SIOCGIFMTU", 0x8921),
    constant("SIOCGIFHWADDR", 0x8927),
    constant("SIOCGIFINDEX", 0x8933),
    constant("SIOCGIFTXQLEN", 0x8942),
];

pub const GROUPS: &[Group] = &[Group {
    reason: "terminals, descriptors, block-sharing copies and looking at interfaces; injecting \
             into a terminal, inode flags, namespaces' and every device's own requests are out",
    verdict: Verdict::AllowIf(&[&[Test::OneOf(REQUEST, REQUESTS)]], Errno::EPERM),
    calls: &[call("ioctl", 16, 29)],
}];
