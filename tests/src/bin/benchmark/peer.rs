//! Contestants that are a command: the bare program and the tools of other projects.

use std::io;
use std::process::{Child, Command, Stdio};

use crate::contestant::{Contestant, Program, Runner, Sleepers, Who};
use crate::failure::Failure;
use crate::layout::{self, Entry};

/// All that is in the environment of a program.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A contestant that is a command.
pub struct Peer {
    who: Who,
    /// The command that runs a program, and the one that ends it where killing its process doesn't.
    command: Box<dyn Fn(Program) -> (Command, Option<Command>) + Send + Sync>,
}

/// The program itself.
pub fn bare() -> Peer {
    Peer::new(Who::Bare, |program| (command(program.argv()), None))
}

/// bwrap(1) with every namespace it has, as its own documentation shows it.
///
/// # Errors
/// Why it can't take part.
pub fn bubblewrap() -> Result<Peer, String> {
    let mut words: Vec<String> =
        ["bwrap", "--unshare-all", "--die-with-parent"].map(str::to_owned).into();
    for entry in layout::entries() {
        let (option, from, to) = match entry {
            Entry::Link(path, target) => ("--symlink", target, path),
            Entry::Directory(path) => ("--ro-bind", path.clone(), path),
        };
        words.extend([option.to_owned(), from.display().to_string(), to.display().to_string()]);
    }
    words.extend(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"].map(str::to_owned));
    let peer = Peer::new(Who::Bubblewrap, move |program| {
        let argv = words.iter().map(String::as_str).chain(program.argv().iter().copied());
        (command(&argv.collect::<Vec<_>>()), None)
    });
    peer.tried("bubblewrap")
}

/// A command with an environment of almost nothing, and no input and output.
pub fn command(argv: &[&str]) -> Command {
    let mut words = argv.iter();
    let mut command = Command::new(words.next().copied().unwrap_or_default());
    command.args(words).env_clear().env("PATH", PATH);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

impl Peer {
    /// A contestant that runs programs by the commands that are made here.
    pub fn new(
        who: Who,
        make: impl Fn(Program) -> (Command, Option<Command>) + Send + Sync + 'static,
    ) -> Self {
        Self { who, command: Box::new(make) }
    }

    /// The contestant, if it is there and can do what is asked of it.
    ///
    /// # Errors
    /// Why it can't take part; `package` is what to install.
    pub fn tried(self, package: &str) -> Result<Self, String> {
        let (mut command, _) = (self.command)(Program::True);
        match command.stderr(Stdio::piped()).output() {
            Ok(output) if output.status.success() => Ok(self),
            Ok(output) => {
                let words = String::from_utf8_lossy(&output.stderr);
                let first = words.lines().next().unwrap_or("no reason given");
                Err(format!("does not work here: {first}"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("not installed (apt install {package})"))
            }
            Err(error) => Err(format!("can't be started: {error}")),
        }
    }

    fn spawn(&self, program: Program) -> Result<(Child, Option<Command>), Failure> {
        let (mut command, end) = (self.command)(program);
        let child = command.spawn().map_err(Failure::of(format!("start {}", self.who)))?;
        Ok((child, end))
    }
}

impl Contestant for Peer {
    fn runner(&self) -> Result<Box<dyn Runner + '_>, Failure> {
        Ok(Box::new(self))
    }

    fn sleepers(&self, count: usize) -> Result<Box<dyn Sleepers + '_>, Failure> {
        let mut children = Children { who: self.who, children: Vec::new() };
        for _ in 0..count {
            children.children.push(self.spawn(Program::Sleep)?);
        }
        Ok(Box::new(children))
    }
}

impl Runner for &Peer {
    fn run(&mut self, program: Program) -> Result<(), Failure> {
        let (mut child, _) = self.spawn(program)?;
        let status = child.wait().map_err(Failure::of(format!("wait for {}", self.who)))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{program} in {}: {status}", self.who)))
    }
}

struct Children {
    who: Who,
    children: Vec<(Child, Option<Command>)>,
}

impl Sleepers for Children {
    fn roots(&self) -> Vec<u32> {
        self.children.iter().map(|(child, _)| child.id()).collect()
    }

    fn end(&mut self) -> Result<(), Failure> {
        let failed = || Failure::of(format!("end {}", self.who));
        for (mut child, end) in self.children.drain(..) {
            match end {
                Some(mut command) => drop(command.status().map_err(failed())?),
                None => child.kill().map_err(failed())?,
            }
            child.wait().map_err(failed())?;
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        if let Err(failure) = self.end() {
            failure.tell();
        }
    }
}
