//! What is uploaded: the body itself, or the parts of a form. It is put into a file without a name first, because the
//! daemon is told how long a file is before it comes.

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write};

use flate2::write::GzDecoder;
use http_body_util::{BodyDataStream, BodyExt as _};
use hyper::body::Bytes;

use super::body::Body;
use multer::Multipart;
use tokio::time;

use super::answer::{Kind, Refusal};
use super::request::PATIENCE;

/// Bytes of one file, decoded; its workspace may hold less.
const FILE_MAX: u64 = 4 << 30;

/// Where files come from.
pub enum Source {
    /// The body is the file; once it is read there is nothing.
    Body(Option<Body>),
    /// The parts of a form are the files.
    Form(Box<Multipart<'static>>),
}

/// A file that has come.
pub struct Spooled {
    file: File,
}

impl Source {
    /// The source that a media type says.
    pub fn of(media_type: &str, body: Body) -> Result<Self, Refusal> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/octet-stream") {
            return Ok(Self::Body(Some(body)));
        }
        let boundary = multer::parse_boundary(media_type).map_err(|_| {
            let words =
                format!("send application/octet-stream or multipart/form-data, not {media_type:?}");
            Refusal::new(Kind::MediaType, words)
        })?;
        Ok(Self::Form(Box::new(Multipart::new(BodyDataStream::new(body), boundary))))
    }
}

impl Spooled {
    /// The file, to be read from its beginning.
    pub fn rewound(mut self) -> Result<File, Refusal> {
        self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(self.file)
    }
}

/// The next file, with its name where it has one.
pub async fn next(
    source: &mut Source,
    gzip: bool,
) -> Result<Option<(Option<String>, Spooled)>, Refusal> {
    let mut spool = Spool::new(gzip)?;
    match source {
        Source::Body(body) => {
            let Some(mut body) = body.take() else { return Ok(None) };
            while let Some(frame) = in_time(body.frame()).await? {
                let frame = frame.map_err(|error| broken(&error))?;
                if let Ok(bytes) = frame.into_data() {
                    spool.write(&bytes)?;
                }
            }
            Ok(Some((None, spool.end()?)))
        }
        Source::Form(form) => {
            let part = in_time(form.next_field()).await?.map_err(|error| broken(&error))?;
            let Some(mut part) = part else { return Ok(None) };
            let name = part.file_name().map(str::to_owned);
            while let Some(bytes) = in_time(part.chunk()).await?.map_err(|error| broken(&error))? {
                spool.write(&bytes)?;
            }
            Ok(Some((name, spool.end()?)))
        }
    }
}

/// A file that is being written.
enum Spool {
    Plain(Bounded),
    Gzip(Box<GzDecoder<Bounded>>),
}

impl Spool {
    fn new(gzip: bool) -> Result<Self, Refusal> {
        let bounded = Bounded { file: tempfile::tempfile().map_err(failed)?, written: 0 };
        Ok(match gzip {
            false => Self::Plain(bounded),
            true => Self::Gzip(Box::new(GzDecoder::new(bounded))),
        })
    }

    fn write(&mut self, bytes: &Bytes) -> Result<(), Refusal> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(decoder) => decoder.write_all(bytes),
        }
        .map_err(failed)
    }

    fn end(self) -> Result<Spooled, Refusal> {
        let bounded = match self {
            Self::Plain(bounded) => bounded,
            Self::Gzip(decoder) => decoder.finish().map_err(failed)?,
        };
        Ok(Spooled { file: bounded.file })
    }
}

/// A file that takes so many bytes and no more.
struct Bounded {
    file: File,
    written: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > FILE_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.file.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

async fn in_time<T>(coming: impl Future<Output = T>) -> Result<T, Refusal> {
    let late = |_| Refusal::invalid(format!("nothing of the body came for {PATIENCE:?}"));
    time::timeout(PATIENCE, coming).await.map_err(late)
}

fn broken(error: &dyn std::error::Error) -> Refusal {
    Refusal::invalid(format!("the body can't be read: {error}"))
}

fn failed(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            Refusal::new(Kind::TooLarge, format!("a file has {FILE_MAX} bytes at the most"))
        }
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Refusal::invalid(format!("the body is no gzip: {error}"))
        }
        io::ErrorKind::StorageFull => {
            Refusal::new(Kind::Full, "there is no room for what is uploaded")
        }
        _ => Refusal::new(Kind::Internal, format!("cannot keep what is uploaded: {error}")),
    }
}
