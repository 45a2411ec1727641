//! The host's administration, its mounts and what watches it; and calls answered as if the kernel
//! didn't have them.

use crate::seccomp::verdict::{Errno, Group, Verdict, call, recent, x86_64};

pub const GROUPS: &[Group] = &[
    Group {
        reason: "the mount tree is the first wall: nobody builds on it from inside (Flatpak \
                 forgot the newer half of these, CVE-2021-41133)",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("mount", 165, 40),
            call("umount2", 166, 39),
            call("pivot_root", 155, 41),
            call("chroot", 161, 51),
            recent("open_tree", 428),
            recent("open_tree_attr", 467),
            recent("move_mount", 429),
            recent("fsopen", 430),
            recent("fsconfig", 431),
            recent("fsmount", 432),
            recent("fspick", 433),
            recent("mount_setattr", 442),
        ],
    },
    Group {
        reason: "programs that run inside the kernel or watch it",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("bpf", 321, 280),
            call("perf_event_open", 298, 241),
            call("syslog", 103, 116),
        ],
    },
    Group {
        reason: "the host's kernel, its modules, power, swap, quotas and accounting",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[
            call("init_module", 175, 105),
            call("finit_module", 313, 273),
            call("delete_module", 176, 106),
            call("kexec_load", 246, 104),
            call("kexec_file_load", 320, 294),
            call("reboot", 169, 142),
            call("swapon", 167, 224),
            call("swapoff", 168, 225),
            call("quotactl", 179, 60),
            recent("quotactl_fd", 443),
            call("acct", 163, 89),
        ],
    },
    Group {
        reason: "the sandbox's names are the supervisor's to give",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[call("sethostname", 170, 161), call("setdomainname", 171, 162)],
    },
    Group {
        reason: "hardware and the terminal under it",
        verdict: Verdict::Deny(Errno::EPERM),
        calls: &[x86_64("iopl", 172), x86_64("ioperm", 173), call("vhangup", 153, 58)],
    },
    Group {
        reason: "newer ways to learn what files under /proc say or to do what older calls do, with \
                 little use and much to find yet",
        verdict: Verdict::Deny(Errno::ENOSYS),
        calls: &[
            recent("cachestat", 451),
            recent("statmount", 457),
            recent("listmount", 458),
            recent("lsm_get_self_attr", 459),
            recent("lsm_set_self_attr", 460),
            recent("lsm_list_modules", 461),
            recent("file_getattr", 468),
        ],
    },
    Group {
        reason: "obsolete: gone from most kernels, and from every program's first choice",
        verdict: Verdict::Deny(Errno::ENOSYS),
        calls: &[
            x86_64("uselib", 134),
            x86_64("ustat", 136),
            x86_64("sysfs", 139),
            x86_64("_sysctl", 156),
            x86_64("create_module", 174),
            x86_64("get_kernel_syms", 177),
            x86_64("query_module", 178),
            call("nfsservctl", 180, 42),
            x86_64("getpmsg", 181),
            x86_64("putpmsg", 182),
            x86_64("afs_syscall", 183),
            x86_64("tuxcall", 184),
            x86_64("security", 185),
            x86_64("set_thread_area", 205),
            x86_64("get_thread_area", 211),
            call("lookup_dcookie", 212, 18),
            x86_64("epoll_ctl_old", 214),
            x86_64("epoll_wait_old", 215),
            call("remap_file_pages", 216, 234),
            x86_64("vserver", 236),
        ],
    },
];
