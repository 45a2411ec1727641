//! Names of policies and images.

/// Characters a name may have: it becomes a file's stem, a column of a table and a part of messages.
const MAX_NAME: usize = 64;

/// How to write a name, for hints.
pub(crate) const NAME_RULE: &str = "a name is 1 to 64 characters of a-z, 0-9 and -";

/// Bytes of a module's name.
const MAX_MODULE: usize = 128;

/// How to write a module's name, for hints.
pub(crate) const MODULE_RULE: &str =
    "a module is named as in an import: letters, digits and _, with dots between its parts";

/// Whether a text can name a Python module.
pub(crate) fn is_module(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        part.bytes().all(allowed)
            && part.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    text.len() <= MAX_MODULE && text.split('.').all(part)
}

/// Whether a text can name a policy or an image.
pub fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

/// How to name an image, for hints.
pub(crate) const IMAGE_RULE: &str = "`default`, NAME, NAME:TAG, or sha256: and 64 digits; a name is 1 to 64 \
    characters of a-z, 0-9 and -, a tag may have . and _ as well";

/// The image that the host itself makes.
pub const DEFAULT_IMAGE: &str = "default";

/// What a text names as an image, in its one spelling: `default`, a name with its tag, or a digest.
pub fn image_name(text: &str) -> Option<String> {
    if text == DEFAULT_IMAGE {
        return Some(text.to_owned());
    }
    if let Some(digits) = text.strip_prefix("sha256:") {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        return (digits.len() == 64 && digits.bytes().all(digit)).then(|| text.to_owned());
    }
    let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
    let in_tag =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let tagged = (1..=MAX_NAME).contains(&tag.len()) && tag.bytes().all(in_tag);
    (is_name(name) && name != DEFAULT_IMAGE && tagged).then(|| format!("{name}:{tag}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_one_spelling() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for (text, name) in [
            ("default", "default"),
            ("node", "node:latest"),
            ("node:22.1_slim", "node:22.1_slim"),
            (&digest, &digest),
        ] {
            assert_eq!(image_name(text).as_deref(), Some(name));
        }
        let upper = digest.to_uppercase();
        for wrong in ["", ":", "a:", "a/b", "a:b:c", "../a", "default:1", "sha256:0a", &upper] {
            assert_eq!(image_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_module_cannot_end_a_string_or_a_line() {
        for good in ["numpy", "collections.abc", "_x9"] {
            assert!(is_module(good), "{good}");
        }
        for bad in ["", ".", "a.", "9a", "a b", "a\"", "a\n", "a-b", &"x".repeat(129)] {
            assert!(!is_module(bad), "{bad}");
        }
    }

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
