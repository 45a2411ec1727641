//! What a full file is followed by, and which files go when there are too many bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use jiff::Timestamp;
use supervisor_api::{Chain, Removal, What};

use super::Writer;
use crate::audit::error::AuditError;
use crate::clock;

impl Writer {
    pub(super) fn rotate_or_say(&mut self) {
        if let Err(error) = self.rotate() {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the audit log goes on in a file that is full");
        }
    }

    /// Goes on in a new file, and removes the oldest if there are too many bytes.
    fn rotate(&mut self) -> Result<(), AuditError> {
        let path = self.file.path.clone();
        let failed = |doing| AuditError::at(doing, &path);
        self.checkpoint(false).map_err(failed("sign"))?;
        let (file, handle) = self.directory.create(self.chain.next)?;
        self.handle.set_len(self.end).map_err(failed("end"))?; // gives back what was set aside
        (self.file, self.handle) = (file, handle);
        (self.end, self.reserved, self.last) = (0, 0, None);
        self.set_aside();
        self.remove_oldest()
    }

    fn remove_oldest(&mut self) -> Result<(), AuditError> {
        loop {
            let files = self.directory.files()?;
            let [oldest, second, ..] = files.as_slice() else { return Ok(()) };
            let sizes = files.iter().map(|file| file.path.metadata().map_or(0, |it| it.len()));
            if sizes.sum::<u64>() + self.settings.file_bytes <= self.settings.total_bytes
                || *second == self.file
            {
                return Ok(());
            }
            let failed = |doing| AuditError::at(doing, &oldest.path);
            let chain = last_of(&oldest.path).map_err(failed("read"))?;
            let removal = Removal {
                file: oldest.name(),
                first: oldest.first,
                last: chain.next.saturating_sub(1),
                last_hash: chain.last.to_string(),
            };
            let event = What::Removal(removal).about_nobody();
            self.append([(clock::timestamp(), &event)].into_iter()).map_err(failed("record"))?;
            self.checkpoint(false).map_err(failed("sign"))?;
            self.directory.remove(oldest)?;
        }
    }
}

/// More than any record takes.
const END: u64 = 1 << 20;

/// The end of the chain in a file that is no longer written, whose last line ends it.
fn last_of(path: &Path) -> io::Result<Chain> {
    let length = path.metadata()?.len();
    let line = last_line(path, length)?;
    let mut chain = Chain::unknown();
    match line.as_deref().and_then(|line| chain.follow(line)) {
        Some(_) => Ok(chain),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "its last record is not whole")),
    }
}

/// The time of the last record in a file of so many bytes.
pub(super) fn last_time(path: &Path, length: u64) -> io::Result<Option<Timestamp>> {
    let Some(line) = last_line(path, length)? else { return Ok(None) };
    Ok(Chain::place(&line).and_then(|(_, time)| time.parse().ok()))
}

fn last_line(path: &Path, length: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; usize::try_from(length.min(END)).unwrap_or_default()];
    File::open(path)?.read_exact_at(&mut bytes, length.saturating_sub(END))?;
    let lines = bytes.strip_suffix(b"\n");
    Ok(lines.and_then(|rest| rest.rsplit(|byte| *byte == b'\n').next()).map(<[u8]>::to_vec))
}
