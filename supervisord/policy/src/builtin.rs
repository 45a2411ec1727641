//! The floor and the policies that are part of the program, so that a supervisor started for one
//! call needs no files. They are the files of `policies/`, word for word.

/// The floor: file name and text.
pub(crate) const FLOOR: (&str, &str) =
    ("built-in/floor.toml", include_str!("../../../policies/floor.toml"));

/// The policies: file names and texts.
pub(crate) const POLICIES: [(&str, &str); 9] = [
    ("built-in/default.toml", include_str!("../../../policies/default.toml")),
    ("built-in/forge-read.toml", include_str!("../../../policies/forge-read.toml")),
    ("built-in/git-fetch.toml", include_str!("../../../policies/git-fetch.toml")),
    ("built-in/llm-api.toml", include_str!("../../../policies/llm-api.toml")),
    ("built-in/offline-analysis.toml", include_str!("../../../policies/offline-analysis.toml")),
    ("built-in/package-install.toml", include_str!("../../../policies/package-install.toml")),
    ("built-in/quarantine.toml", include_str!("../../../policies/quarantine.toml")),
    ("built-in/rest-oauth.toml", include_str!("../../../policies/rest-oauth.toml")),
    ("built-in/untrusted-strict.toml", include_str!("../../../policies/untrusted-strict.toml")),
];
