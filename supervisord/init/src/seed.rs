//! Before there is a sandbox. The launcher executes this program once; that process, the seed, waits, and
//! for each sandbox it makes a copy of itself, in fresh namespaces, that goes on as the sandbox's init.
//! To execute the program anew each time would be the greater part of a start: a C library's
//! first instructions ask the processor what it can do, and on a virtual machine every such question
//! goes to the host.
//!
//! The seed is the same before each copy: it has one thread, listens to the launcher alone, keeps
//! nothing of a launch, and never sees a byte of a payload's or a caller's. A copy is the launcher's
//! child, not the seed's, and dies with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use supervisor_launch::{COPY_DESCRIPTORS, Copied, Step, Wanted};
use supervisor_sys::{Cloned, SingleThreaded, clone_sibling, close_on_exec_from, receive};
use supervisor_sys::{send, take_inherited};

use crate::failure::{Failed, at};
use crate::inherited::Inherited;
use crate::network::Network;
use crate::{listen, owner};

/// The process that copies are made of.
pub struct Seed {
    launcher: OwnedFd,
    network: Network,
}

impl Seed {
    /// Takes over the launcher's socket, whose number is our command line, and marks whatever else came
    /// along to be closed at exec.
    pub fn take() -> io::Result<Self> {
        let number = std::env::args().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
        let launcher = take_inherited(number.parse().map_err(io::Error::other)?)?;
        close_on_exec_from(3)?;
        Ok(Self { launcher, network: Network::default() })
    }

    /// Makes copies until the launcher is gone. Returns in each copy, with what it inherits.
    pub fn serve(mut self, proof: &SingleThreaded) -> Option<Inherited> {
        loop {
            // While nobody waits: what could not be made now is tried again when it is needed.
            drop(self.network.refresh());
            let mut question = [0; Wanted::LENGTH];
            let (length, mut fds) = receive(self.launcher.as_fd(), &mut question).ok()?;
            if length != question.len() {
                return None;
            }
            let wanted = Wanted::decode(&question).ok()?;
            let expected = COPY_DESCRIPTORS
                + usize::from(wanted.channel)
                + usize::from(wanted.terminal)
                + 2 * usize::from(wanted.root);
            let cgroup = (fds.len() > expected).then(|| fds.pop()).flatten();
            let answered = match self.copy(proof, wanted, cgroup.as_ref()) {
                Ok((Cloned::Child, sockets)) => {
                    drop(sockets); // they are the daemon's
                    return Inherited::new(fds, wanted).ok();
                }
                Ok((Cloned::Parent { process, pid }, sockets)) => {
                    drop((fds, cgroup)); // or the payload's streams would never end
                    let handed: Vec<_> = std::iter::once(process).chain(sockets).collect();
                    self.answer(Copied::Made { pid }, &handed)
                }
                Err(Failed { step, errno }) => self.answer(Copied::Failed { step, errno }, &[]),
            };
            answered.ok()?;
        }
    }

    /// The sockets come first: one that can't be made is told before there is a copy to be taken back.
    fn copy(
        &mut self,
        proof: &SingleThreaded,
        wanted: Wanted,
        cgroup: Option<&OwnedFd>,
    ) -> Result<(Cloned, Vec<OwnedFd>), Failed> {
        at(Step::MakeNetwork, self.network.refresh())?;
        self.network.hand_over(); // whatever comes of the rest
        let sockets = wanted.listeners.as_ref().map(listen::make);
        let sockets = at(Step::Listen, sockets.transpose())?.unwrap_or_default();
        at(Step::MakeNetwork, Network::bound())?;
        let clone = || clone_sibling(proof, cgroup.map(|fd| fd.as_fd()));
        Ok((at(Step::Clone, owner::as_owner(wanted.owner, clone))?, sockets))
    }

    fn answer(&self, answer: Copied, fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        send(self.launcher.as_fd(), &answer.encode(), &fds)
    }
}
