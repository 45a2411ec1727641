//! One cgroup for each uid that runs something: all its sandboxes are beneath it, so that together they
//! stay below ceilings of root's. Made with the first of them, removed with the last.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use supervisor_launch::Applied;

use crate::cgroup::{Base, CONTROLLERS, CPU_PERIOD, Leaf};

/// What all sandboxes of one uid may have together; 0 is no ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ceilings {
    /// Bytes (`memory.max`).
    pub memory_max: u64,
    /// Processes and threads, those of ours among them (`pids.max`).
    pub pids_max: u64,
    /// Percent of one core (`cpu.max`).
    pub cpu_max: u64,
    /// The share where uids compete, 1 to 10,000 (`cpu.weight`).
    pub cpu_weight: u64,
}

impl Ceilings {
    /// Where root says nothing: equal shares of the CPU, and no more than half of the processes that a
    /// usual kernel has numbers for (`kernel.pid_max` is 32,768 at the least). How much memory and how
    /// many cores one uid may have depends on the machine.
    pub const DEFAULT: Self = Self { memory_max: 0, pids_max: 16_384, cpu_max: 0, cpu_weight: 100 };

    /// Writes what is a ceiling and reads it back.
    fn apply(&self, group: &Leaf, controllers: u8) -> io::Result<()> {
        let wanted = |value: u64, controller| value != 0 && controllers & controller != 0;
        if wanted(self.memory_max, Applied::MEMORY) {
            group.set("memory.max", &(self.memory_max / 4096 * 4096).to_string())?;
            group.set_if_there("memory.swap.max", "0")?;
        }
        if wanted(self.pids_max, Applied::PIDS) {
            group.set("pids.max", &self.pids_max.to_string())?;
        }
        if wanted(self.cpu_max, Applied::CPU) {
            let quota = self.cpu_max.saturating_mul(CPU_PERIOD / 100);
            group.set("cpu.max", &format!("{quota} {CPU_PERIOD}"))?;
        }
        if wanted(self.cpu_weight, Applied::CPU) {
            group.set("cpu.weight", &self.cpu_weight.to_string())?;
        }
        Ok(())
    }
}

/// The cgroups of uids that have sandboxes.
#[derive(Default)]
pub struct Owners(HashMap<u32, Group>);

struct Group {
    directory: Leaf,
    sandboxes: usize,
}

impl Owners {
    /// Makes sure that a uid has its cgroup, with every ceiling in force, and counts one more in it.
    pub fn enter(&mut self, base: &Base, owner: u32, ceilings: &Ceilings) -> io::Result<()> {
        if let Some(group) = self.0.get_mut(&owner) {
            group.sandboxes += 1;
            return Ok(());
        }
        let directory = Leaf::make(base.directory(), format!("uid-{owner}"))?;
        let held = base.controllers();
        if let Err(error) =
            ceilings.apply(&directory, held).and_then(|()| hand_on(&directory, held))
        {
            directory.remove(base.directory())?;
            return Err(error);
        }
        self.0.insert(owner, Group { directory, sandboxes: 1 });
        Ok(())
    }

    /// Where the leaves of a uid's sandboxes are.
    pub fn directory(&self, owner: u32) -> Option<BorrowedFd<'_>> {
        self.0.get(&owner).map(|group| group.directory.directory())
    }

    /// One less is in it; the last takes it along.
    pub fn leave(&mut self, base: &Base, owner: u32) -> io::Result<()> {
        let Some(group) = self.0.get_mut(&owner) else { return Ok(()) };
        if group.sandboxes == 1 {
            group.directory.remove(base.directory())?;
            self.0.remove(&owner);
        } else {
            group.sandboxes -= 1;
        }
        Ok(())
    }
}

/// Lets leaves have the controllers that the base has.
fn hand_on(group: &Leaf, held: u8) -> io::Result<()> {
    for (name, _) in CONTROLLERS.iter().filter(|(_, bit)| held & bit != 0) {
        nix::unistd::write(
            group.writer("cgroup.subtree_control")?.as_fd(),
            format!("+{name}").as_bytes(),
        )?;
    }
    Ok(())
}
