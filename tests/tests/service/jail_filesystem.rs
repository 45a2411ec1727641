//! What a payload can reach of the file system: its own workspace, an image that it can only read,
//! and nothing else of the host's.

use std::fs;

use supervisor_api::{InputFile, SubmitRequest};
use supervisor_tests::{AGENT, Planted, World, attack, bash, unconfined};

/// What the kernel says where something is not there, not allowed or not writable.
const REFUSALS: [&str; 4] = ["ENOENT", "EACCES", "EPERM", "EROFS"];

/// FS-01. Root's, users' and services' files, and the supervisor's own, by every way that a path can
/// take. The same attempts outside show that the files are there.
#[test]
fn a_payload_cannot_read_a_secret_of_the_host() {
    let world = World::open();
    let token = format!("secret-{}", std::process::id());
    let planted: Vec<Planted> = ["/root", "/run", "/var/lib", "/opt", "/srv", "/home", "/tmp"]
        .into_iter()
        .filter_map(|parent| Planted::beneath(parent, 0o755).ok())
        .collect();
    let mut paths: Vec<String> = planted
        .iter()
        .map(|each| each.file("canary", &token, 0o644).display().to_string())
        .collect();
    let own = world.state().join("canary");
    fs::write(&own, &token).expect("written");
    paths.push(own.display().to_string());
    paths.extend(["/etc/shadow".to_owned(), world.socket().display().to_string()]);
    let through_links: Vec<_> = ["/proc/self/root/../..", "/proc/1/root", "/proc/self/cwd/../.."]
        .iter()
        .flat_map(|way| paths.iter().map(move |path| format!("{way}{path}")))
        .collect();
    let source = format!(
        "for path in {:?}:\n    attempt(path, lambda: read(path))",
        paths.iter().chain(&through_links).collect::<Vec<_>>()
    );
    assert!(unconfined(&source).allowed().len() > planted.len(), "nothing was planted");
    let ended = world.agent(AGENT).run(&attack(&source));
    ended.attempts().expect_all_denied(&["ENOENT", "EACCES", "EPERM"]);
    assert!(!ended.stdout.contains(&token));
    fs::remove_file(own).expect("removed");
}

/// FS-01, from the other side: nothing that a test ever makes on the host has a name inside.
#[test]
fn no_name_of_the_hosts_own_files_shows_up_in_the_tree() {
    let world = World::open();
    let _planted = Planted::beneath("/var/lib", 0o755).expect("planted");
    let source = format!(
        "{}\nprint('FOUND', find('supervisor-test-'), find('api.sock'))",
        include_str!("../payloads/walk.py")
    );
    let ended = world.agent(AGENT).run(&attack(&source));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "FOUND [] []\n");
    let roots = world.agent(AGENT).run(&bash("ls -A / /home /run /sys /var"));
    let expected = "/:\nbin\ndev\netc\nhome\nlib\nproc\nrun\nsbin\nsys\ntmp\nusr\nvar\nworkspace\n\n\
                    /home:\nuser\n\n/run:\n\n/sys:\n\n/var:\ntmp\n";
    let known = ["lib32", "lib64", "libx32"]; // some systems have them
    let seen: Vec<_> = roots.stdout.lines().filter(|line| !known.contains(line)).collect();
    assert_eq!(seen, expected.lines().collect::<Vec<_>>());
}

/// FS-02. The attempts on what belongs to the payload show that the others could have worked.
#[test]
fn a_payload_writes_nowhere_but_in_its_own_places() {
    let world = World::open();
    let source = "
for path in ('/new', '/usr/new', '/usr/share/new', '/etc/new', '/lib/new', '/bin/sh', '/etc/passwd',
             '/usr/bin/python3', '/proc/1/comm', '/proc/sys/kernel/core_pattern', '/dev/new',
             '/proc/self/oom_score_adj/x', '/run/new', '/sys/new', '/home/new', '/var/new',
             '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches', '/proc/self/uid_map'):
    attempt('host ' + path, lambda: write(path, b'x', os.O_CREAT))
for path in ('/workspace/new', '/tmp/new', '/dev/shm/new', '/var/tmp/other', '/dev/null'):
    attempt('own ' + path, lambda: write(path, b'x', os.O_CREAT))
";
    let attempts = world.agent(AGENT).run(&attack(source)).attempts();
    attempts.expect_denied("host ", &["ENOENT", "EACCES", "EPERM", "EROFS", "ENOTDIR", "EIO"]);
    for path in ["/workspace/new", "/tmp/new", "/dev/shm/new", "/var/tmp/other", "/dev/null"] {
        assert_eq!(attempts.expect_allowed(&format!("own {path}")), "1");
    }
}

/// FS-04. What is there is empty, and the cover can't be taken off.
#[test]
fn pseudo_files_that_tell_of_the_host_are_covered() {
    let world = World::open();
    let source = "
for path in ('/proc/kcore', '/proc/kallsyms', '/proc/keys', '/proc/key-users', '/proc/timer_list',
             '/proc/sched_debug', '/proc/latency_stats', '/proc/interrupts', '/proc/modules', '/proc/locks',
             '/proc/diskstats', '/proc/partitions',
             '/proc/kmsg', '/proc/cmdline', '/proc/vmallocinfo', '/proc/slabinfo', '/proc/pagetypeinfo',
             '/proc/sysrq-trigger', '/sys/firmware/acpi/tables/DSDT', '/sys/kernel/debug/x',
             '/sys/kernel/tracing/trace', '/sys/fs/cgroup/cgroup.procs', '/dev/mem', '/dev/kmsg',
             '/dev/kvm', '/dev/vsock', '/dev/net/tun', '/dev/fuse', '/dev/loop-control'):
    attempt('read ' + path, lambda: read(path))
for place in ('acpi', 'bus', 'driver', 'dynamic_debug', 'fs', 'irq', 'scsi', 'asound'):
    attempt('list ' + place, lambda: os.listdir('/proc/' + place))
attempt('uncover', lambda: call('umount2', b'/proc/kallsyms', 2))
attempt('remove', lambda: os.unlink('/proc/kallsyms'))
attempt('mount another', lambda: call('mount', b'proc', b'/tmp', b'proc', 0, 0))
";
    let attempts = world.agent(AGENT).run(&attack(source)).attempts();
    for (name, value) in attempts.allowed() {
        assert!(["b''", "[]"].contains(&value), "{name} says {value}");
    }
    for (name, error) in attempts.denied() {
        assert!(REFUSALS.contains(&error), "{name} {error}");
    }
    attempts.expect_denied("uncover", &["EPERM"]);
    attempts.expect_denied("remove", &["EPERM", "EACCES", "EROFS"]);
    attempts.expect_denied("mount another", &["EPERM"]);
    assert!(!unconfined("attempt('read', lambda: read('/proc/interrupts'))").allowed().is_empty());
}

/// FS-05.
#[test]
fn there_are_no_devices_but_the_harmless_ones_and_none_can_be_made() {
    let world = World::open();
    let source = include_str!("../payloads/no_devices.py");
    let ended = world.agent(AGENT).run(&attack(source));
    ended.attempts().expect_all_denied(&["EPERM", "EACCES", "EROFS"]);
    let devices = "fd,full,null,ptmx,pts,random,shm,stderr,stdin,stdout,tty,urandom,zero";
    assert!(ended.stdout.contains(&format!("DEVICES {devices}\n")), "{}", ended.stdout);
    let mounts = world.agent(AGENT).run(&bash("cat /proc/self/mountinfo")).stdout;
    for place in ["/workspace", "/tmp", "/dev/shm", "/", "/usr", "/proc"] {
        let line = mounts.lines().find(|line| line.split(' ').nth(4) == Some(place));
        let options = line.and_then(|line| line.split(' ').nth(5)).expect(place);
        assert!(options.contains("nodev"), "{place} is mounted {options}");
    }
}

/// FS-08. A program with both set-id bits, made inside or handed in, runs as whoever started it.
#[test]
fn set_id_bits_mean_nothing() {
    let world = World::open();
    let script = "
        cp /bin/sh own; chmod 6755 own handed; ls -l own handed | cut -c1-10
        for shell in ./own ./handed; do
            $shell -c 'id -u; id -g; grep -E \"NoNewPrivs|CapEff\" /proc/self/status'
        done
        grep -v nosuid /proc/self/mountinfo | wc -l";
    let shell = fs::read("/bin/sh").expect("a shell");
    let file = InputFile {
        path: "handed".to_owned(),
        content: supervisor_api::Content(shell),
        executable: true,
    };
    let request = SubmitRequest { files: vec![file], ..bash(script) };
    let ended = world.agent(AGENT).run(&request);
    ended.expect_exit(0);
    let each = "1000\n1000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n";
    let expected = format!("-rwsr-sr-x\n-rwsr-sr-x\n{each}{each}0\n");
    assert_eq!(ended.stdout, expected, "{}", ended.stderr);
}

/// FS-09.
#[test]
fn proc_shows_the_payload_itself_and_nothing_of_where_it_runs() {
    let world = World::open();
    let script = "
        for file in /proc/self/mountinfo /proc/self/cgroup /proc/self/mounts; do cat $file; done
        echo NAME $(uname -n)
        echo PIDS $(cd /proc; echo [0-9]*)
        echo OTHERS $(ls -d /proc/1 2>/dev/null)";
    let ended = world.agent(AGENT).run(&bash(script));
    ended.expect_exit(0);
    let text = &ended.stdout;
    let (id, session) = (&ended.execution.id, &ended.execution.session);
    let place = world.path().display().to_string();
    let bits = format!("{:032x}", id.bits());
    for secret in [id.to_string(), session.to_string(), place, bits, "supervisor".to_owned()] {
        assert!(!text.contains(&secret), "{secret} in {text}");
    }
    assert!(text.contains("NAME sandbox\n"), "{text}");
    assert!(text.contains("OTHERS\n"), "init shows: {text}");
    let pids = text.lines().find_map(|line| line.strip_prefix("PIDS ")).expect("pids");
    assert!(pids.split(' ').count() <= 3, "{pids}");
}
