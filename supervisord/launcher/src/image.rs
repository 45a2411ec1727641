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

/// Directories at the root that hold programs and libraries; links on merged systems.
const PROGRAMS: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"];

/// Empty directories for what each sandbox mounts or that programs expect to be there.
const EMPTY: [&str; 9] = ["dev", "etc", "home", "proc", "run", "sys", "tmp", "var", "workspace"];

/// The device nodes of a sandbox, with their minor numbers; their major number is [`MEMORY`]
/// (Documentation/admin-guide/devices.txt).
const DEVICES: [(&str, u64); 5] =
    [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

/// The major number of memory devices.
const MEMORY: u64 = 1;

/// Links in /dev.
const DEVICE_LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// What is copied from the host's /etc, and only as far as every account may read it. A `*` at the
/// end stands for any ending.
const ETC: [&str; 18] = [
    "alternatives",    // where Debian's links for awk, cc, java and others lead
    "fonts",           // fontconfig
    "java-*",          // OpenJDK keeps its settings here
    "ld.so.cache",     // the dynamic loader
    "ld.so.conf",      // the same
    "ld.so.conf.d",    // the same
    "localtime",       // the time zone
    "magic",           // file(1)
    "magic.mime",      // file(1)
    "matplotlibrc",    // matplotlib
    "mime.types",      // mimetypes of many languages
    "perl",            // perl's own settings
    "protocols",       // getprotobyname(3)
    "python3*",        // Debian's sitecustomize
    "services",        // getservbyname(3)
    "ssl/certs",       // public certificates of authorities
    "ssl/openssl.cnf", // OpenSSL
    "timezone",        // the time zone's name
];

/// Files of /etc that we write ourselves.
const WRITTEN: [(&str, &str); 6] = [
    (
        "passwd",
        "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:1000:1000:sandbox:/workspace:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n",
    ),
    ("group", "root:x:0:\nsandbox:x:1000:\nnogroup:x:65534:\n"),
    ("hostname", "sandbox\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost sandbox\n"),
    (
        "nsswitch.conf",
        "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    ),
    ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
];

/// Where OpenSSL looks a session's authority up in a directory: by the hash of its name, which is the
/// same for every session. It leads nowhere in a sandbox that has none.
const AUTHORITY: (&str, &str) = ("ssl/certs/7ec1afff.0", "/run/authority.pem");

/// Bytes that are copied from /etc at the most; Debian with every package of ours has about 2 MiB.
const MAX_COPY: u64 = 32 << 20;

/// How deep directories of /etc are followed.
const MAX_DEPTH: u32 = 8;

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
    for name in EMPTY {
        make_directory(&target.join(name))?;
    }
    for name in PROGRAMS {
        add_programs(name, target)?;
    }
    devices(&target.join("dev"))?;
    symlink("/tmp", target.join("var/tmp"))?;
    for (name, text) in WRITTEN {
        write_file(&target.join("etc").join(name), text.as_bytes())?;
    }
    make_directory(&target.join("etc/ssl"))?;
    let mut left = MAX_COPY;
    for pattern in ETC {
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
    for (name, minor) in DEVICES {
        let inside = target.join(name);
        let mode = Mode::from_bits_truncate(0o666);
        match mknod(&inside, SFlag::S_IFCHR, mode, makedev(MEMORY, minor)) {
            Ok(()) => fs::set_permissions(&inside, Permissions::from_mode(0o666))?,
            Err(Errno::EPERM) => bind_device(name, &inside, safe)?,
            Err(error) => return Err(error.into()),
        }
        expect_device(&inside, minor)?;
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
fn expect_device(path: &Path, minor: u64) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    let is_character = metadata.mode() & nix::libc::S_IFMT == nix::libc::S_IFCHR;
    if is_character && metadata.rdev() == makedev(MEMORY, minor) {
        return Ok(());
    }
    Err(io::Error::other(format!("{} is not the memory device it should be", path.display())))
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
