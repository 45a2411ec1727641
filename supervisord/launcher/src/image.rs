//! The default image: the host's /usr and what programs need besides, copied or bound read-only.
//! Everything here is laid out once, before the first request; a sandbox clones the finished tree.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use supervisor_sys::{
    FsContext, MountAttributes, attach, clone_tree, clone_tree_beneath, mount_attributes,
    sealed_memfd,
};

use crate::arguments::Arguments;
use crate::failure::{Fatal, fatal};

/// What it is made of, for people to read and for us to follow.
const RECIPE: &str = include_str!("../../../rootfs/default/recipe");

/// Links in /dev.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Files of /etc that the recipe writes.
const WRITTEN: [(&str, &str); 6] = [
    ("passwd", include_str!("../../../rootfs/default/etc/passwd")),
    ("group", include_str!("../../../rootfs/default/etc/group")),
    ("hostname", include_str!("../../../rootfs/default/etc/hostname")),
    ("hosts", include_str!("../../../rootfs/default/etc/hosts")),
    ("nsswitch.conf", include_str!("../../../rootfs/default/etc/nsswitch.conf")),
    ("resolv.conf", include_str!("../../../rootfs/default/etc/resolv.conf")),
];

/// Where OpenSSL looks a session's authority up in a directory: by the hash of its name, which is the
/// same for every session. It leads nowhere in a sandbox that has none.
const AUTHORITY: (&str, &str) = ("ssl/certs/7ec1afff.0", "/run/authority.pem");

/// Bytes that are copied from /etc at the most; Debian with every package of ours has about 2 MiB.
const MAX_COPY: u64 = 32 << 20;

/// How deep directories of /etc are followed.
const MAX_DEPTH: u32 = 8;

/// The lines of the recipe with this verb: the place, and what stands behind it.
fn recipe(verb: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    RECIPE.lines().filter_map(move |line| {
        let rest = line.strip_prefix(verb)?.strip_prefix(' ')?;
        Some(rest.split_once(' ').map_or((rest, ""), |(place, after)| (place, after.trim_start())))
    })
}

/// Loads the program that becomes PID 1 of each sandbox into memory that nobody can change.
pub fn load_init(arguments: &Arguments) -> Result<OwnedFd, Fatal> {
    let path = match &arguments.init {
        Some(path) => path.clone(),
        None => {
            let own = fatal("find the launcher's own program", fs::read_link("/proc/self/exe"))?;
            own.with_file_name("supervisor-init")
        }
    };
    let what = format!("load {}", path.display());
    fatal(&what, File::open(&path).and_then(|file| sealed_memfd(c"supervisor-init", file)))
}

/// Lays the default image out in an empty directory.
pub fn lay_out(target: &Path) -> io::Result<()> {
    for (name, _) in recipe("make") {
        make_directory(&target.join(name))?;
    }
    for (name, _) in recipe("show") {
        add_programs(name, target)?;
    }
    devices(&target.join("dev"))?;
    symlink("/tmp", target.join("var/tmp"))?;
    // Where programs that were written for other sandboxes think that they are at home.
    symlink("/workspace", target.join("home/user"))?;
    for (name, text) in WRITTEN {
        write_file(&target.join("etc").join(name), text.as_bytes())?;
    }
    make_directory(&target.join("etc/ssl"))?;
    let mut left = MAX_COPY;
    for (pattern, _) in recipe("copy") {
        copy_matching(pattern, &target.join("etc"), &mut left)?;
    }
    let (name, leads_to) = AUTHORITY;
    match symlink(leads_to, target.join("etc").join(name)) {
        // A host without the directory has no OpenSSL that looks there.
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn add_programs(name: &str, target: &Path) -> io::Result<()> {
    let (host, inside) = (Path::new("/").join(name), target.join(name));
    let Ok(metadata) = fs::symlink_metadata(&host) else { return Ok(()) };
    if metadata.is_symlink() {
        return symlink(fs::read_link(&host)?, inside);
    }
    make_directory(&inside)?;
    let tree = clone_tree(&c_path(&host)?)?;
    let attributes =
        MountAttributes::READ_ONLY.and(MountAttributes::NO_SUID).and(MountAttributes::NO_DEV);
    mount_attributes(tree.as_fd(), attributes, true, None)?;
    attach(tree.as_fd(), &c_path(&inside)?)
}

/// A small file system for /dev. Where we may make device nodes they are made in it, so that it is one
/// mount for all; without privilege each is the host's, mounted over a file.
fn devices(target: &Path) -> io::Result<()> {
    let context = FsContext::open(c"tmpfs")?;
    context.set(c"mode", c"0755")?;
    context.set(c"nr_inodes", c"32")?;
    let safe = MountAttributes::NO_SUID.and(MountAttributes::NO_EXEC);
    let dev = context.mount(safe)?;
    attach(dev.as_fd(), &c_path(target)?)?;
    for (name, numbers) in recipe("device") {
        let (major, minor) = numbers.split_once(' ').unwrap_or((numbers, ""));
        let number = |text: &str| text.parse().map_err(io::Error::other);
        let device = makedev(number(major)?, number(minor)?);
        let inside = target.join(name);
        let mode = Mode::from_bits_truncate(0o666);
        match mknod(&inside, SFlag::S_IFCHR, mode, device) {
            Ok(()) => fs::set_permissions(&inside, Permissions::from_mode(0o666))?,
            Err(Errno::EPERM) => bind_device(name, &inside, safe)?,
            Err(error) => return Err(error.into()),
        }
        expect_device(&inside, device)?;
    }
    for name in ["pts", "shm"] {
        make_directory(&target.join(name))?;
    }
    for (name, leads_to) in DEVICE_LINKS {
        symlink(leads_to, target.join(name))?;
    }
    mount_attributes(dev.as_fd(), MountAttributes::READ_ONLY, false, None)
}

fn bind_device(name: &str, inside: &Path, safe: MountAttributes) -> io::Result<()> {
    write_file(inside, b"")?;
    let directory = File::open("/dev")?;
    let node = clone_tree_beneath(directory.as_fd(), &c_path(Path::new(name))?)?;
    mount_attributes(node.as_fd(), safe, false, None)?;
    attach(node.as_fd(), &c_path(inside)?)
}

/// A link or a file in a node's place would hand the sandbox something else.
fn expect_device(path: &Path, device: u64) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_character = metadata.mode() & nix::libc::S_IFMT == nix::libc::S_IFCHR;
    if is_character && metadata.rdev() == device {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is not the device it should be", path.display())))
}

fn copy_matching(pattern: &str, target: &Path, left: &mut u64) -> io::Result<()> {
    let host = Path::new("/etc").join(pattern);
    let Some(prefix) = host.file_name().and_then(|name| name.to_str()?.strip_suffix('*')) else {
        return copy(&host, &target.join(pattern), left, MAX_DEPTH);
    };
    for entry in fs::read_dir("/etc")? {
        let name = entry?.file_name();
        if name.as_bytes().starts_with(prefix.as_bytes()) {
            copy(&Path::new("/etc").join(&name), &target.join(&name), left, MAX_DEPTH)?;
        }
    }
    Ok(())
}

/// Copies what every account of the host may read. A link is copied as a link, so it leads into
/// the image, never out of it.
fn copy(host: &Path, target: &Path, left: &mut u64, depth: u32) -> io::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(host) else { return Ok(()) };
    if metadata.is_symlink() {
        return symlink(fs::read_link(host)?, target);
    }
    if metadata.is_dir() && metadata.mode() & 0o005 == 0o005 && depth > 0 {
        make_directory(target)?;
        for entry in fs::read_dir(host)? {
            let name = entry?.file_name();
            copy(&host.join(&name), &target.join(&name), left, depth - 1)?;
        }
    } else if metadata.is_file() && metadata.mode() & 0o004 != 0 {
        let Some(rest) = left.checked_sub(metadata.len()) else {
            return Err(io::Error::other("/etc holds more than the image may copy"));
        };
        *left = rest;
        write_file(target, &fs::read(host)?)?;
    }
    Ok(())
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::write(path, bytes)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(PathBuf::from(path).into_os_string().as_bytes()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_recipe_is_followed() {
        let verbs = ["show", "make", "copy", "write", "device"];
        for line in RECIPE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let followed = verbs.iter().any(|verb| {
                recipe(verb).any(|(place, _)| line.starts_with(&format!("{verb} {place}")))
            });
            assert!(followed, "{line}");
        }
        let written: Vec<_> = recipe("write").map(|(name, _)| name).collect();
        assert_eq!(written, WRITTEN.map(|(name, _)| name));
        assert_eq!(
            recipe("device").collect::<Vec<_>>(),
            [
                ("null", "1 3"),
                ("zero", "1 5"),
                ("full", "1 7"),
                ("random", "1 8"),
                ("urandom", "1 9"),
                ("tty", "5 0"),
            ]
        );
    }
}
