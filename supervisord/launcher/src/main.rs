//! The privileged half of the supervisor. It makes and ends sandboxes on request of the daemon and
//! does nothing else: no network, no threads, no parser beyond fixed-layout messages. It takes
//! nothing that the daemon says on trust; the ceilings on its own command line bound every request.
//!
//! It defends the host, and nothing stands behind it. Its peers are a daemon that may have been taken over, by
//! messages of a fixed layout, and root, by the command line. Of a sandbox it reads nothing: it waits for it
//! and kills it. File systems that payloads write to are the kernel's to parse, and nobody else ever had their
//! images. Not its promise: that it ends a process which the kernel can't end, or holds where root does not.

#![forbid(unsafe_code)]

mod alone;
mod arguments;
mod cgroup;
mod confine;
mod descriptors;
mod disk;
mod failure;
mod ids;
mod image;
mod images;
mod layers;
mod loops;
mod maps;
mod owners;
mod projects;
mod restriction;
mod room;
mod root;
mod sandbox;
mod seed;
mod serve;
mod template;
mod terminal;
mod workspace;

use std::process::ExitCode;

use nix::unistd::geteuid;
use supervisor_launch::FIRST_ID;
use supervisor_sys::{SingleThreaded, close_on_exec_from, start_as_usual};

use crate::failure::fatal;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("supervisor-launcher: {error}");
            let mut cause = std::error::Error::source(&error);
            while let Some(inner) = cause {
                eprintln!("  because: {inner}");
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), failure::Fatal> {
    fatal("undo what was inherited", start_as_usual())?;
    let arguments = arguments::Arguments::read(std::env::args_os())?;
    let proof = fatal("count threads", SingleThreaded::prove())?;
    // Without privilege there are no workspaces on disk.
    let workspaces = arguments.workspaces.as_deref().filter(|_| geteuid().is_root());
    let _held = workspaces.map(alone::hold).transpose()?; // before the socket's name is anybody's
    let daemon = serve::Daemon::open(&arguments)?;
    let no_keyring = fatal("leave the session's keyring", confine::leave_keyring())?;
    // Whatever else was open when we were started is nobody's in a sandbox.
    fatal("close what was inherited", close_on_exec_from(3))?;
    fatal("raise the descriptor limit", confine::raise_descriptors())?;
    let init = image::load_init(&arguments)?;
    let root = root::Root::begin()?;
    let no_dumps = fatal("forbid core dumps", confine::forbid_dumps(root.privileged()))?;
    let exposed = confine::exposed(no_dumps, no_keyring);
    let ids = match arguments.first_id {
        None if root.privileged() => fatal("claim host ids", ids::Ids::claim())?,
        first => ids::Ids::of(first.unwrap_or(FIRST_ID)), // without privilege none is used
    };
    let cgroup = cgroup::Base::make(&arguments)?;
    let found = match &arguments.workspaces {
        Some(path) if root.privileged() => disk::Found::look(path)?,
        _ => None, // without privilege there are no devices and no quota
    };
    let store = match &arguments.images {
        Some(path) if root.privileged() => Some(images::Store::look(path)?),
        _ => None, // without privilege they are not ours to read
    };
    root.enter()?;
    failure::fatal("leave the host's network", confine::leave_network())?;
    confine::confine(root.privileged(), arguments.cgroup == arguments::CgroupPlace::Own)?;
    let disk = fatal("take over the workspaces on disk", found.map(disk::Disk::open).transpose())?;
    let images = fatal("show images", images::Images::open(store))?;
    let made_from =
        sandbox::MadeFrom { proof, arguments, root, cgroup, disk, images, init, exposed };
    serve::serve(daemon, sandbox::Sandboxes::new(made_from, ids)?)
}
