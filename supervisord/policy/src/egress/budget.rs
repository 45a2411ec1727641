//! Budgets: how much may be used, counted over a session, or over one credential and a day.

/// How much may be used; what is `None` isn't counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budgets {
    /// Requests; a connection that is passed or plain TCP counts as one.
    pub requests: Option<u64>,
    /// Requests whose method isn't safe (RFC 9110 §9.2.1), such as POST.
    pub unsafe_requests: Option<u64>,
    /// Bytes sent, of heads and bodies.
    pub bytes_out: Option<u64>,
    /// Bytes received, of heads and bodies.
    pub bytes_in: Option<u64>,
    /// Distinct hosts.
    pub distinct_hosts: Option<u64>,
}

impl Budgets {
    /// Each budget that there is, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let each = [
            ("requests", self.requests),
            ("unsafe_requests", self.unsafe_requests),
            ("bytes_out", self.bytes_out),
            ("bytes_in", self.bytes_in),
            ("distinct_hosts", self.distinct_hosts),
        ];
        each.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Whether nothing is counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it can't be kept without seeing each request.
    pub(crate) fn counts_requests(&self) -> bool {
        self.requests.is_some() || self.unsafe_requests.is_some()
    }
}
