//! File systems in image files: one ext4 each, behind a loop device that goes by itself when nobody
//! has it mounted any more. No image is ever written but by the kernel and, before anybody had it, by us.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollTimeout, poll};
use nix::sys::stat::Mode;
use supervisor_sys::{FsContext, MountAttributes, behind_loop, configure_loop, free_loop};

/// How often we ask for a free device while others take what we were told, or for one that is being
/// let go of, and the pause between in milliseconds.
const TRIES: u32 = 500;
const PAUSE_MS: u8 = 10;

/// Where loop devices come from.
pub struct Loops {
    devices: OwnedFd,
    control: OwnedFd,
}

/// Whether anybody wants to find again what is written. What nobody does need not get to the host's disk:
/// a payload would have the disk wait for it, and us, when we take the file system down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// It is kept, and a loss of power must not ruin it.
    Yes,
    /// It goes with its mount.
    No,
}

impl Loops {
    /// Opens the host's devices while they can be reached by path.
    pub fn open() -> io::Result<Self> {
        let control = File::options().read(true).write(true).open("/dev/loop-control")?;
        Ok(Self { devices: File::open("/dev")?.into(), control: control.into() })
    }

    /// Mounts the file system in a file that nobody else knows.
    pub fn mount_own(&self, file: BorrowedFd<'_>, stays: Stays) -> io::Result<OwnedFd> {
        let device = self.attach(file)?;
        mount(&device, stays) // keeps the device from here on
    }

    /// Mounts the file system in a file that may be mounted already, by us or by a launcher before us
    /// whose sandboxes are not quite gone. Two devices over one file would ruin it, so the device
    /// shares a lock with the description through which we opened the file: who can't have the lock
    /// finds the device, and mounts that once more.
    pub fn mount_shared(&self, file: &File) -> io::Result<OwnedFd> {
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => return self.mount_own(file.as_fd(), Stays::Yes),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
                Err(std::fs::TryLockError::WouldBlock) => {}
            }
            if let Some(device) = self.behind(file)? {
                return mount(&device, Stays::Yes);
            }
            poll(&mut [], PollTimeout::from(PAUSE_MS))?; // it is being let go of
        }
        Err(Errno::EBUSY.into())
    }

    fn attach(&self, file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
        for _ in 0..TRIES {
            let name = format!("loop{}", free_loop(self.control.as_fd())?);
            let device = self.device(&name, OFlag::O_RDWR)?;
            match configure_loop(device.as_fd(), file) {
                Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => {}
                // As below: nobody may have it open to write when it is mounted. It stays as long as somebody has it open.
                other => return other.and_then(|()| self.device(&name, OFlag::O_RDONLY)),
            }
        }
        Err(Errno::EBUSY.into())
    }

    /// The device that a file is behind. As long as we have it open it stays so.
    fn behind(&self, file: &File) -> io::Result<Option<OwnedFd>> {
        let metadata = file.metadata()?;
        let wanted = Some((metadata.dev(), metadata.ino()));
        let directory =
            openat(&self.devices, ".", OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in Dir::from_fd(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_str().unwrap_or_default();
            let number = name.strip_prefix("loop").and_then(|number| number.parse::<u32>().ok());
            // To be asked and kept, no more: who may write has udev look at it anew, and some kernels let nobody write to
            // what is mounted (CONFIG_BLK_DEV_WRITE_MOUNTED).
            let opened = number.and_then(|_| self.device(name, OFlag::O_RDONLY).ok());
            let Some(device) = opened else { continue };
            if behind_loop(device.as_fd())? == wanted {
                return Ok(Some(device));
            }
        }
        Ok(None)
    }

    fn device(&self, name: &str, access: OFlag) -> io::Result<OwnedFd> {
        Ok(openat(&self.devices, name, access | OFlag::O_CLOEXEC, Mode::empty())?)
    }
}

fn mount(device: &OwnedFd, stays: Stays) -> io::Result<OwnedFd> {
    let context = FsContext::open(c"ext4")?;
    let path = CString::new(format!("/proc/self/fd/{}", device.as_raw_fd()))?;
    context.set(c"source", &path)?;
    context.set(c"errors", c"remount-ro")?;
    context.set_flag(c"noinit_itable")?; // zeroes that it would write are there already
    if stays == Stays::No {
        context.set_flag(c"nobarrier")?;
    }
    context.mount(MountAttributes::NO_SUID.and(MountAttributes::NO_DEV))
}
