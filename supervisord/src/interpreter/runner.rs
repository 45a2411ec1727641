//! The programs that take work inside a sandbox. They are handed over on the channel
//! ([`supervisor_launch::CHANNEL`]) by a program of a few lines that is the payload's argument, so that nothing of
//! ours lies in the workspace. The words are told at the top of `python.py`; besides cells, Python's runner takes
//! `prepare` and `main`, by which a process that was started ahead becomes a program.

/// A language's program.
#[derive(Debug, Clone, Copy)]
pub struct Runner {
    /// What reads it from the channel, with its arguments.
    words: &'static [&'static str],
    /// Its text.
    text: &'static str,
}

/// Python's.
pub const PYTHON: Runner = Runner {
    words: &["python3", "-u", "-c", include_str!("python.boot.py")],
    text: include_str!("python.py"),
};

impl Runner {
    /// The payload's program and its arguments.
    pub fn argv(&self) -> Vec<String> {
        self.words.iter().map(|&word| word.to_owned()).collect()
    }

    /// What is to be written to the channel before anything else: the text's length in a line, and the text.
    /// It fits into an empty socket, so it can be written before the payload has started.
    pub fn opening(&self) -> Vec<u8> {
        [format!("{}\n", self.text.len()).as_bytes(), self.text.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_fits_into_an_empty_socket_and_its_beginning_into_an_argument() {
        assert!(PYTHON.opening().len() < 64 << 10, "half of what a socket holds as it is made");
        assert!(PYTHON.argv().iter().all(|word| word.len() < 4096));
    }
}
