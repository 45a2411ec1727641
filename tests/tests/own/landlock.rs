//! A file of the payload's own host id, where the ids that come next are known.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use supervisor_tests::{AGENT, Planted, World, attack, bash, owner_uid};

/// LL-06. Even a file that belongs to the payload's own host id can't be changed where the mount is
/// read-only.
#[test]
fn what_landlock_does_not_cover_the_read_only_mount_does() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let first = agent.start(&bash("echo up; exec sleep 300"));
    agent.wait_for_words(first, "up");
    let payload = owner_uid(world.processes_of(first)[1]).expect("it runs");
    agent.cancel(first).expect("it is ours"); // the next one gets the ids that were free the longest
    let planted = Planted::beneath("/usr/share", 0o755).expect("planted");
    let path = planted.file("own", "x", 0o644);
    chown(&path, Some(payload), Some(payload)).expect("given");
    let source = format!(
        "
path = {path:?}
print('OWNER', os.stat(path).st_uid == os.getuid())
attempt('mode', lambda: os.chmod(path, 0o777))
attempt('time', lambda: os.utime(path))
attempt('attribute', lambda: os.setxattr(path, 'user.x', b'1'))
attempt('owner', lambda: os.chown(path, os.getuid(), os.getgid()))
attempt('open', lambda: os.open(path, os.O_WRONLY))
attempt('rename', lambda: os.rename(path, path + 'x'))
attempt('see root', lambda: os.stat('/root/.bashrc'))
"
    );
    let ended = agent.run(&attack(&source));
    assert!(ended.stdout.starts_with("OWNER True\n"), "{}", ended.stdout);
    let attempts = ended.attempts();
    attempts.expect_denied("see root", &["ENOENT", "EACCES"]);
    attempts.expect_all_denied(&["EROFS", "EACCES", "ENOENT", "EXDEV"]);
    let before = fs::metadata(&path).expect("still there");
    assert_eq!(before.permissions().mode() & 0o777, 0o644);
}
