//! What one look at a watched workspace tells, in bounds.

use supervisor_api::FileChangeKind;

/// Bytes that what one look tells may take, twice what is kept of it for followers. Beyond them it is lost,
/// which is told instead.
pub const MAX_TOLD: usize = 2 << 20;

/// Bytes of it after which the rest is left to the next look.
pub const ENOUGH: usize = MAX_TOLD / 2;

/// A change. What was lost, or is not watched, is [`FileChangeKind::Lost`] with the directory's path, if there
/// is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What became of it.
    pub kind: FileChangeKind,
    /// Its path.
    pub path: String,
    /// Where it went, of a move.
    pub to: Option<String>,
}

/// What a look has found, as far as there is room for it.
#[derive(Debug, Default)]
pub struct Told {
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// What they weigh.
    pub bytes: usize,
}

impl Told {
    /// Tells a change of one path.
    pub fn tell(&mut self, kind: FileChangeKind, path: String) {
        self.push(Change { kind, path, to: None });
    }

    /// Tells a change, unless it is what was told last.
    pub fn push(&mut self, change: Change) {
        if self.changes.last() == Some(&change) {
            return;
        }
        self.bytes += change.weight();
        self.changes.push(change);
        if self.bytes > MAX_TOLD {
            self.lose();
        }
    }

    /// Forgets all of it and says so.
    pub fn lose(&mut self) {
        let lost = Change { kind: FileChangeKind::Lost, path: String::new(), to: None };
        self.bytes = lost.weight();
        self.changes = vec![lost];
    }
}

impl Change {
    /// About how much memory it takes.
    pub fn weight(&self) -> usize {
        self.path.len() + self.to.as_ref().map_or(0, String::len) + size_of::<Self>()
    }
}
