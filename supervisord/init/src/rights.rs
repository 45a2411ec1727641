//! Landlock and system call filters: what the payload may do with what it sees.

use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath,
    RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus,
    Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{Setup, Step};
use supervisor_sys::{install_filter, landlock_abi, without};

use crate::failure::{Failed, at, ensure};
use crate::filters::program;
use crate::without::passing;

/// Directories from which programs are read and executed.
const PROGRAMS: [&str; 6] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"];

/// Places that are only read; the first of them is the image's.
const READ: [&str; 2] = ["/etc", "/proc"];

/// Devices: read and written, with their ioctls for pseudo-terminals.
const DEVICES: [&str; 1] = ["/dev"];

/// Places where files are made.
const WRITABLE: [&str; 3] = ["/workspace", "/tmp", "/dev/shm"];

/// Where the payload's stub writes what is to be trusted, and whoever wants to read it finds it.
const TRUST: [&str; 1] = ["/run"];

/// The newest ABI whose rights we know and ask for.
const NEWEST: u8 = 7;

/// Restricts this process and what it will start. Every right that the kernel's ABI can hold is
/// asked for and must be granted (hard requirement); what the ABI lacks is the caller's to judge, by
/// the number that is returned. 0 says that there is no Landlock and none was required.
pub fn restrict(setup: &Setup) -> Result<u8, Failed> {
    let kernel = landlock_abi();
    ensure(Step::Landlock, kernel >= setup.landlock)?;
    if kernel == 0 {
        return Ok(0);
    }
    let abi = kernel.min(NEWEST);
    if without("landlock") {
        return Ok(abi);
    }
    at(Step::Landlock, apply(ABI::from(i32::from(abi)), setup).map_err(io::Error::other))?;
    Ok(abi)
}

fn apply(abi: ABI, setup: &Setup) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let network = setup.profile != Profile::NoNetwork;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(abi))?;
    if abi >= ABI::V4 && !network {
        // Handled, and no rule allows any. With a network, the namespace has nothing but loopback,
        // and what the payload's processes say to each other on it is their own affair.
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut created = ruleset.create()?;
    let read = AccessFs::from_read(abi);
    let look = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = AccessFs::from_all(abi);
    // Devices and links that leave the tree are not made here: mknod needs privilege anyway.
    let files = write & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::Execute);
    let files = if setup.exec { files | AccessFs::Execute } else { files };
    for (paths, access) in [
        (["/"].as_slice(), AccessFs::ReadDir.into()), // every directory of the tree may be listed
        (PROGRAMS.as_slice(), read),
        (READ.as_slice(), look),
        (DEVICES.as_slice(), look | (write & AccessFs::from_file(abi) & !AccessFs::Execute)),
        (WRITABLE.as_slice(), files),
    ] {
        created = allow(created, paths, access)?;
    }
    if setup.image != 0 {
        // Where the root can be written it is the programs that are: what the image has at its root stays there,
        // since nothing may be made in the root itself.
        let programs = if setup.writable_root { files } else { read };
        created = allow_more_programs(created, programs)?;
    }
    if setup.writable_root {
        created = allow(created, &READ[..1], files & !AccessFs::Execute)?;
    }
    if setup.authority {
        created = allow(created, &TRUST, AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    if abi >= ABI::V7 {
        // The payload may confine itself further, and where the host audits, each refusal of its own rules would be a
        // record in the host's log: of its own making, and as many as it likes.
        created = created.log_subdomains(false)?;
    }
    let status = created.restrict_self()?;
    if status.ruleset == RulesetStatus::FullyEnforced && status.no_new_privs {
        return Ok(());
    }
    Err(format!("not fully enforced: {status:?}").into())
}

/// Places of the root that are not an image's to have programs in, whatever it has there.
const NOT_PROGRAMS: [&str; 7] = ["dev", "etc", "proc", "run", "sys", "tmp", "workspace"];

/// What else an imported image has at its root: /opt, /srv and such hold programs there. A link gets
/// nothing: where it leads has its own rule, or none.
fn allow_more_programs(
    mut ruleset: RulesetCreated,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
    for entry in std::fs::read_dir("/")? {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        let known = NOT_PROGRAMS.iter().any(|known| name.as_os_str() == *known);
        if known || kind.is_symlink() {
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let of_files = AccessFs::from_file(ABI::from(i32::from(NEWEST)));
        let access = if kind.is_dir() { access } else { access & of_files };
        match open(&entry.path(), flags, Mode::empty()) {
            Err(Errno::EACCES) => {} // nor can the payload
            other => ruleset = ruleset.add_rule(PathBeneath::new(other?, access))?,
        }
    }
    Ok(ruleset)
}

/// Allows access beneath each of the paths that the image has; one that is left out is denied.
fn allow(
    mut ruleset: RulesetCreated,
    paths: &[&str],
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Box<dyn std::error::Error + Send + Sync>> {
    for path in paths {
        match open(*path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()) {
            Err(Errno::ENOENT) => {}
            other => ruleset = ruleset.add_rule(PathBeneath::new(other?, access))?,
        }
    }
    Ok(ruleset)
}

/// Installs the filter of a profile. Once it is init's or a payload's, nothing can be undone or added.
pub fn filter(profile: Profile) -> Result<(), Failed> {
    let program = program(profile).ok_or(Failed { step: Step::Seccomp, errno: 0 })?;
    if without("seccomp") && profile != Profile::Init {
        return Ok(());
    }
    at(Step::Seccomp, install_filter(&passing(profile, program)))
}
