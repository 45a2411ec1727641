//! Whether an execution's root can be written.

use std::fmt;

/// What a payload may do with the files of its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RootAccess {
    /// Read them.
    #[default]
    ReadOnly,
    /// Change them and make others: in a layer of the session's own, which counts as workspace.
    Writable,
}

impl RootAccess {
    /// Every access.
    pub const ALL: [RootAccess; 2] = [RootAccess::ReadOnly, RootAccess::Writable];

    /// The name as it stands in policy files.
    pub const fn as_str(self) -> &'static str {
        match self {
            RootAccess::ReadOnly => "read-only",
            RootAccess::Writable => "writable",
        }
    }

    /// The access of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.as_str() == name)
    }
}

impl fmt::Display for RootAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::Floor;
    use crate::place::WorkspacePlace;
    use crate::resolved::Resolved;
    use crate::set::PolicySet;

    fn child(text: &str) -> Result<Resolved, String> {
        let base = include_str!("../../../policies/default.toml").to_owned();
        let text = format!("name = \"child\"\nextends = \"default\"\n[filesystem]\n{text}");
        let files = [("default.toml", base), ("child.toml", text)];
        let files = files.map(|(file, text)| (file.to_owned(), text));
        let set = PolicySet::load(files, Floor::builtin().unwrap());
        let set = set.map_err(|wrong| wrong.to_string())?;
        Ok(Resolved::clone(set.resolve("child").unwrap()))
    }

    #[test]
    fn a_writable_root_is_of_an_imported_image_on_disk_where_files_are_executed() {
        let open = child("image = \"x\"\nroot = \"writable\"\n").unwrap();
        assert_eq!((open.root(), open.workspace()), (RootAccess::Writable, WorkspacePlace::Disk));
        assert!(child("images = [\"x\"]\nroot = \"writable\"\n").is_ok());
        let closed = child("root = \"read-only\"\n").unwrap();
        assert_eq!(
            (closed.root(), closed.workspace()),
            (RootAccess::ReadOnly, WorkspacePlace::Memory)
        );
        for (text, why) in [
            ("root = \"writable\"\n", "only of an imported image"),
            ("image = \"x\"\nexec = false\nroot = \"writable\"\n", "`exec` is false"),
            ("image = \"x\"\nroot = \"writeable\"\n", "unknown access to the root `writeable`"),
        ] {
            let refusal = child(text).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
    }
}
