//! The limits of workspaces on disk.

use supervisor_launch::{Request, Step, Storage, Workspace};

use crate::launcher::{Launcher, OWNER, prepare, storage};
use crate::payload::Payload;

/// Says how many bytes went into one file, and how many further files there could be.
const FILL: &str = r#"
dd if=/dev/zero of=big bs=4096
stat -c %s big; rm big
python3 -c '
import errno, os
for number in range(10**6):
    try: open(f"f{number}", "x").close()
    except OSError as error:
        print(number, errno.errorcode[error.errno]); break'
rm -f f*; ls -A | wc -l
"#;

/// What a payload sees at a limit.
fn full() -> (&'static str, &'static str) {
    match storage() {
        Storage::Quota => ("Disk quota exceeded", "EDQUOT"),
        _ => ("No space left on device", "ENOSPC"),
    }
}

#[test]
fn a_fresh_workspace_is_full_at_its_bytes_and_at_its_inodes() {
    let launcher = Launcher::start();
    for (bytes, inodes) in [(1 << 20, 33), (16 << 20, 1000), (300 << 20, 40_000)] {
        let request = prepare(Workspace::Disk, bytes, inodes);
        let payload = Payload::start(&launcher, request, FILL);
        assert_eq!(payload.applied.workspace, storage());
        let (code, said) = payload.finish();
        assert_eq!(code, 0, "{said}");
        let (error, name) = full();
        assert!(said.contains(error), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        let most: u64 = lines[0].parse().unwrap();
        // What tells where a file's blocks are, and a directory's names, takes some of them.
        assert!(most <= bytes && most + (64 << 10) >= bytes, "{most} of {bytes} bytes");
        assert_eq!(lines[1], format!("{} {name}", inodes - 1), "{said}"); // besides the root directory
        assert_eq!(lines[2], "0", "{said}");
    }
    assert_eq!(launcher.on_disk(), 0);
    launcher.expect_no_devices();
}

#[test]
fn a_kept_workspace_has_limits_of_its_own() {
    let launcher = Launcher::start();
    let id = launcher.make(8 << 20, 100);
    let (code, said) =
        Payload::run(&launcher, prepare(Workspace::Kept(id), 1 << 40, 1 << 20), FILL);
    assert_eq!(code, 0, "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let most: u64 = lines[0].parse().unwrap();
    assert!(most <= 8 << 20 && most + (64 << 10) >= 8 << 20, "{most}");
    assert_eq!(lines[1], format!("99 {}", full().1));
}

#[test]
fn a_limit_below_any_unit_of_the_kernels_is_one_all_the_same() {
    let launcher = Launcher::start();
    let id = launcher.make(1, 33);
    let script = "dd if=/dev/zero of=big bs=4096 count=1024; stat -c %s big";
    for workspace in [Workspace::Disk, Workspace::Kept(id)] {
        let (_, said) = Payload::run(&launcher, prepare(workspace, 1, 33), script);
        assert!(said.contains(full().0) && said.starts_with("0\n"), "{said}");
    }
}

#[test]
fn what_was_deleted_inside_stays_the_workspace_s_own() {
    let launcher = Launcher::start();
    if storage() == Storage::Quota || launcher.is_in_memory() {
        return; // nothing is set aside
    }
    let id = launcher.make(8 << 20, 100);
    let root = launcher.grant(id); // the kernel would free blocks in its own time, as long as it is mounted
    let script = "dd if=/dev/zero of=big bs=1M; sync; rm big; sync";
    Payload::run(&launcher, prepare(Workspace::Kept(id), 1 << 30, 1000), script);
    drop(root);
    launcher.expect_no_devices();
    launcher.expect_large_files(8 << 20);
}

#[test]
fn what_a_payload_makes_in_it_is_neither_set_user_id_nor_a_device_nor_run_where_that_is_forbidden()
{
    let launcher = Launcher::start();
    let request = prepare(Workspace::Disk, 4 << 20, 100);
    let script = "cp /bin/true t && chmod 4755 t && ./t && echo ran; mknod d c 1 3; \
                  grep ' /workspace ' /proc/self/mountinfo";
    let (_, said) = Payload::run(&launcher, request, script);
    assert!(said.starts_with("ran\n") && said.contains("nosuid,nodev"), "{said}");
    assert!(said.contains("Operation not permitted"), "{said}");
    // What nobody will ever read is not waited for until the host's disk has it.
    assert_eq!(said.contains("nobarrier"), storage() == Storage::Image, "{said}");
    let request = supervisor_launch::Prepare { exec: false, ..request };
    let request = supervisor_launch::Prepare { execution: 99, ..request };
    let (_, said) = Payload::run(&launcher, request, script);
    assert!(said.contains("noexec") && !said.contains("ran\n"), "{said}");
}

#[test]
fn a_payload_owns_its_workspace_and_the_rest_of_the_image_is_out_of_reach() {
    let launcher = Launcher::start();
    let script = "id -u; stat -c '%u %g %a' .; ls -A . ..; ls /workspace/../reserve; echo x >f; \
                  stat -c %u f; mkdir -p a/b && mv f a/b && ln a/b/f g && rm -r a";
    let (_, said) = Payload::run(&launcher, prepare(Workspace::Disk, 4 << 20, 100), script);
    assert!(said.starts_with("1000\n1000 1000 700\n"), "{said}");
    assert!(!said.contains("lost+found") && said.contains("cannot access"), "{said}");
}

#[test]
fn a_daemon_cannot_have_more_than_root_allows_nor_what_is_not_its_owners() {
    let launcher = Launcher::start();
    let id = launcher.make(1 << 20, 33);
    let stranger = supervisor_launch::Prepare {
        owner: Some(OWNER + 1),
        ..prepare(Workspace::Kept(id), 1 << 20, 33)
    };
    let refused = launcher.ask(Request::Prepare(stranger)).err();
    assert_eq!(refused, Some((Step::FindWorkspace, 0)));
    for (bytes, inodes) in [(0, 5), (5, 0), (u64::MAX, 5), (5, u64::MAX)] {
        let kept = supervisor_launch::Kept { id: 5, owner: 1, bytes, inodes };
        let refused = launcher.ask(Request::MakeWorkspace(kept)).err();
        assert_eq!(refused, Some((Step::MakeDisk, 0)));
    }
    let again = supervisor_launch::Kept { id, owner: OWNER, bytes: 1, inodes: 1 };
    assert_eq!(launcher.ask(Request::MakeWorkspace(again)).err(), Some((Step::MakeDisk, 0)));
    let missing = launcher.ask(Request::Grant { id: 1 }).err();
    assert_eq!(missing, Some((Step::FindWorkspace, 0)));
    let payload =
        Payload::start(&launcher, prepare(Workspace::Kept(id), 1, 1), "echo up; sleep 300");
    let busy = launcher.ask(Request::RemoveWorkspace { id }).err();
    assert_eq!(busy, Some((Step::RemoveWorkspace, nix::libc::EBUSY)));
    payload.destroy();
    launcher.ask(Request::RemoveWorkspace { id }).expect("nobody has it any more");
    assert!(launcher.kept().is_empty());
}
