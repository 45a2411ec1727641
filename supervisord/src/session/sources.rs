//! Names of the files that source becomes in a session's workspace: of several executions with source that are under
//! way at a time, each has a name of its own, so that each runs its own source and reads it in its tracebacks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::set::Kept;

/// The names that are taken.
#[derive(Debug, Default)]
pub struct Sources(Mutex<BTreeSet<String>>);

/// A name that nobody else in the session has meanwhile; dropping it gives it back.
#[derive(Debug)]
pub struct SourceName {
    session: Arc<Kept>,
    name: String,
}

impl Sources {
    /// This name, or that with the lowest number that is free.
    fn take(&self, usual: &str) -> String {
        let mut taken = self.names();
        let mut names = (2..).map(|number| numbered(usual, number));
        let mut name = usual.to_owned();
        while !taken.insert(name.clone()) {
            name = names.next().unwrap_or_default(); // there are more numbers than executions
        }
        name
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Nothing between two changes of it panics, so a poisoned one is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// This name, or that with the lowest number that is free.
    pub fn take_source_name(self: &Arc<Self>, usual: &str) -> SourceName {
        SourceName { session: self.clone(), name: self.sources.take(usual) }
    }

    /// The very name that an execution had under an earlier daemon.
    pub fn keep_source_name(self: &Arc<Self>, name: &str) -> SourceName {
        self.sources.names().insert(name.to_owned());
        SourceName { session: self.clone(), name: name.to_owned() }
    }
}

/// Nobody gives a file of their own such a name.
fn numbered(usual: &str, number: u64) -> String {
    match usual.rsplit_once('.') {
        Some((stem, extension)) => format!("{stem}~{number}.{extension}"),
        None => format!("{usual}~{number}"),
    }
}

impl SourceName {
    /// It.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for SourceName {
    fn drop(&mut self) {
        self.session.sources.names().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_has_the_usual_name_and_others_the_lowest_number_that_is_free() {
        let sources = Sources::default();
        let taken: Vec<String> = (0..3).map(|_| sources.take("main.py")).collect();
        assert_eq!(taken, ["main.py", "main~2.py", "main~3.py"]);
        assert_eq!(sources.take("main.sh"), "main.sh");
        sources.names().remove("main~2.py");
        assert_eq!(sources.take("main.py"), "main~2.py");
        assert_eq!(sources.take("main.py"), "main~4.py");
    }
}
