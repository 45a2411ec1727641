//! Archives that have been changed, with right checksums: a damaged one would end the reading before anything
//! is read. Part of two crates, by path.

/// Bytes of a block, and of a head.
const BLOCK: usize = 512;

/// The archive with the checksum that each of its heads should have.
pub fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut at = 0;
    while let Some(block) = bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<BLOCK>) {
        let mut head = tar::Header::from_byte_slice(block).clone();
        at += BLOCK;
        if block.iter().any(|byte| *byte != 0) {
            head.set_cksum();
            block.copy_from_slice(head.as_bytes());
            // What no archive can be as long as is passed over as if it were nothing.
            let size = head.entry_size().ok().and_then(|size| usize::try_from(size).ok());
            let content = size.and_then(|size| size.checked_next_multiple_of(BLOCK));
            at = content.and_then(|content| at.checked_add(content)).unwrap_or(at);
        }
    }
    bytes
}
