//! What an attack came to: a line for each attempt, as the Python preamble prints it.

use std::process::Command;

use crate::payload::PREAMBLE;

/// The attempts that an attack made, in order.
#[derive(Debug, Clone)]
pub struct Attempts(Vec<Attempt>);

#[derive(Debug, Clone)]
struct Attempt {
    name: String,
    /// What it gave, or the name of the error.
    result: Result<String, String>,
}

impl Attempts {
    /// Reads them from an output, passing over other lines.
    pub fn of(text: &str) -> Self {
        Self(text.lines().filter_map(Attempt::read).collect())
    }

    /// Fails unless there are attempts and every one was denied with one of these errors.
    #[track_caller]
    pub fn expect_all_denied(&self, errors: &[&str]) {
        assert!(!self.0.is_empty(), "no attempt was made");
        for attempt in &self.0 {
            attempt.expect_denied(errors);
        }
    }

    /// Fails unless attempts whose names begin so were made and denied with one of these errors.
    #[track_caller]
    pub fn expect_denied(&self, name: &str, errors: &[&str]) {
        let found: Vec<_> = self.0.iter().filter(|each| each.name.starts_with(name)).collect();
        assert!(!found.is_empty(), "no attempt at {name}: {self:?}");
        for attempt in found {
            attempt.expect_denied(errors);
        }
    }

    /// Fails unless this attempt was allowed, and gives what it gave.
    #[track_caller]
    pub fn expect_allowed(&self, name: &str) -> &str {
        let found = self.0.iter().find(|each| each.name == name);
        match found.map(|each| &each.result) {
            Some(Ok(value)) => value,
            other => panic!("{name} was not allowed: {other:?}"),
        }
    }

    /// The names of what was allowed and what it gave.
    pub fn allowed(&self) -> Vec<(&str, &str)> {
        let allowed = |each| match each {
            &Attempt { ref name, result: Ok(ref value) } => Some((name.as_str(), value.as_str())),
            _ => None,
        };
        self.0.iter().filter_map(allowed).collect()
    }

    /// The names of what was denied and the error.
    pub fn denied(&self) -> Vec<(&str, &str)> {
        let denied = |each| match each {
            &Attempt { ref name, result: Err(ref error) } => Some((name.as_str(), error.as_str())),
            _ => None,
        };
        self.0.iter().filter_map(denied).collect()
    }
}

impl Attempt {
    fn read(line: &str) -> Option<Self> {
        let (verdict, rest) = line.split_once('\t')?;
        let (name, value) = rest.split_once('\t')?;
        let result = match verdict {
            "ALLOWED" => Ok(value.to_owned()),
            "DENIED" => Err(value.to_owned()),
            _ => return None,
        };
        Some(Self { name: name.to_owned(), result })
    }

    #[track_caller]
    fn expect_denied(&self, errors: &[&str]) {
        match &self.result {
            Err(error) => assert!(errors.contains(&error.as_str()), "{self:?} not in {errors:?}"),
            Ok(_) => panic!("{self:?}"),
        }
    }
}

/// Makes the same attempts as root without any confinement, in an empty directory. A test that shows
/// them allowed here can fail there.
#[track_caller]
pub fn unconfined(source: &str) -> Attempts {
    let directory = tempfile::Builder::new().prefix("supervisor-test-").tempdir().unwrap();
    let output = Command::new("/usr/bin/python3")
        .args(["-c", &format!("{PREAMBLE}\n{source}")])
        .current_dir(directory.path())
        .output()
        .expect("python3 runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {words}", output.status);
    Attempts::of(&String::from_utf8_lossy(&output.stdout))
}
