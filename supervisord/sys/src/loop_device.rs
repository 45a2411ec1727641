//! Loop devices: a file as a block device (loop(4); linux/loop.h).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::check;

/// `struct loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [[u8; 64]; 2],
    key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`, Linux 5.8.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// The number of a device that was free just now; somebody else may take it first
/// (LOOP_CTL_GET_FREE on /dev/loop-control).
pub fn free_loop(control: BorrowedFd<'_>) -> io::Result<u32> {
    const GET_FREE: libc::Ioctl = 0x4C82;
    // SAFETY: the request takes no argument and answers a number.
    let number = check(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) }.into())?;
    u32::try_from(number).map_err(io::Error::other)
}

/// Puts `file` behind a free device, which lets go of it by itself when the last that has the device
/// open or mounted is gone (LOOP_CONFIGURE, LO_FLAGS_AUTOCLEAR). EBUSY says that it was not free. The
/// device shares the file's open description, and with it locks that hang on that.
pub fn configure_loop(device: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<()> {
    const CONFIGURE: libc::Ioctl = 0x4C0A;
    const AUTOCLEAR: u32 = 4;
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut config: Config = unsafe { std::mem::zeroed() };
    config.fd = file.as_raw_fd().cast_unsigned();
    config.info.flags = AUTOCLEAR;
    // SAFETY: the kernel reads a structure of the layout and size that the request names.
    check(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) }.into()).map(drop)
}

/// The device and inode numbers of the file behind a device, if there is one (LOOP_GET_STATUS64). The
/// device number is in the kernel's own encoding (`new_encode_dev`), as stat(2) gives it.
pub fn behind_loop(device: BorrowedFd<'_>) -> io::Result<Option<(u64, u64)>> {
    const GET_STATUS: libc::Ioctl = 0x4C05;
    // SAFETY: the structure holds integers only, for which all zeroes is a value.
    let mut info: Info = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes a structure of the layout and size that the request names.
    let asked = unsafe { libc::ioctl(device.as_raw_fd(), GET_STATUS, &raw mut info) };
    match check(asked.into()) {
        Ok(_) => Ok(Some((info.device, info.inode))),
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_that_the_kernel_expects() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }
}
