//! Paths in a workspace: what callers write, checked once and kept exactly as spelt.

use std::fmt;

use supervisor_sys::without;

/// Where the payload sees its workspace.
pub const MOUNT_POINT: &str = "/workspace";

/// Bytes of a path: Linux takes none that is longer (PATH_MAX).
pub const MAX_PATH_BYTES: usize = 4096;

/// Bytes of one component: Linux stores none that is longer (NAME_MAX).
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Components of a path. Walking holds one descriptor per level, so this bounds those as well.
pub const MAX_DEPTH: usize = 64;

/// A path relative to the workspace: names joined by single slashes, none of them `.` or `..`.
///
/// It says nothing about what stands there. A component may turn out to be a link, which is why
/// paths are only ever opened name by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkspacePath(String);

/// A working directory: the workspace itself or a directory beneath it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkingDirectory(Option<WorkspacePath>);

/// The rule that a path breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPath {
    /// It has no byte.
    Empty,
    /// It is longer than [`MAX_PATH_BYTES`].
    TooLong,
    /// It has more components than [`MAX_DEPTH`].
    TooDeep,
    /// It starts with a slash.
    Absolute,
    /// It is absolute and not beneath [`MOUNT_POINT`].
    Outside,
    /// It has two slashes in a row, or one at its end.
    EmptyComponent,
    /// A component is `.` or `..`.
    DotComponent,
    /// A component is longer than [`MAX_COMPONENT_BYTES`].
    LongComponent,
    /// It holds a control character (Unicode category Cc, NUL and newline among them).
    ControlCharacter,
    /// It is not UTF-8.
    NotUtf8,
}

impl WorkspacePath {
    /// The path as it was spelt.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directories that lead to it, outermost first, and its own name.
    pub fn split(&self) -> (impl Iterator<Item = &str>, &str) {
        let (parents, name) = self.0.rsplit_once('/').unwrap_or(("", &self.0));
        (parents.split('/').filter(|component| !component.is_empty()), name)
    }

    /// The paths of the directories that lead to it, innermost first.
    pub fn ancestors(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.0.rsplit_once('/'), |(parent, _)| parent.rsplit_once('/'))
            .map(|(parent, _)| parent)
    }
}

impl TryFrom<&str> for WorkspacePath {
    type Error = InvalidPath;

    fn try_from(path: &str) -> Result<Self, InvalidPath> {
        if path.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if without("path-check") {
            return Ok(Self(path.to_owned()));
        }
        if path.len() > MAX_PATH_BYTES {
            return Err(InvalidPath::TooLong);
        }
        if path.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        if path.chars().any(char::is_control) {
            return Err(InvalidPath::ControlCharacter);
        }
        path.split('/').try_for_each(check_component)?;
        if path.split('/').count() > MAX_DEPTH {
            return Err(InvalidPath::TooDeep);
        }
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<&[u8]> for WorkspacePath {
    type Error = InvalidPath;

    fn try_from(path: &[u8]) -> Result<Self, InvalidPath> {
        std::str::from_utf8(path).map_err(|_| InvalidPath::NotUtf8)?.try_into()
    }
}

impl fmt::Display for WorkspacePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl WorkingDirectory {
    /// The directory relative to the workspace; `None` is the workspace itself.
    pub fn path(&self) -> Option<&WorkspacePath> {
        self.0.as_ref()
    }

    /// The directory as the payload sees it.
    pub fn absolute(&self) -> String {
        match &self.0 {
            None => MOUNT_POINT.to_owned(),
            Some(path) => format!("{MOUNT_POINT}/{path}"),
        }
    }
}

impl TryFrom<&str> for WorkingDirectory {
    type Error = InvalidPath;

    /// Takes a path relative to the workspace, or an absolute one beneath [`MOUNT_POINT`].
    fn try_from(spelt: &str) -> Result<Self, InvalidPath> {
        let relative = match spelt.strip_prefix(MOUNT_POINT) {
            Some("") => "",
            Some(rest) => rest.strip_prefix('/').ok_or(InvalidPath::Outside)?,
            None if spelt.starts_with('/') => return Err(InvalidPath::Outside),
            None => spelt,
        };
        match relative {
            "" | "." => Ok(Self(None)),
            path => WorkspacePath::try_from(path).map(|path| Self(Some(path))),
        }
    }
}

impl fmt::Display for InvalidPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the path is empty"),
            Self::TooLong => write!(f, "the path is longer than {MAX_PATH_BYTES} bytes"),
            Self::TooDeep => write!(f, "the path has more than {MAX_DEPTH} components"),
            Self::Absolute => {
                f.write_str("the path is absolute; write it relative to the workspace")
            }
            Self::Outside => write!(f, "the path is absolute and not beneath {MOUNT_POINT}"),
            Self::EmptyComponent => f.write_str("the path has an empty component"),
            Self::DotComponent => f.write_str("the path has a component `.` or `..`"),
            Self::LongComponent => {
                write!(f, "a component of the path is longer than {MAX_COMPONENT_BYTES} bytes")
            }
            Self::ControlCharacter => f.write_str("the path holds a control character"),
            Self::NotUtf8 => f.write_str("the path is not UTF-8"),
        }
    }
}

impl std::error::Error for InvalidPath {}

fn check_component(component: &str) -> Result<(), InvalidPath> {
    match component {
        "" => Err(InvalidPath::EmptyComponent),
        "." | ".." => Err(InvalidPath::DotComponent),
        name if name.len() > MAX_COMPONENT_BYTES => Err(InvalidPath::LongComponent),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn upload_names_that_leave_the_workspace_or_have_two_spellings_are_refused() {
        let long = "a".repeat(MAX_PATH_BYTES);
        let deep = "a/".repeat(2000) + "b";
        for (name, rule) in [
            ("../x", InvalidPath::DotComponent),
            ("/abs", InvalidPath::Absolute),
            ("a/../../x", InvalidPath::DotComponent),
            ("a/./../b", InvalidPath::DotComponent),
            ("./a", InvalidPath::DotComponent),
            ("a//b", InvalidPath::EmptyComponent),
            ("a/", InvalidPath::EmptyComponent),
            ("", InvalidPath::Empty),
            (".", InvalidPath::DotComponent),
            ("..", InvalidPath::DotComponent),
            ("a\0b", InvalidPath::ControlCharacter),
            ("a\nb", InvalidPath::ControlCharacter),
            ("a\u{1b}[2Jb", InvalidPath::ControlCharacter),
            ("a\u{85}b", InvalidPath::ControlCharacter),
            (&long, InvalidPath::LongComponent),
            (&deep, InvalidPath::TooDeep),
            (&(long.clone() + "a"), InvalidPath::TooLong),
            ("out/../../../../root/x", InvalidPath::DotComponent),
        ] {
            assert_eq!(WorkspacePath::try_from(name), Err(rule), "{name:.40?}");
        }
    }

    #[test]
    fn odd_but_harmless_upload_names_are_kept_as_spelt() {
        for name in [
            "\\..\\x",
            "C:\\x",
            "~/x",
            ".supervisor/x",
            "proc/1/mem",
            "\u{2025}/x",
            "%2e%2e/x",
            "link-to-root/x",
            "...",
            "..x/.y",
            " a b ",
        ] {
            assert_eq!(WorkspacePath::try_from(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        assert_eq!(WorkspacePath::try_from(&b"a\xff"[..]), Err(InvalidPath::NotUtf8));
    }

    #[test]
    fn a_path_is_split_into_the_directories_that_lead_to_it_and_a_name() {
        let path = WorkspacePath::try_from("a/b/c").unwrap();
        let (parents, name) = path.split();
        assert_eq!((parents.collect::<Vec<_>>(), name), (vec!["a", "b"], "c"));
        assert_eq!(path.ancestors().collect::<Vec<_>>(), ["a/b", "a"]);
        let short = WorkspacePath::try_from("c").unwrap();
        assert_eq!((short.split().0.count(), short.split().1), (0, "c"));
        assert_eq!(short.ancestors().count(), 0);
    }

    #[test]
    fn a_working_directory_is_in_the_workspace_however_it_is_spelt() {
        for (spelt, absolute) in [
            ("", "/workspace"),
            (".", "/workspace"),
            ("/workspace", "/workspace"),
            ("/workspace/", "/workspace"),
            ("/workspace/a/b", "/workspace/a/b"),
            ("a/b", "/workspace/a/b"),
            ("workspace", "/workspace/workspace"),
        ] {
            assert_eq!(WorkingDirectory::try_from(spelt).unwrap().absolute(), absolute);
        }
        let long = "a".repeat(5000);
        for spelt in [
            "/proc/self/fd/7",
            "/proc/self/fd/8/../../..",
            "/proc/1/root",
            "/proc/self/cwd",
            "../../..",
            "/",
            "//etc",
            "a/../../etc",
            "/w\nx",
            &long,
            "/workspacex",
            "/workspace/../etc",
            "/workspace//etc",
            "//workspace",
            "./a",
        ] {
            assert!(WorkingDirectory::try_from(spelt).is_err(), "{spelt:.40}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_path_is_made_of_plain_names_only(
            path in "(/|\\.|a|\\\\|\n|é){0,12}|([a-z.]{0,3}/){0,70}[a-z.]{0,3}|\\PC{0,300}"
        ) {
            match WorkspacePath::try_from(path.as_str()) {
                Ok(accepted) => {
                    prop_assert_eq!(accepted.as_str(), &path);
                    let (parents, name) = accepted.split();
                    let names: Vec<_> = parents.chain([name]).collect();
                    prop_assert_eq!(names.join("/"), path);
                    prop_assert!(names.len() <= MAX_DEPTH);
                    for name in names {
                        prop_assert!(!["", ".", ".."].contains(&name));
                        prop_assert!(name.len() <= MAX_COMPONENT_BYTES);
                        prop_assert!(!name.contains(|c: char| c == '/' || c.is_control()));
                    }
                }
                Err(_) => {
                    let plain = |name: &str| {
                        !["", ".", ".."].contains(&name)
                            && name.len() <= MAX_COMPONENT_BYTES
                            && !name.contains(char::is_control)
                    };
                    prop_assert!(
                        path.len() > MAX_PATH_BYTES
                            || path.split('/').count() > MAX_DEPTH
                            || !path.split('/').all(plain)
                    );
                }
            }
        }
    }
}
