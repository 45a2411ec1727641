//! From the command line to a submission: reads what the operator named, and nothing else.

use std::collections::BTreeMap;
use std::env;
use std::io;
use std::path::Path;

use supervisor_api::{ArtifactRequest, Content, InputFile, SubmitRequest, UniqueMap};

use crate::cli::{FileToSend, PayloadOptions};
use crate::failure::Failure;
use crate::{local, raw};

/// Bytes of one file and of a source text. A submission travels in one request and in base64, and
/// the daemon holds it in memory.
const FILE_MAX: u64 = 24 << 20;

/// Bytes of standard input, for the same reason; the rest of the request needs room as well.
const STDIN_MAX: u64 = 16 << 20;

/// Bytes of a file with variables: more than execve takes.
const ENV_FILE_MAX: u64 = 1 << 20;

/// The submission that the options ask for.
pub fn request(options: &PayloadOptions) -> Result<SubmitRequest, Failure> {
    let mut request = SubmitRequest {
        env: environment(options)?,
        cwd: options.cwd.clone(),
        files: files(&options.files)?,
        limits: options.limits.request(),
        artifacts: ArtifactRequest { globs: options.artifacts.clone() },
        session: options.session,
        changes: options.changes,
        policy: options.policy.clone(),
        image: options.image.clone(),
        labels: UniqueMap(options.labels.iter().cloned().collect()),
        ..SubmitRequest::default()
    };
    match (options.language, options.argv.split_first()) {
        (Some(_), Some((file, _)))
            if file == "-" && (options.stdin || options.interactive || options.terminal) =>
        {
            let words = "a source from standard input (-) leaves nothing of it to pass on";
            return Err(Failure::Usage(words.to_owned()));
        }
        (Some(language), Some((file, arguments))) => {
            request.language = Some(language);
            request.source = Some(source(file)?);
            request.args = arguments.to_vec();
        }
        _ => request.argv = options.argv.clone(),
    }
    request.stdin_open = options.interactive;
    if options.terminal {
        request.terminal = Some(raw::size());
        if let Ok(kind) = env::var("TERM") {
            request.env.0.entry("TERM".to_owned()).or_insert(kind);
        }
    }
    if options.stdin {
        let read = local::read(io::stdin().lock(), STDIN_MAX, "standard input")?;
        request.stdin = Some(Content(read));
    }
    Ok(request)
}

fn environment(options: &PayloadOptions) -> Result<UniqueMap, Failure> {
    let mut variables = BTreeMap::new();
    for path in &options.env_files {
        let text = local::text(path, ENV_FILE_MAX)?;
        let shown = path.display();
        for (line, number) in text.lines().zip(1..) {
            if let Some((name, value)) = variable(line).map_err(|()| {
                Failure::Usage(format!("{shown}, line {number}: not of the form NAME=VALUE"))
            })? {
                variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    variables.extend(options.env.iter().cloned());
    Ok(UniqueMap(variables))
}

/// One line of a file with variables; `None` for a comment and an empty one.
fn variable(line: &str) -> Result<Option<(&str, &str)>, ()> {
    if line.trim().is_empty() || line.trim_start().starts_with('#') {
        return Ok(None);
    }
    match line.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Some((name, value))),
        _ => Err(()),
    }
}

fn files(files: &[FileToSend]) -> Result<Vec<InputFile>, Failure> {
    let mut by_path = BTreeMap::new();
    for FileToSend { local: from, path } in files {
        let (file, executable) = local::open(from)?;
        let content = Content(local::read(file, FILE_MAX, &from.display().to_string())?);
        let input = InputFile { path: path.clone(), content, executable };
        if by_path.insert(path, input).is_some() {
            let words = format!("two files would become {path} in the workspace; write LOCAL:PATH");
            return Err(Failure::Usage(words));
        }
    }
    Ok(by_path.into_values().collect())
}

pub fn source(file: &str) -> Result<String, Failure> {
    if file != "-" {
        return local::text(Path::new(file), FILE_MAX);
    }
    String::from_utf8(local::read(io::stdin().lock(), FILE_MAX, "standard input")?)
        .map_err(|_| Failure::Usage("the source on standard input is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_variable_means_what_stands_there() {
        assert_eq!(variable("A=b=c \"d\""), Ok(Some(("A", "b=c \"d\""))));
        assert_eq!(variable("A="), Ok(Some(("A", ""))));
        assert_eq!(variable("  # A=b"), Ok(None));
        assert_eq!(variable(" "), Ok(None));
        assert_eq!(variable("A"), Err(()));
        assert_eq!(variable("=b"), Err(()));
    }
}
