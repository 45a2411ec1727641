//! A directory of a world that is an ext4 of its own, in a file: what a test breaks as a failing disk would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};

/// Makes the disk, and mounts it over the directory of this name.
#[track_caller]
pub(crate) fn make(directory: &Path, name: &str, bytes: u64) {
    mount(directory, name, &format!("truncate -s {bytes} {name}.img; mkfs.ext4 -qF {name}.img"));
}

/// Makes one disk, and both the state directory and that of workspaces on it.
#[track_caller]
pub(crate) fn share(directory: &Path, bytes: u64) {
    let format = format!("truncate -s {bytes} disk.img; mkfs.ext4 -qF disk.img; mkdir disk");
    run(directory, &format!(
        "{format}; mount -o loop disk.img disk
        for place in state workspaces; do mkdir $place disk/of-$place; mount --bind disk/of-$place $place; done
        umount disk"
    ));
}

/// Repairs that of the state as a boot of the host does.
#[track_caller]
pub(crate) fn mend(directory: &Path) {
    umount2(&directory.join("state"), MntFlags::empty()).expect("nobody uses it");
    mount(directory, "state", "e2fsck -fy state.img >/dev/null || [ $? -le 2 ]");
}

/// The device that is mounted there.
#[track_caller]
pub(crate) fn device(place: &Path) -> PathBuf {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let place = place.display().to_string();
    let line = table.lines().find(|line| line.split(' ').nth(1) == Some(&place));
    PathBuf::from(line.and_then(|line| line.split(' ').next()).expect("it is mounted"))
}

#[track_caller]
fn mount(directory: &Path, name: &str, make_ready: &str) {
    run(directory, &format!("{make_ready}\nmount -o loop,errors=remount-ro {name}.img {name}"));
}

#[track_caller]
fn run(directory: &Path, script: &str) {
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-ec", script]).current_dir(directory).output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "e2fsprogs and mount are needed by this test: {words}");
}
