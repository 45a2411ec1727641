//! crun(1): an OCI bundle with every namespace, no capability and a read-only root, without seccomp
//! and without limits.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::contestant::{Program, Who};
use crate::environment::Environment;
use crate::layout::{self, Entry};
use crate::peer::{Peer, command};

/// The first of the host ids that a container's are mapped to, and how many: those that shadow(5)
/// gives to nobody by default.
const IDS: (u32, u32) = (2_000_000_000, 65_536);

/// It makes the cgroup itself, as ours does.
const MANAGER: &str = "--cgroup-manager=cgroupfs";

/// Makes the bundles in a scratch directory.
///
/// # Errors
/// Why it can't take part.
pub fn crun(scratch: &Path, environment: &Environment) -> Result<Peer, String> {
    if !environment.is_root {
        return Err("not measured (needs root)".to_owned());
    }
    let state = scratch.join("crun");
    for program in [Program::True, Program::Python, Program::Sleep] {
        make_bundle(&bundle(scratch, program), program)
            .map_err(|error| format!("no bundle could be made: {error}"))?;
    }
    let (scratch, count) = (scratch.to_owned(), AtomicU64::new(0));
    let peer = Peer::new(Who::Crun, move |program| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let name = format!("benchmark-{}-{number}", std::process::id());
        let bundle = bundle(&scratch, program);
        let (root, bundle) = (state.to_string_lossy(), bundle.to_string_lossy());
        let run = ["crun", MANAGER, "--root", &root, "run", "--bundle", &bundle, &name];
        let run = command(&run);
        let end = command(&["crun", "--root", &root, "kill", &name, "KILL"]);
        (run, Some(end))
    });
    peer.tried("crun")
}

fn bundle(scratch: &Path, program: Program) -> PathBuf {
    scratch.join(match program {
        Program::True => "true",
        Program::Python => "python",
        Program::Sleep => "sleep",
    })
}

fn make_bundle(bundle: &Path, program: Program) -> io::Result<()> {
    let root = bundle.join("rootfs");
    for name in ["proc", "dev", "tmp"] {
        fs::create_dir_all(root.join(name))?;
    }
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "mode=755", "size=64k"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
               "options": ["nosuid", "nodev"]}),
    ];
    for entry in layout::entries() {
        match entry {
            Entry::Link(path, target) => {
                std::os::unix::fs::symlink(
                    target,
                    root.join(path.strip_prefix("/").unwrap_or(&path)),
                )?;
            }
            Entry::Directory(path) => {
                fs::create_dir(root.join(path.strip_prefix("/").unwrap_or(&path)))?;
                mounts.push(json!({"destination": path, "type": "none", "source": path,
                                   "options": ["rbind", "ro", "nosuid"]}));
            }
        }
    }
    fs::write(bundle.join("config.json"), configuration(program, &mounts).to_string())
}

fn configuration(program: Program, mounts: &[Value]) -> Value {
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup", "user"];
    let namespaces: Vec<Value> = namespaces.iter().map(|kind| json!({"type": kind})).collect();
    let map = json!([{"containerID": 0, "hostID": IDS.0, "size": IDS.1}]);
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "terminal": false,
            "user": {"uid": 1000, "gid": 1000},
            "args": program.argv(),
            "env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "mounts": mounts,
        "linux": {"namespaces": namespaces, "uidMappings": map, "gidMappings": map},
    })
}
