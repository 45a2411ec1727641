//! The policies as they are shipped: what a supervisor under test has that asks for no others.

/// Each file's name and its text.
pub const POLICIES: [(&str, &str); 10] = [
    ("default.toml", include_str!("../../policies/default.toml")),
    ("floor.toml", include_str!("../../policies/floor.toml")),
    ("forge-read.toml", include_str!("../../policies/forge-read.toml")),
    ("git-fetch.toml", include_str!("../../policies/git-fetch.toml")),
    ("llm-api.toml", include_str!("../../policies/llm-api.toml")),
    ("offline-analysis.toml", include_str!("../../policies/offline-analysis.toml")),
    ("package-install.toml", include_str!("../../policies/package-install.toml")),
    ("quarantine.toml", include_str!("../../policies/quarantine.toml")),
    ("rest-oauth.toml", include_str!("../../policies/rest-oauth.toml")),
    ("untrusted-strict.toml", include_str!("../../policies/untrusted-strict.toml")),
];
