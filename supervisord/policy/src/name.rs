//! Names of policies and images.

/// Characters a name may have: it becomes a file's stem, a column of a table and a part of messages.
const MAX_NAME: usize = 64;

/// How to write a name, for hints.
pub(crate) const NAME_RULE: &str = "a name is 1 to 64 characters of a-z, 0-9 and -";

/// Whether a text can name a policy or an image.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_directory_or_break_a_line() {
        for good in ["default", "a", "offline-analysis-2", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "A", "a b", "../a", "a/b", "a.b", "a\n", "é", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
