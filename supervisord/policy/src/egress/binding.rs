//! Bindings: which credential goes into which requests, and where in them. The credential itself is
//! nobody's here; policies know names only.

use std::sync::Arc;

use crate::egress::ask::Ask;
use crate::egress::budget::Budgets;
use crate::egress::host::Destination;
use crate::egress::path::PathPattern;
use crate::egress::pattern::HostPattern;
use crate::egress::rule::{Protocol, RuleSource};

/// One `[[credential]]`. It is for HTTP within verified TLS only.
#[derive(Debug, Clone)]
pub struct Binding {
    pub(crate) source: Arc<RuleSource>,
    pub(crate) credential: String,
    pub(crate) hosts: Vec<HostPattern>,
    pub(crate) ports: Vec<u16>,
    pub(crate) methods: Option<Vec<String>>,
    pub(crate) paths: Option<Vec<PathPattern>>,
    pub(crate) location: Location,
    pub(crate) placeholder: Option<String>,
    pub(crate) budgets: Budgets,
}

/// Where in a request a credential goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A header field; whatever the payload put there is replaced.
    Header {
        /// The field's name, in lower case.
        name: String,
        /// What stands before the secret in the value, such as `Bearer `.
        before: String,
        /// What stands after it.
        after: String,
    },
    /// A parameter of the query; whatever the payload gave under this name is replaced.
    Query {
        /// The parameter's name, of unreserved characters.
        name: String,
    },
    /// HTTP's basic authentication (RFC 7617) with this user; the secret is the password.
    Basic {
        /// The user, without a colon.
        user: String,
    },
    /// A signature of the request, AWS Signature Version 4, with a key that is the credential.
    SigV4 {
        /// The service as the signature names it, such as `s3`.
        service: String,
        /// The region.
        region: String,
    },
}

impl Binding {
    /// The credential's name in the daemon's configuration.
    pub fn credential(&self) -> &str {
        &self.credential
    }

    /// Where in the request it goes.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// The payload's variable that holds a placeholder. Where there is one, the placeholder is what
    /// the payload is expected to send, and a request without it gets no credential.
    pub fn placeholder(&self) -> Option<&str> {
        self.placeholder.as_deref()
    }

    /// What may be used of this credential in a day, by all sessions together.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// The hosts it may go to.
    pub fn hosts(&self) -> &[HostPattern] {
        &self.hosts
    }

    /// The ports it may go to.
    pub fn ports(&self) -> &[u16] {
        &self.ports
    }

    /// Its name and place in the policy.
    pub fn source(&self) -> &Arc<RuleSource> {
        &self.source
    }

    /// Whether it is for some request to a destination.
    pub fn reaches(&self, destination: &Destination, protocol: Protocol) -> bool {
        protocol == Protocol::Https
            && self.ports.contains(&destination.port)
            && self.hosts.iter().any(|pattern| pattern.matches(&destination.host))
    }

    /// Whether it is for this request, whose canonical path is given.
    pub(crate) fn matches(&self, ask: &Ask<'_>, canonical: &str) -> bool {
        let method = |known: &[String]| known.iter().any(|method| method == ask.method);
        let path = |known: &[PathPattern]| known.iter().any(|pattern| pattern.matches(canonical));
        self.reaches(ask.destination, ask.protocol)
            && self.methods.as_deref().is_none_or(method)
            && self.paths.as_deref().is_none_or(path)
    }
}
