//! Starting `supervisor-unpack` and believing it as little as possible. It makes namespaces of its own; we
//! give it ids of the reserved range in them, then it is told what to do, and we read one answer.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use supervisor_launch::IMAGE_ID;
use supervisor_sys::keep_on_exec;

use crate::bounds::IDS;
use crate::report::{Answer, Wanted};
use crate::{ImageError, Unpacked};

/// Bytes of an answer.
const MAX_ANSWER: u64 = 16 << 20;

/// What it says when it is in its namespaces.
const READY: u8 = b'r';

/// What it gets to see.
pub struct Views {
    /// The archive, for reading.
    pub archive: File,
    /// The directory in which it makes the tree.
    pub tree: File,
    /// An empty file without a name, for an archive that is compressed as a whole.
    pub spool: File,
}

/// Has an archive unpacked.
pub fn unpack(views: Views, wanted: &Wanted) -> Result<Unpacked, ImageError> {
    let program = program().map_err(ImageError::failed("find supervisor-unpack"))?;
    let starting = format!("start {}", program.display());
    let mut child = start(program, views).map_err(ImageError::failed(starting))?;
    let answer = converse(&mut child, wanted);
    if answer.is_err() {
        // It may wait for us still; that it is gone already is as good.
        child.kill().ok();
    }
    let status = child.wait().map_err(ImageError::failed("wait for supervisor-unpack"))?;
    let answer = answer.map_err(ImageError::failed("speak with supervisor-unpack"))?;
    understand(&answer, status)
}

/// It stands beside the program that asks for it.
fn program() -> io::Result<PathBuf> {
    let own = fs::read_link("/proc/self/exe")?;
    Ok(own.with_file_name("supervisor-unpack"))
}

fn start(program: PathBuf, views: Views) -> io::Result<Child> {
    let views: [OwnedFd; 3] = [views.archive.into(), views.tree.into(), views.spool.into()];
    let mut command = Command::new(program);
    for view in &views {
        keep_on_exec(view)?;
        command.arg(view.as_raw_fd().to_string());
    }
    command.env_clear().current_dir("/");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

fn converse(child: &mut Child, wanted: &Wanted) -> io::Result<Vec<u8>> {
    let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
    let mut from = child.stdout.take().ok_or_else(missing)?;
    let mut to = child.stdin.take().ok_or_else(missing)?;
    let mut word = [0];
    from.read_exact(&mut word)?;
    if word == [READY] {
        // Its pid is its own as long as we have not waited for it.
        for map in ["uid_map", "gid_map"] {
            fs::write(format!("/proc/{}/{map}", child.id()), format!("0 {IMAGE_ID} {IDS}\n"))?;
        }
        to.write_all(&serde_json::to_vec(wanted).map_err(io::Error::other)?)?;
    }
    drop(to);
    let mut answer = Vec::new();
    from.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(if word == [READY] { answer } else { [&word, answer.as_slice()].concat() })
}

fn understand(answer: &[u8], status: ExitStatus) -> Result<Unpacked, ImageError> {
    match serde_json::from_slice(answer) {
        Ok(Answer::Unpacked(unpacked)) if status.success() => Ok(*unpacked),
        Ok(Answer::Refused(why)) => Err(ImageError::Refused(why)),
        _ => {
            let why = format!("supervisor-unpack ended without an answer ({status})");
            Err(ImageError::failed("unpack the archive")(io::Error::other(why)))
        }
    }
}
