//! Randomness without a device file, which a small root doesn't have.

use std::io;

/// 128 bits from the kernel (getrandom(2)). Up to 256 bytes come whole once the pool is ready.
pub fn random_bits() -> io::Result<u128> {
    let mut bytes = [0u8; 16];
    // SAFETY: the kernel writes at most `len` bytes into our buffer.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    match usize::try_from(got) {
        Ok(length) if length == bytes.len() => Ok(u128::from_le_bytes(bytes)),
        Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}
