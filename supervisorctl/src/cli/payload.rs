//! What to run and on what: the options that `run` and `submit` share.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use supervisor_api::{ChangesMode, Language, SessionId};

use super::limits::LimitOptions;
use crate::paths;

/// The languages as the interface spells them.
pub(super) const LANGUAGES: [&str; 3] = ["python", "bash", "node"];

/// What to run.
#[derive(Debug, Clone, Default, Args)]
pub struct PayloadOptions {
    /// Program and arguments, passed on byte for byte; no shell is involved. With --language: a
    /// file with the source, or - for standard input, and the arguments of the program
    #[arg(required = true, trailing_var_arg = true, value_name = "ARGV")]
    pub argv: Vec<String>,
    /// Run a source text with the image's interpreter of this language
    #[arg(long, value_parser = super::words::<Language>(&LANGUAGES))]
    pub language: Option<Language>,
    /// Put a file of this machine into the workspace [default path: its own name]; the execute
    /// bit is kept; at most 24 MiB each (repeatable)
    #[arg(long = "file", value_name = "LOCAL[:PATH]", 
          value_parser = OsStringValueParser::new().try_map(|text| FileToSend::parse(&text)))]
    pub files: Vec<FileToSend>,
    /// Set a variable (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub env: Vec<(String, String)>,
    /// Set the variables in a file of NAME=VALUE lines; # starts a comment line, quotes mean
    /// nothing, --env wins (repeatable)
    #[arg(long = "env-file", value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Working directory beneath the workspace [default: the workspace]
    #[arg(long, value_name = "PATH")]
    pub cwd: Option<String>,
    /// Pass our standard input on, read to its end first; at most 16 MiB
    #[arg(long, conflicts_with_all = ["interactive", "terminal"])]
    pub stdin: bool,
    /// Let standard input be sent while it runs; `run` passes ours on as it comes, and its end
    #[arg(short, long)]
    pub interactive: bool,
    /// Give it a terminal, of the size of ours; `run` passes on what is typed and shows its bytes
    /// unchanged, escape sequences included. Ctrl-P Ctrl-Q leaves it running: see `attach`
    #[arg(short, long)]
    pub terminal: bool,
    /// Keep the files of the workspace that match: * stops at /, ** does not (repeatable)
    #[arg(long = "artifact", value_name = "GLOB")]
    pub artifacts: Vec<String>,
    /// Run in the workspace of this session [default: in one of its own that ends with it]
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,
    /// Tell what it changes in its workspace, for `changes ID` (record), or hold it back from the
    /// session until `changes ID --apply` or --discard (hold)
    #[arg(long, value_name = "HOW", value_parser = super::words::<ChangesMode>(&["record", "hold"]))]
    pub changes: Option<ChangesMode>,
    /// One of the images that the policy lets you choose from [default: the policy's own]
    #[arg(long, value_name = "NAME[:TAG]")]
    pub image: Option<String>,
    /// Name of the policy [default: the session's, or what the daemon's configuration gives you]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Mark the execution for lists (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = pair)]
    pub labels: Vec<(String, String)>,
    /// Limits of the execution.
    #[command(flatten)]
    pub limits: LimitOptions,
}

/// A file of this machine and where it goes in the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileToSend {
    /// Where it is.
    pub local: PathBuf,
    /// Where it goes, relative to the workspace.
    pub path: String,
}

impl FileToSend {
    /// Reads `LOCAL` or `LOCAL:PATH`; the last colon counts, so that a name with a colon in it can
    /// be written by giving its path as well.
    fn parse(text: &OsStr) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let colon = bytes.iter().rposition(|byte| *byte == b':');
        let (local, path) = match colon.and_then(|at| bytes.split_at_checked(at)) {
            Some((local, path)) => (local, path.strip_prefix(b":").map(OsStr::from_bytes)),
            None => (bytes, None),
        };
        let local = PathBuf::from(OsStr::from_bytes(local));
        let path = path
            .or_else(|| local.file_name())
            .and_then(OsStr::to_str)
            .ok_or("the path in the workspace must be a name in UTF-8")?
            .to_owned();
        if local.as_os_str().is_empty() {
            return Err("write LOCAL or LOCAL:PATH".to_owned());
        }
        if !paths::is_beneath(&path) {
            return Err("the path in the workspace is relative, without . or .. in it".to_owned());
        }
        Ok(Self { local, path })
    }
}

pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileToSend, String> {
        FileToSend::parse(OsStr::new(text))
    }

    #[test]
    fn a_file_goes_to_its_own_name_or_to_the_path_after_the_last_colon() {
        let expect = |local: &str, path: &str| {
            Ok(FileToSend { local: PathBuf::from(local), path: path.to_owned() })
        };
        assert_eq!(parse("data/in.csv"), expect("data/in.csv", "in.csv"));
        assert_eq!(parse("in.csv:data/x.csv"), expect("in.csv", "data/x.csv"));
        assert_eq!(parse("a:b:c"), expect("a:b", "c"));
    }

    #[test]
    fn a_file_cannot_be_sent_outside_the_workspace() {
        for text in ["x:/etc/passwd", "x:../y", "x:a/../b", "x:", "x:a//b", "x:./y", ":y", "", ".."]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
