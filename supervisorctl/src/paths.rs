//! Paths that come from the other side of the socket or go there.

pub use supervisor_api::percent_encoded;

/// Whether a path stays beneath the directory it is taken from, whatever is there.
pub fn is_beneath(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_its_directory_is_told() {
        for path in ["a", "a/b.txt", "..a/b..", " "] {
            assert!(is_beneath(path), "{path}");
        }
        for path in ["", "/", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b"] {
            assert!(!is_beneath(path), "{path}");
        }
    }
}
