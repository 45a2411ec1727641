//! The privileged half of the supervisor. It makes and ends sandboxes on request of the daemon and
//! does nothing else: no network, no threads, no parser beyond fixed-layout messages. It takes
//! nothing that the daemon says on trust; the ceilings on its own command line bound every request.

#![forbid(unsafe_code)]

mod arguments;
mod cgroup;
mod confine;
mod descriptors;
mod failure;
mod ids;
mod image;
mod network;
mod root;
mod sandbox;
mod serve;
mod workspace;

use std::process::ExitCode;

use supervisor_sys::SingleThreaded;

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
    let arguments = arguments::Arguments::read(std::env::args_os())?;
    let proof = failure::fatal("count threads", SingleThreaded::prove())?;
    let init = image::load_init(&arguments)?;
    let daemon = serve::Daemon::open(&arguments)?;
    let cgroup = cgroup::Base::make(&arguments)?;
    let root = root::Root::enter(&arguments)?;
    confine::confine(root.privileged(), arguments.cgroup == arguments::CgroupPlace::Own)?;
    let sandboxes = sandbox::Sandboxes::new(proof, arguments, root, cgroup, init);
    serve::serve(daemon, sandboxes)
}
