//! Processes, threads, signals, identity and scheduling.

use crate::seccomp::verdict::{
    Argument, Constant, Errno, Group, Test, Verdict, argument, call, constant, recent, x86_64,
};

const CLONE_FLAGS: Argument = argument(0, "flags");

/// CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET, and CLONE_NEWTIME (0x80),
/// which here falls into the byte of the exit signal: no signal has that bit, so nobody misses it.
const NEW_NAMESPACES: Constant = constant("CLONE_NEW*", 0x7E02_0000 | 0x80);

/// The same and CLONE_FILES.
const NEW_NAMESPACES_OR_FILES: Constant =
    constant("CLONE_NEW*|CLONE_FILES", NEW_NAMESPACES.value | 0x400);
const THREAD: Constant = constant("CLONE_THREAD", 0x1_0000);

const POLICY: Argument = argument(1, "policy");
const RESET_ON_FORK: Constant = constant("SCHED_RESET_ON_FORK", 0x4000_0000);
const FAIR_POLICIES: &[Constant] =
    &[constant("SCHED_OTHER", 0), constant("SCHED_BATCH", 3), constant("SCHED_IDLE", 5)];

const RESOURCE: Argument = argument(0, "resource");
const PRLIMIT_RESOURCE: Argument = argument(1, "resource");
const PRLIMIT_NEW_LIMIT: Argument = argument(2, "new_limit");
const NOTHING: Constant = constant("0", 0);
const RESOURCES: &[Constant] = &[
    constant("RLIMIT_CPU", 0),
    constant("RLIMIT_FSIZE", 1),
    constant("RLIMIT_DATA", 2),
    constant("RLIMIT_STACK", 3),
    constant("RLIMIT_RSS", 5),
    constant("RLIMIT_NPROC", 6),
    constant("RLIMIT_NOFILE", 7),
    constant("RLIMIT_MEMLOCK", 8),
    constant("RLIMIT_AS", 9),
    constant("RLIMIT_LOCKS", 10),
    constant("RLIMIT_SIGPENDING", 11),
    constant("RLIMIT_MSGQUEUE", 12),
    constant("RLIMIT_NICE", 13),
    constant("RLIMIT_RTPRIO", 14),
    constant("RLIMIT_RTTIME", 15),
];

const PERSONA: Argument = argument(0, "persona");
const PERSONAS: &[Constant] = &[constant("PER_LINUX", 0), constant("0xffffffff", 0xFFFF_FFFF)];

pub const GROUPS: &[Group] = &[
    Group {
        reason: "threads and processes, not namespaces: a user namespace is the gate to most \
                 holes that end in root. Only threads share their table of descriptors: record locks \
                 belong to the table and are listed by process, and those of one that has ended while \
                 another went on with its table would be in no list that init can count",
        verdict: Verdict::AllowIf(
            &[
                &[Test::NoneOfBits(CLONE_FLAGS, NEW_NAMESPACES_OR_FILES)],
                &[
                    Test::NoneOfBits(CLONE_FLAGS, NEW_NAMESPACES),
                    Test::AllBits(CLONE_FLAGS, THREAD),
                ],
            ],
            Errno::EPERM,
        ),
        calls: &[call("clone", 56, 220)],
    },
    Group {
        reason: "its flags are behind a pointer; C libraries fall back to clone on ENOSYS and on \
                 nothing else",
        verdict: Verdict::Deny(Errno::ENOSYS),
        calls: &[recent("clone3", 435)],
    },
    Group {
        reason: "namespaces, again",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("unshare", 272, 97), call("setns", 308, 268)],
    },
    Group {
        reason: "starting, ending and waiting for processes of the sandbox; pids.max bounds them",
        verdict: Verdict::Allow,
        calls: &[
            x86_64("fork", 57),
            x86_64("vfork", 58),
            call("execve", 59, 221),
            call("execveat", 322, 281),
            call("exit", 60, 93),
            call("exit_group", 231, 94),
            call("wait4", 61, 260),
            call("waitid", 247, 95),
            recent("pidfd_open", 434),
            call("set_tid_address", 218, 96),
            call("rseq", 334, 293),
            call("restart_syscall", 219, 128),
        ],
    },
    Group {
        reason: "a return probe that the host set comes back through it; the kernel ends whoever \
                 else calls it",
        verdict: Verdict::Allow,
        calls: &[x86_64("uretprobe", 335)],
    },
    Group {
        reason: "signals, which reach no further than the sandbox's pid namespace",
        verdict: Verdict::Allow,
        calls: &[
            call("rt_sigaction", 13, 134),
            call("rt_sigprocmask", 14, 135),
            call("rt_sigreturn", 15, 139),
            call("rt_sigpending", 127, 136),
            call("rt_sigtimedwait", 128, 137),
            call("rt_sigqueueinfo", 129, 138),
            call("rt_tgsigqueueinfo", 297, 240),
            call("rt_sigsuspend", 130, 133),
            call("sigaltstack", 131, 132),
            call("kill", 62, 129),
            call("tkill", 200, 130),
            call("tgkill", 234, 131),
            recent("pidfd_send_signal", 424),
            x86_64("signalfd", 282),
            call("signalfd4", 289, 74),
            x86_64("pause", 34),
        ],
    },
    Group {
        reason: "who and what the process is",
        verdict: Verdict::Allow,
        calls: &[
            call("getpid", 39, 172),
            call("getppid", 110, 173),
            call("gettid", 186, 178),
            call("getpgid", 121, 155),
            x86_64("getpgrp", 111),
            call("getsid", 124, 156),
            call("getuid", 102, 174),
            call("geteuid", 107, 175),
            call("getresuid", 118, 148),
            call("getgid", 104, 176),
            call("getegid", 108, 177),
            call("getresgid", 120, 150),
            call("getgroups", 115, 158),
            call("capget", 125, 90),
        ],
    },
    Group {
        reason: "sessions and process groups within the sandbox",
        verdict: Verdict::Allow,
        calls: &[call("setpgid", 109, 154), call("setsid", 112, 157)],
    },
    Group {
        reason: "one id is mapped and no capability held, so they can only say what is so already \
                 or drop what isn't there; daemons and package tools call them at start",
        verdict: Verdict::Allow,
        calls: &[
            call("setuid", 105, 146),
            call("setgid", 106, 144),
            call("setreuid", 113, 145),
            call("setregid", 114, 143),
            call("setresuid", 117, 147),
            call("setresgid", 119, 149),
            call("setfsuid", 122, 151),
            call("setfsgid", 123, 152),
            call("setgroups", 116, 159),
            call("capset", 126, 91),
        ],
    },
    Group {
        reason: "limits of its own, which only go down; but not RLIMIT_CORE, whose 1 alone keeps the \
                 kernel from starting the host's collector of dumps, as root, for a crash in here. EINVAL, \
                 on which programs that want no dump (gpg) go on",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(RESOURCE, RESOURCES)]], Errno::EINVAL),
        calls: &[call("setrlimit", 160, 164)],
    },
    Group {
        reason: "as setrlimit; without a new limit it only asks",
        verdict: Verdict::AllowIf(
            &[
                &[Test::OneOf(PRLIMIT_RESOURCE, RESOURCES)],
                &[Test::OnlyBits(PRLIMIT_NEW_LIMIT, NOTHING)],
            ],
            Errno::EINVAL,
        ),
        calls: &[call("prlimit64", 302, 261)],
    },
    Group {
        reason: "asking what it may use and has used",
        verdict: Verdict::Allow,
        calls: &[
            call("getrlimit", 97, 163),
            call("getrusage", 98, 165),
            call("times", 100, 153),
            call("sysinfo", 99, 179),
            call("uname", 63, 160),
            call("getcpu", 309, 168),
        ],
    },
    Group {
        reason: "asking about scheduling, giving way, and keeping to some of the sandbox's CPUs",
        verdict: Verdict::Allow,
        calls: &[
            call("sched_yield", 24, 124),
            call("sched_getaffinity", 204, 123),
            call("sched_setaffinity", 203, 122),
            call("sched_getparam", 143, 121),
            call("sched_setparam", 142, 118),
            call("sched_getscheduler", 145, 120),
            call("sched_get_priority_max", 146, 125),
            call("sched_get_priority_min", 147, 126),
            call("sched_rr_get_interval", 148, 127),
            call("sched_getattr", 315, 275),
            call("getpriority", 140, 141),
            call("setpriority", 141, 140),
            call("ioprio_get", 252, 31),
            call("ioprio_set", 251, 30),
        ],
    },
    Group {
        reason: "the fair classes; real-time ones would starve others on a host whose \
                 RLIMIT_RTPRIO permits them",
        verdict: Verdict::AllowIf(
            &[&[Test::OneOfWithout(POLICY, RESET_ON_FORK, FAIR_POLICIES)]],
            Errno::EPERM,
        ),
        calls: &[call("sched_setscheduler", 144, 119)],
    },
    Group {
        reason: "its class, deadline and clamp are behind a pointer",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("sched_setattr", 314, 274)],
    },
    Group {
        reason: "the ordinary personality and asking for it; others bring old ABIs back or take \
                 address randomisation away",
        verdict: Verdict::AllowIf(&[&[Test::OneOf(PERSONA, PERSONAS)]], Errno::EPERM),
        calls: &[call("personality", 135, 92)],
    },
];
