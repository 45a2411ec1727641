//! Paths that come from the other side of the socket or go there.

/// Whether a path stays beneath the directory it is taken from, whatever is there.
pub fn is_beneath(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// A path as it stands in a URL: slashes stay, all but the unreserved characters of RFC 3986 §2.3
/// is percent-encoded.
pub fn percent_encoded(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
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

    #[test]
    fn a_path_in_a_url_holds_nothing_that_a_url_gives_a_meaning_to() {
        assert_eq!(percent_encoded("a b/ü?#%.txt"), "a%20b/%C3%BC%3F%23%25.txt");
    }
}
