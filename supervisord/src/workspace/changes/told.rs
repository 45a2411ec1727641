//! What one look at a watched workspace tells, in bounds.

use supervisor_api::FileChangeKind;

/// Bytes that what one look tells may take, twice what is kept of it for followers. Beyond them it is lost,
/// which is told instead.
pub const MAX_TOLD: usize = 2 << 20;

/// Bytes of it after which the rest is left to the next look.
const ENOUGH: usize = MAX_TOLD / 2;

/// Entries that one look looks at to find the directories of trees that came, of all of them together: a fraction of a
/// second. A payload can have one tree of a million be told of as new as often as it likes.
const MAX_ENTRIES: usize = 200_000;

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
#[derive(Debug)]
pub struct Told {
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// What they weigh.
    pub bytes: usize,
    /// Entries of trees that may still be looked at.
    entries: usize,
}

impl Default for Told {
    fn default() -> Self {
        Self { changes: Vec::new(), bytes: 0, entries: MAX_ENTRIES }
    }
}

impl Told {
    /// Whether the rest is left to the next look.
    pub fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH || self.entries == 0
    }

    /// Looks at one more entry of a tree, if it may.
    pub fn looks_at_one(&mut self) -> bool {
        let left = self.entries.checked_sub(1);
        self.entries = left.unwrap_or(0);
        left.is_some()
    }

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
