//! Which variables may stand in a payload's environment.
//!
//! No name is refused for what it does to the payload: `LD_PRELOAD`, `GCONV_PATH` and the like act
//! on programs inside the sandbox, and what runs there is hostile already. Nothing outside of it is
//! ever started with this environment. Refused is what can't be told apart from something else
//! once it stands in an environment or in a log.

use std::fmt;

/// Bytes of a name: names longer than this are mistakes, and messages repeat them.
const MAX_NAME: usize = 255;

/// Bytes of a value. The kernel takes `NAME=value` up to 128 KiB (MAX_ARG_STRLEN); half of that
/// leaves room for any name.
const MAX_VALUE: usize = 64 << 10;

/// Why a variable can't be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidVariable {
    /// The name is empty.
    EmptyName,
    /// The name holds `=`, which ends it.
    EqualsInName,
    /// The name holds a control character.
    ControlInName,
    /// The name is over 255 bytes.
    NameTooLong,
    /// The value holds a NUL character, which would end it.
    NulInValue,
    /// The value is over 64 KiB.
    ValueTooLong,
}

impl fmt::Display for InvalidVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            InvalidVariable::EmptyName => "the name of an environment variable can't be empty",
            InvalidVariable::EqualsInName => "the name of an environment variable can't hold `=`",
            InvalidVariable::ControlInName => {
                "the name of an environment variable can't hold control characters"
            }
            InvalidVariable::NameTooLong => {
                "the name of an environment variable can't be over 255 bytes"
            }
            InvalidVariable::NulInValue => "the value of an environment variable can't hold NUL",
            InvalidVariable::ValueTooLong => {
                "the value of an environment variable can't be over 64 KiB"
            }
        })
    }
}

impl std::error::Error for InvalidVariable {}

/// Whether a variable of this name may be set, by a policy or by a submission.
///
/// # Errors
/// When the name is empty or over 255 bytes, or holds `=` or a control character.
pub fn check_environment_name(name: &str) -> Result<(), InvalidVariable> {
    if name.is_empty() {
        return Err(InvalidVariable::EmptyName);
    }
    if name.len() > MAX_NAME {
        return Err(InvalidVariable::NameTooLong);
    }
    if name.contains('=') {
        return Err(InvalidVariable::EqualsInName);
    }
    if name.contains(char::is_control) {
        return Err(InvalidVariable::ControlInName);
    }
    Ok(())
}

/// Whether a variable may have this value. Newlines and other control characters are allowed.
///
/// # Errors
/// When the value is over 64 KiB or holds NUL.
pub fn check_environment_value(value: &str) -> Result<(), InvalidVariable> {
    if value.len() > MAX_VALUE {
        return Err(InvalidVariable::ValueTooLong);
    }
    if value.contains('\0') {
        return Err(InvalidVariable::NulInValue);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_cannot_smuggle_another_one() {
        for good in ["PATH", "LD_PRELOAD", "é", "npm_config_x", "BASH_FUNC_f%%"] {
            assert_eq!(check_environment_name(good), Ok(()), "{good}");
        }
        for bad in ["", "A=B", "A\0", "A\n", "\u{1b}[31m", "A\u{85}", &"x".repeat(256)] {
            assert!(check_environment_name(bad).is_err(), "{bad:?}");
        }
        assert_eq!(check_environment_value("a\nb\t=c"), Ok(()));
        assert!(check_environment_value("a\0B=c").is_err());
        assert!(check_environment_value(&"x".repeat(MAX_VALUE + 1)).is_err());
    }
}
