//! Layers that a test takes away, to see that an attack comes through then, or what catches it.
//!
//! Where the compiler keeps debug assertions, `SUPERVISORD_WITHOUT=NAME,NAME` in the environment that launcher
//! or daemon is started with names layers to be left out; `seccomp:CALL` is one rule of the payloads' filter.
//! A release build has neither the variable nor the names: [`without`] is a constant there. No payload and no
//! caller can say it: a service's environment is its unit's, which is root's word, and init gets what its
//! launcher was told.

#[cfg(debug_assertions)]
mod named {
    use std::ffi::CString;
    use std::sync::OnceLock;

    const VARIABLE: &str = "SUPERVISORD_WITHOUT=";

    /// All that was named, looked at once.
    pub fn all() -> &'static str {
        static NAMES: OnceLock<String> = OnceLock::new();
        NAMES.get_or_init(|| {
            let handed_on = std::env::args_os().find_map(|word| told(word.to_str()?));
            let set = || std::env::var(VARIABLE.trim_end_matches('=')).ok();
            handed_on.or_else(set).unwrap_or_default()
        })
    }

    fn told(word: &str) -> Option<String> {
        word.strip_prefix(VARIABLE).map(str::to_owned)
    }

    pub fn handed_on() -> Option<CString> {
        CString::new(format!("{VARIABLE}{}", all())).ok().filter(|_| !all().is_empty())
    }
}

/// Whether this layer is left out.
#[cfg(debug_assertions)]
pub fn without(layer: &str) -> bool {
    named::all().split(',').any(|name| name == layer)
}

/// Whether this layer is left out.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn without(_layer: &str) -> bool {
    false
}

/// The calls that a payload's filter lets pass although its tables do not.
pub fn calls_without_rule() -> impl Iterator<Item = &'static str> {
    #[cfg(debug_assertions)]
    let names = named::all();
    #[cfg(not(debug_assertions))]
    let names = "";
    names.split(',').filter_map(|name| name.strip_prefix("seccomp:"))
}

/// The word by which a program that is executed with no environment is told the same.
#[cfg(debug_assertions)]
pub fn handed_on() -> Option<std::ffi::CString> {
    named::handed_on()
}

/// The word by which a program that is executed with no environment is told the same.
#[cfg(not(debug_assertions))]
#[inline]
pub const fn handed_on() -> Option<std::ffi::CString> {
    None
}
