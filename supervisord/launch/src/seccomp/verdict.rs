//! What the tables are written in: calls, tests of their arguments, and verdicts.

use std::fmt;

/// An error number that a filter answers with. The numbers are those of every architecture here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Errno {
    /// Operation not permitted: what the sandbox forbids.
    EPERM = 1,
    /// Permission denied: what a kernel says that lets nobody execute files in memory.
    EACCES = 13,
    /// Invalid argument: what a call says that can't do this kind of work.
    EINVAL = 22,
    /// Function not implemented: what a kernel without the call says.
    ENOSYS = 38,
    /// Operation not supported: what a file system says that has no such way to read.
    EOPNOTSUPP = 95,
}

/// How a call ends as far as the filter is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The kernel carries it out.
    Allow,
    /// It fails with this error number and nothing else happens.
    Fail(Errno),
    /// It waits until the sandbox's PID 1 has said whether the kernel carries it out.
    Ask,
    /// The process is killed by SIGSYS.
    Kill,
}

/// A system call and its numbers; `None` where an architecture doesn't have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The kernel's name for it.
    pub name: &'static str,
    /// Its number on x86_64.
    pub x86_64: Option<u16>,
    /// Its number on aarch64.
    pub aarch64: Option<u16>,
}

/// A place in a call's argument list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argument {
    /// From 0 to 5.
    pub index: u8,
    /// What the call's manual page names it.
    pub name: &'static str,
}

/// A number with the name that the kernel's headers give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constant {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: u32,
}

/// A test of one argument, as wide as the kernel reads it: the upper half of a register that the
/// kernel truncates must not decide anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The lower 32 bits are one of these values.
    OneOf(Argument, &'static [Constant]),
    /// The lower 32 bits without those of a mask are one of these values.
    OneOfWithout(Argument, Constant, &'static [Constant]),
    /// None of the mask's bits is set in the lower 32.
    NoneOfBits(Argument, Constant),
    /// No bit but the mask's is set in all 64.
    OnlyBits(Argument, Constant),
    /// Each of the mask's bits is set in the lower 32.
    AllBits(Argument, Constant),
}

/// Tests that must all hold.
pub type Clause = &'static [Test];

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is allowed.
    Allow,
    /// It is allowed if one of the clauses holds, and fails with the error number if none does.
    AllowIf(&'static [Clause], Errno),
    /// The sandbox's PID 1 is asked.
    Ask,
    /// The sandbox's PID 1 is asked if one of the clauses holds; if none does, it is allowed.
    AskIf(&'static [Clause]),
    /// It fails with the error number.
    Deny(Errno),
}

/// Calls that share a verdict and the reason for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub reason: &'static str,
    pub verdict: Verdict,
    pub calls: &'static [Call],
}

/// One line of a profile: a call, what becomes of it, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The call.
    pub call: Call,
    /// What becomes of it. Its `Display` is the published wording.
    pub verdict: Verdict,
    /// Why.
    pub reason: &'static str,
}

/// A call with a number on both architectures.
pub(super) const fn call(name: &'static str, x86_64: u16, aarch64: u16) -> Call {
    Call { name, x86_64: Some(x86_64), aarch64: Some(aarch64) }
}

/// A call of the time since every architecture gives a new call the same number.
pub(super) const fn recent(name: &'static str, number: u16) -> Call {
    call(name, number, number)
}

/// A call that only x86_64 has.
pub(super) const fn x86_64(name: &'static str, number: u16) -> Call {
    Call { name, x86_64: Some(number), aarch64: None }
}

/// An argument.
pub(super) const fn argument(index: u8, name: &'static str) -> Argument {
    Argument { index, name }
}

/// A named number.
pub(super) const fn constant(name: &'static str, value: u32) -> Constant {
    Constant { name, value }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Allow => f.write_str("allow"),
            Verdict::Deny(errno) => write!(f, "{errno:?}"),
            Verdict::Ask => f.write_str("ask init"),
            Verdict::AllowIf(clauses, errno) => {
                f.write_str("allow if ")?;
                separated(f, " or ", clauses.iter().map(|clause| Conjunction(clause)))?;
                write!(f, "; else {errno:?}")
            }
            Verdict::AskIf(clauses) => {
                f.write_str("ask init if ")?;
                separated(f, " or ", clauses.iter().map(|clause| Conjunction(clause)))?;
                f.write_str("; else allow")
            }
        }
    }
}

/// A clause as text.
struct Conjunction(Clause);

impl fmt::Display for Conjunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        separated(f, " and ", self.0.iter())?;
        f.write_str(")")
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::OneOf(argument, values) => {
                write!(f, "{} = ", argument.name)?;
                separated(f, "|", values.iter().map(|value| value.name))
            }
            Test::OneOfWithout(argument, mask, values) => {
                write!(f, "{} without {} = ", argument.name, mask.name)?;
                separated(f, "|", values.iter().map(|value| value.name))
            }
            Test::NoneOfBits(argument, mask) => {
                write!(f, "{} has none of {}", argument.name, mask.name)
            }
            Test::OnlyBits(argument, mask) => {
                write!(f, "{} has at most {}", argument.name, mask.name)
            }
            Test::AllBits(argument, mask) => write!(f, "{} has {}", argument.name, mask.name),
        }
    }
}

fn separated(
    f: &mut fmt::Formatter<'_>,
    separator: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    for (place, item) in items.enumerate() {
        if place > 0 {
            f.write_str(separator)?;
        }
        write!(f, "{item}")?;
    }
    Ok(())
}
