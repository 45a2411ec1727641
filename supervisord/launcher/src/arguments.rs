//! The command line: root's word on what may be launched. Everything has a safe default.

use std::ffi::OsString;
use std::fs;
use std::os::fd::RawFd;
use std::path::PathBuf;

use supervisor_launch::SandboxLimits;
use supervisor_launch::seccomp::Profile;

use crate::failure::{Fatal, fatal};
use crate::owners::Ceilings;

/// What the command line says.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Where the daemon is reached.
    pub daemon: DaemonSocket,
    /// The daemon's uid.
    pub daemon_uid: u32,
    /// The daemon's gid; the same number as its uid if left out.
    pub daemon_gid: u32,
    /// The first id of our block, if whoever started us has locked it.
    pub first_id: Option<u32>,
    /// Where sandboxes' cgroups go.
    pub cgroup: CgroupPlace,
    /// The program that becomes PID 1 of each sandbox; beside our own if left out.
    pub init: Option<PathBuf>,
    /// No sandbox gets more than this.
    pub ceiling: SandboxLimits,
    /// No sandbox is held by less Landlock than this ABI.
    pub landlock: u8,
    /// Whether files of a workspace may be executed.
    pub exec: bool,
    /// The profiles that payloads may run under.
    pub profiles: Vec<Profile>,
    /// A path on the file system whose disk `io.max` is about, besides that of /usr.
    pub disk: PathBuf,
    /// No uid gets more than this for all its sandboxes together.
    pub ceilings: Ceilings,
    /// Where workspaces on disk are; there can be none if left out.
    pub workspaces: Option<PathBuf>,
    /// Where images are that root imported; there are none if left out.
    pub images: Option<PathBuf>,
}

/// Where the daemon is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonSocket {
    /// A connected socket that was inherited: the launcher ends with it.
    Inherited(RawFd),
    /// A socket to listen on: daemons come and go, sandboxes stay.
    Listen(PathBuf),
    /// The same, made by whoever started us, who chose its owner and mode (systemd, a socket unit).
    ListenInherited(RawFd),
}

/// Where sandboxes' cgroups go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupPlace {
    /// Beneath our own, which was delegated to us (systemd, Delegate=).
    Own,
    /// Beneath one that we make and remove.
    Private,
}

/// Above every real machine; a stricter floor is root's to set.
const CEILING: SandboxLimits = SandboxLimits {
    memory_max: 1 << 40,
    pids_max: 32_768,
    cpu_max: 102_400,
    cpu_time: 7 * 24 * 3_600_000,
    open_files: 65_536,
    workspace_bytes: 1 << 40,
    workspace_inodes: 1 << 24,
    tmp_bytes: 1 << 38,
    tmp_inodes: 1 << 24,
    io_read_bps: 0,
    io_write_bps: 0,
    io_read_iops: 0,
    io_write_iops: 0,
};

/// The largest share that the kernel knows (cgroup-v2.rst, cpu.weight).
const MOST_WEIGHT: u64 = 10_000;

const USAGE: &str = "usage: supervisor-launcher (--daemon-fd N | --listen PATH | --listen-fd N) \
    (--daemon-uid N [--daemon-gid N] | --daemon-user NAME) [--cgroup own|private] [--first-id N] [--init PATH] [--disk PATH] \
    [--workspaces DIRECTORY] [--images DIRECTORY] \
    [--landlock-min ABI] [--exec yes|no] [--profiles NAME,NAME] \
    [--io-read-bps N] [--io-write-bps N] [--io-read-iops N] [--io-write-iops N] \
    [--memory-max BYTES] [--pids-max N] [--cpu-max PERCENT] [--cpu-time MS] [--open-files N] \
    [--uid-memory-max BYTES] [--uid-pids-max N] [--uid-cpu-max PERCENT] [--uid-cpu-weight N] \
    [--workspace-bytes N] [--workspace-inodes N] [--tmp-bytes N] [--tmp-inodes N]";

impl Arguments {
    /// Reads `--name value` pairs; anything else is refused.
    pub fn read(words: impl Iterator<Item = OsString>) -> Result<Self, Fatal> {
        let (mut daemon, mut uid, mut gid) = (None, None, None);
        let mut read = Self {
            daemon: DaemonSocket::Inherited(-1),
            daemon_uid: 0,
            daemon_gid: 0,
            first_id: None,
            cgroup: CgroupPlace::Private,
            init: None,
            ceiling: CEILING,
            landlock: 0,
            exec: true,
            profiles: Profile::PAYLOAD.to_vec(),
            disk: PathBuf::from("/"),
            ceilings: Ceilings::DEFAULT,
            workspaces: None,
            images: None,
        };
        let mut words = words.skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| Fatal::refuse(USAGE))?;
            let number = || number(&value);
            match name.to_str().unwrap_or_default() {
                "--daemon-fd" => daemon = Some(DaemonSocket::Inherited(small(number()?)?)),
                "--listen" => daemon = Some(DaemonSocket::Listen(PathBuf::from(value))),
                "--listen-fd" => daemon = Some(DaemonSocket::ListenInherited(small(number()?)?)),
                "--daemon-uid" => uid = Some(small(number()?)?),
                "--daemon-gid" => gid = Some(small(number()?)?),
                "--daemon-user" => (uid, gid) = account(&value)?,
                "--first-id" => read.first_id = Some(small(number()?)?),
                "--exec" => {
                    read.exec = match value.to_str() {
                        Some("yes") => true,
                        Some("no") => false,
                        _ => return Err(Fatal::refuse(USAGE)),
                    }
                }
                "--profiles" => {
                    let names = value.to_str().unwrap_or_default().split(',');
                    let profiles: Option<Vec<_>> = names.map(Profile::parse).collect();
                    read.profiles = profiles.ok_or_else(|| Fatal::refuse(USAGE))?;
                }
                "--io-read-bps" => read.ceiling.io_read_bps = number()?,
                "--io-write-bps" => read.ceiling.io_write_bps = number()?,
                "--io-read-iops" => read.ceiling.io_read_iops = number()?,
                "--io-write-iops" => read.ceiling.io_write_iops = number()?,
                "--cgroup" => {
                    read.cgroup = match value.to_str() {
                        Some("own") => CgroupPlace::Own,
                        Some("private") => CgroupPlace::Private,
                        _ => return Err(Fatal::refuse(USAGE)),
                    }
                }
                "--init" => read.init = Some(PathBuf::from(value)),
                "--disk" => read.disk = PathBuf::from(value),
                "--uid-memory-max" => read.ceilings.memory_max = number()?,
                "--uid-pids-max" => read.ceilings.pids_max = number()?,
                "--uid-cpu-max" => read.ceilings.cpu_max = number()?,
                "--uid-cpu-weight" => {
                    read.ceilings.cpu_weight = number()?;
                    if read.ceilings.cpu_weight > MOST_WEIGHT {
                        return Err(Fatal::refuse(USAGE));
                    }
                }
                "--workspaces" => read.workspaces = Some(PathBuf::from(value)),
                "--images" => read.images = Some(PathBuf::from(value)),
                "--landlock-min" => read.landlock = small(number()?)?,
                "--memory-max" => read.ceiling.memory_max = number()?,
                "--pids-max" => read.ceiling.pids_max = number()?,
                "--cpu-max" => read.ceiling.cpu_max = number()?,
                "--cpu-time" => read.ceiling.cpu_time = number()?,
                "--open-files" => read.ceiling.open_files = number()?,
                "--workspace-bytes" => read.ceiling.workspace_bytes = number()?,
                "--workspace-inodes" => read.ceiling.workspace_inodes = number()?,
                "--tmp-bytes" => read.ceiling.tmp_bytes = number()?,
                "--tmp-inodes" => read.ceiling.tmp_inodes = number()?,
                _ => return Err(Fatal::refuse(USAGE)),
            }
        }
        let (Some(daemon), Some(uid)) = (daemon, uid) else {
            return Err(Fatal::refuse(USAGE));
        };
        let gid = gid.unwrap_or(uid);
        if uid == 0 {
            return Err(Fatal::refuse("the daemon must not be root: --daemon-uid 0"));
        }
        Ok(Self { daemon, daemon_uid: uid, daemon_gid: gid, ..read })
    }
}

/// The ids of an account of this host. Its file is read as it stands (passwd(5)): the C library would
/// load code that this program has no business with.
fn account(name: &OsString) -> Result<(Option<u32>, Option<u32>), Fatal> {
    let accounts = fatal("read /etc/passwd", fs::read_to_string("/etc/passwd"))?;
    let found = name.to_str().and_then(|name| ids_in(&accounts, name));
    let (uid, gid) =
        found.ok_or_else(|| Fatal::refuse(format!("/etc/passwd has no account {name:?}")))?;
    Ok((Some(uid), Some(gid)))
}

fn ids_in(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = accounts.lines().map(|line| line.split(':'));
    let mut fields = fields.find_map(|mut fields| (fields.next()? == name).then_some(fields))?;
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn number(value: &OsString) -> Result<u64, Fatal> {
    let parsed = value.to_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| Fatal::refuse(USAGE))
}

fn small<T: TryFrom<u64>>(number: u64) -> Result<T, Fatal> {
    T::try_from(number).map_err(|_| Fatal::refuse(USAGE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Arguments, Fatal> {
        let words =
            ["supervisor-launcher", "--daemon-uid", "7", "--daemon-gid", "7"].iter().chain(words);
        Arguments::read(words.map(OsString::from).collect::<Vec<_>>().into_iter())
    }

    #[test]
    fn a_command_line_without_a_daemon_is_refused() {
        assert!(read(&[]).is_err());
        assert!(read(&["--cgroup", "own"]).is_err());
    }

    #[test]
    fn a_daemon_that_is_root_is_refused() {
        assert!(read(&["--daemon-fd", "3", "--daemon-uid", "0"]).is_err());
    }

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let accounts =
            "root:x:0:0:root:/root:/bin/sh\nsup:x:7:8::/:/bin/false\nbad:x:seven:8::/:\n";
        assert_eq!(ids_in(accounts, "sup"), Some((7, 8)));
        for nobody in ["su", "", "sup:x", "bad", "nobody"] {
            assert_eq!(ids_in(accounts, nobody), None, "{nobody}");
        }
    }

    #[test]
    fn a_profile_that_no_payload_may_have_is_refused() {
        assert!(read(&["--daemon-fd", "3", "--profiles", "default,init"]).is_err());
        assert!(read(&["--daemon-fd", "3", "--profiles", "no-network", "--exec", "no"]).is_ok());
    }

    #[test]
    fn every_option_is_in_the_manual() {
        let manual = include_str!("../../../systemd/man/supervisor-launcher.8");
        let options = USAGE.split([' ', '(', ')', '[', ']', '|']);
        let options: Vec<_> = options.filter_map(|word| word.strip_prefix("--")).collect();
        assert!(options.len() > 20);
        for option in options {
            assert!(manual.contains(&format!("Fl -{option} ")), "--{option}");
        }
    }

    #[test]
    fn unknown_words_missing_values_and_wrong_numbers_are_refused() {
        for extra in [
            ["--shell", "1"],
            ["--uid-cpu-weight", "10001"],
            ["--pids-max", "-1"],
            ["--daemon-uid", "4294967296"],
        ] {
            assert!(read(&["--daemon-fd", "3", extra[0], extra[1]]).is_err(), "{extra:?}");
        }
        assert!(read(&["--daemon-fd"]).is_err());
        assert!(read(&["--daemon-fd", "3", "--cgroup", "own"]).is_ok());
    }
}
