//! Where all this was measured. Without it no number means anything.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread::available_parallelism;

use crate::failure::Failure;

/// The machine, and who takes part.
#[derive(Debug)]
pub struct Environment {
    /// The kernel's release.
    pub kernel: String,
    /// Processors that this process may use.
    pub cores: usize,
    /// Load averages over 1, 5 and 15 minutes, from before anything was started.
    pub load: String,
    /// Whether this process is root.
    pub is_root: bool,
    /// What the programs say of themselves.
    pub versions: Vec<String>,
}

impl Environment {
    /// Looks around.
    pub fn look() -> Result<Self, Failure> {
        let read =
            |path: &str| fs::read_to_string(path).map_err(Failure::of(format!("read {path}")));
        let load = read("/proc/loadavg")?;
        let own = fs::metadata("/proc/self").map_err(Failure::of("look at /proc/self"))?;
        let versions = [
            ("bwrap", "--version"),
            ("crun", "--version"),
            ("/usr/bin/python3", "--version"),
            ("squid", "--version"),
            ("tinyproxy", "-v"),
            ("mitmdump", "--version"),
        ];
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            cores: available_parallelism().map_err(Failure::of("count processors"))?.get(),
            load: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            is_root: own.uid() == 0,
            versions: versions.into_iter().filter_map(version).collect(),
        })
    }

    /// Prints the head of the report.
    pub fn print(&self) {
        let (own, user) =
            (env!("CARGO_PKG_VERSION"), if self.is_root { "root" } else { "not root" });
        println!(
            "supervisord {own}{}, Linux {}, {} cores, load {} at the start, {user}",
            if cfg!(debug_assertions) { " (debug: numbers mean little)" } else { "" },
            self.kernel,
            self.cores,
            self.load,
        );
        println!("{}", self.versions.join(", "));
        println!(
            "Peers run without limits, seccomp filter and Landlock; supervisord with its default \
             policy, a record on disk and the answer as JSON."
        );
    }
}

/// The first line of what a program says to this option.
fn version((program, option): (&str, &str)) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}
