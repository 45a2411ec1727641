//! Checks that a test takes away, to see that a hand on the log is not found then, or what finds it.
//!
//! Where the compiler keeps debug assertions, `SUPERVISORD_WITHOUT=NAME,NAME` in the environment that a
//! program is started with names checks to be left out. In a release build [`without`] is a constant.

/// Whether this check is left out.
#[cfg(debug_assertions)]
pub fn without(check: &str) -> bool {
    static NAMES: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let names = NAMES.get_or_init(|| std::env::var("SUPERVISORD_WITHOUT").unwrap_or_default());
    names.split(',').any(|name| name == check)
}

/// Whether this check is left out.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn without(_check: &str) -> bool {
    false
}
