//! What a layer or a whole archive is compressed by, told by its first bytes, and reading it plainly.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};

use crate::unpack::refusal::Refusal;

/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// What bytes are compressed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Plain,
    Gzip,
    Zstandard,
}

impl Compression {
    /// By the first bytes of a file.
    pub fn of(head: &[u8]) -> Result<Self, Refusal> {
        Ok(match head {
            [0x1f, 0x8b, ..] => Compression::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                Compression::Zstandard
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => return Err(unknown("xz")),
            [b'B', b'Z', b'h', ..] => return Err(unknown("bzip2")),
            _ => Compression::Plain,
        })
    }

    /// The plain bytes.
    pub fn reader<'a>(self, from: impl Read + 'a) -> Box<dyn Read + 'a> {
        let from = BufReader::with_capacity(CHUNK, from);
        match self {
            Compression::Plain => Box::new(from),
            Compression::Gzip => Box::new(MultiGzDecoder::new(from)),
            Compression::Zstandard => {
                Box::new(Frames { from, decoder: FrameDecoder::new(), inside: false })
            }
        }
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(format!(
        "it is compressed by {what}: decompress it, or compress it by gzip or zstd"
    ))
}

/// Zstandard frames, one after the other (RFC 8878, 3.1), as tools write them that let layers be fetched in
/// parts.
struct Frames<R: BufRead> {
    from: R,
    decoder: FrameDecoder,
    /// A frame has begun and not ended.
    inside: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.inside {
                if self.from.fill_buf()?.is_empty() {
                    return Ok(0);
                }
                self.begin()?;
                continue;
            }
            if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.from, one).map_err(io::Error::other)?;
            }
            let count = self.decoder.read(to)?;
            if count > 0 {
                return Ok(count);
            }
            self.inside = !self.decoder.is_finished() || self.decoder.can_collect() > 0;
        }
    }
}

impl<R: BufRead> Frames<R> {
    fn begin(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.from) {
            Ok(()) => {
                self.inside = true;
                Ok(())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let mut skipped = self.from.by_ref().take(length.into());
                match io::copy(&mut skipped, &mut io::sink())? == u64::from(length) {
                    true => Ok(()),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                }
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

/// Digests and counts what goes through, and ends what goes beyond a bound.
pub struct Counted<R> {
    from: R,
    digest: Sha256,
    left: u64,
}

impl<R: Read> Counted<R> {
    /// Lets so many bytes through.
    pub fn new(from: R, bound: u64) -> Self {
        Self { from, digest: Sha256::new(), left: bound }
    }

    /// Reads what is left, and tells the digest of all of it.
    pub fn finish(mut self) -> io::Result<[u8; 32]> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.digest.finalize().into())
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(to)?;
        let over = || io::Error::other("it holds more bytes than were allowed (--max-bytes)");
        self.left = self.left.checked_sub(count as u64).ok_or_else(over)?;
        self.digest.update(to.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Fills the last block of an archive up, as tools do that write layers whose ends others leave out. Only for
/// what has a digest: there it is known that nothing was cut off.
pub struct Padded<R> {
    from: R,
    read: u64,
}

/// Bytes of a block of tar.
const BLOCK: u64 = 512;

impl<R: Read> Padded<R> {
    /// Fills up what comes from here.
    pub fn new(from: R) -> Self {
        Self { from, read: 0 }
    }
}

impl<R: Read> Read for Padded<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let mut count = self.from.read(to)?;
        if count == 0 {
            let missing = self.read.next_multiple_of(BLOCK) - self.read;
            count = usize::try_from(missing).unwrap_or_default().min(to.len());
            to.iter_mut().take(count).for_each(|byte| *byte = 0);
        }
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn plain(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Compression::of(bytes).unwrap().reader(bytes).read_to_end(&mut all)?;
        Ok(all)
    }

    fn frame(bytes: &[u8]) -> Vec<u8> {
        use ruzstd::encoding::{CompressionLevel, compress_to_vec};
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    #[test]
    fn members_and_frames_are_read_one_after_the_other_and_what_is_to_be_skipped_is() {
        let member = |bytes: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        };
        assert_eq!(plain(&[member(b"one, "), member(b"two")].concat()).unwrap(), b"one, two");
        let skipped = b"\x51\x2a\x4d\x18\x03\0\0\0abc";
        let frames = [&frame(b"one, ")[..], skipped, &frame(b"two"), skipped].concat();
        assert_eq!(plain(&frames).unwrap(), b"one, two");
        assert_eq!(plain(&[skipped, &frame(b"one")[..]].concat()).unwrap(), b"one");
    }

    #[test]
    fn what_is_cut_off_is_an_error_and_not_the_end() {
        let frames = frame(&[7; 300_000]);
        assert!(plain(&frames[..frames.len() - 1]).is_err());
        assert!(plain(b"\x51\x2a\x4d\x18\x03\0\0\0ab").is_err());
        assert!(plain(b"\x1f\x8b\x08").is_err());
    }

    #[test]
    fn the_last_block_is_filled_up_and_no_more() {
        let mut all = Vec::new();
        Padded::new(&[7; 513][..]).read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), all[512], all[513]), (1024, 7, 0));
        all.clear();
        Padded::new(&[7; 512][..]).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 512);
    }

    #[test]
    fn what_goes_beyond_the_bound_ends_there() {
        let mut counted = Counted::new(io::repeat(0), 1 << 20);
        let read = io::copy(&mut counted, &mut io::sink());
        assert!(read.unwrap_err().to_string().contains("--max-bytes"));
        assert!(Counted::new(&b"abc"[..], 3).finish().is_ok());
        assert!(Counted::new(&b"abcd"[..], 3).finish().is_err());
    }
}
