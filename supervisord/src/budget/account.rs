//! Who is charged for what.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use supervisor_api::SessionId;

/// Whose budget.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Account {
    /// One session's.
    Session(SessionId),
    /// One credential's, whoever uses it.
    Credential(Arc<str>),
    /// One user's.
    Uid(u32),
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Meter {
    /// Requests, connections where requests are not seen.
    Requests,
    /// Requests with a method that changes something (RFC 9110 §9.2.1: not GET, HEAD, OPTIONS, TRACE).
    UnsafeRequests,
    /// Bytes of bodies that go out.
    BytesOut,
    /// Bytes of bodies that come in.
    BytesIn,
    /// Different hosts.
    Hosts,
}

/// How much there is; what is left out is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BudgetLimits {
    /// Requests.
    pub requests: Option<u64>,
    /// Requests with a method that changes something.
    pub unsafe_requests: Option<u64>,
    /// Bytes that go out.
    pub bytes_out: Option<u64>,
    /// Bytes that come in.
    pub bytes_in: Option<u64>,
    /// Different hosts.
    pub hosts: Option<u64>,
    /// Seconds after which all begins anew, counted from 1970 in UTC; `None` if it never does.
    pub window: Option<u64>,
}

/// One budget that requests are charged to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// Whose.
    pub account: Account,
    /// How much there is.
    pub limits: BudgetLimits,
    /// Who may look at it besides administrators.
    pub owner: Option<u32>,
}

/// What a request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spending<'a> {
    /// One, or none for more of the same.
    pub requests: u64,
    /// Whether its method changes something.
    pub unsafe_method: bool,
    /// Bytes that go out, as far as they are announced.
    pub bytes_out: u64,
    /// Bytes that come in, as far as they are known.
    pub bytes_in: u64,
    /// The host.
    pub host: Option<&'a str>,
}

/// Bytes of a message that are moving now and were set aside when it began: budgets that counted then
/// have had them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// The era of the book in which they were set aside.
    pub era: u64,
    /// Bytes that go out.
    pub bytes_out: u64,
}

impl Meter {
    /// All of them but hosts, which are a set and not a sum.
    pub const SUMS: [Meter; 4] =
        [Meter::Requests, Meter::UnsafeRequests, Meter::BytesOut, Meter::BytesIn];

    /// What is granted at once of this much: a sixteenth, and no more than a killed daemon may cost.
    pub fn block(self, limit: u64) -> u64 {
        let most = match self {
            Meter::Requests | Meter::UnsafeRequests | Meter::Hosts => 64,
            Meter::BytesOut | Meter::BytesIn => 4 << 20,
        };
        (limit / 16).clamp(1, most)
    }

    /// The name, as policies and the interface have it.
    pub const fn name(self) -> &'static str {
        match self {
            Meter::Requests => "requests",
            Meter::UnsafeRequests => "unsafe_requests",
            Meter::BytesOut => "bytes_out",
            Meter::BytesIn => "bytes_in",
            Meter::Hosts => "hosts",
        }
    }
}

impl BudgetLimits {
    /// The limit of a meter.
    pub const fn of(&self, meter: Meter) -> Option<u64> {
        match meter {
            Meter::Requests => self.requests,
            Meter::UnsafeRequests => self.unsafe_requests,
            Meter::BytesOut => self.bytes_out,
            Meter::BytesIn => self.bytes_in,
            Meter::Hosts => self.hosts,
        }
    }

    /// Sets the limit of a meter.
    pub const fn set(&mut self, meter: Meter, limit: u64) {
        let limit = Some(limit);
        match meter {
            Meter::Requests => self.requests = limit,
            Meter::UnsafeRequests => self.unsafe_requests = limit,
            Meter::BytesOut => self.bytes_out = limit,
            Meter::BytesIn => self.bytes_in = limit,
            Meter::Hosts => self.hosts = limit,
        }
    }

    /// The beginning of the window that this second is in.
    pub fn since(&self, now: u64) -> u64 {
        self.window.filter(|window| *window > 0).map_or(0, |window| now - now % window)
    }
}

impl Spending<'_> {
    /// What it asks of a meter.
    pub const fn of(&self, meter: Meter) -> u64 {
        match meter {
            Meter::Requests => self.requests,
            Meter::UnsafeRequests if self.unsafe_method => self.requests,
            Meter::UnsafeRequests | Meter::Hosts => 0,
            Meter::BytesOut => self.bytes_out,
            Meter::BytesIn => self.bytes_in,
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Meter {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = Meter::SUMS.into_iter().chain([Meter::Hosts]);
        all.into_iter().find(|meter| meter.name() == text).ok_or(())
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Account::Session(id) => write!(f, "session:{id}"),
            Account::Credential(name) => write!(f, "credential:{name}"),
            Account::Uid(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl FromStr for Account {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once(':').ok_or(())? {
            ("session", id) => id.parse().map(Account::Session).map_err(drop),
            ("credential", name) => Ok(Account::Credential(name.into())),
            ("uid", uid) => uid.parse().map(Account::Uid).map_err(drop),
            _ => Err(()),
        }
    }
}
