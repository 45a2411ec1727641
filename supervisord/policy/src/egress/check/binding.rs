//! Bindings: where a credential goes, and in which place of a request.

use std::sync::Arc;

use toml::Spanned;

use crate::check::Checker;
use crate::egress::binding::{Binding, Location};
use crate::egress::check::budgets;
use crate::egress::pattern::HostPattern;
use crate::egress::raw::RawBinding;
use crate::egress::rule::RuleSource;
use crate::name::{NAME_RULE, is_name};

/// Bindings in a file.
const MAX_BINDINGS: usize = 256;

/// Header fields that belong to the connection or to the proxy, and never hold a credential.
const FRAMING: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

impl Checker {
    /// The credential bindings of a file.
    pub fn bindings(&mut self, raw: &[Spanned<RawBinding>]) -> Vec<Arc<Binding>> {
        if let Some(over) = raw.get(MAX_BINDINGS) {
            let message = format!("a file can't hold over {MAX_BINDINGS} credential bindings");
            self.refuse_plainly(over.span(), message);
        }
        raw.iter().take(MAX_BINDINGS).filter_map(|raw| self.binding(raw.get_ref())).collect()
    }

    fn binding(&mut self, raw: &RawBinding) -> Option<Arc<Binding>> {
        if !is_name(raw.name.get_ref()) {
            self.refuse(raw.name.span(), "this is not a name of a credential", NAME_RULE);
        }
        for entry in raw.hosts.get_ref() {
            let wide = |known| {
                matches!(
                    known,
                    HostPattern::Everything | HostPattern::Below(_) | HostPattern::Network(_)
                )
            };
            if HostPattern::parse(entry.get_ref()).is_ok_and(wide) {
                let message = "a credential goes to named hosts only";
                self.refuse(entry.span(), message, "write a name, or `*.` for one label more");
            }
        }
        if raw.hosts.get_ref().is_empty() {
            self.refuse(raw.hosts.span(), "this is about no host", "name a host");
        }
        let origin = self.document().origin(raw.name.span());
        let source = RuleSource::new(Some(raw.name.get_ref().clone()), origin);
        let ports = self.ports(&raw.ports);
        let placeholder = raw.placeholder.as_ref().and_then(|name| self.variable(name));
        let binding = Binding {
            source: Arc::new(source),
            credential: raw.name.get_ref().clone(),
            hosts: self.hosts(raw.hosts.get_ref()),
            ports: if raw.ports.is_none() { vec![443] } else { ports },
            methods: self.methods(&raw.methods),
            paths: self.paths(&raw.paths),
            location: self.location(raw)?,
            placeholder,
            budgets: budgets(&self.budgets(raw.budgets.as_ref())),
        };
        Some(Arc::new(binding))
    }

    fn location(&mut self, raw: &RawBinding) -> Option<Location> {
        if let (Some(template), None) = (&raw.template, &raw.header) {
            self.refuse(template.span(), "`template` belongs to `header`", "add `header = \"…\"`");
        }
        if let (Some(placeholder), Some(_)) = (&raw.placeholder, &raw.sigv4) {
            self.refuse_plainly(placeholder.span(), "a signature has no placeholder");
        }
        match (&raw.header, &raw.query, &raw.basic, &raw.sigv4) {
            (Some(header), None, None, None) => self.header(header, &raw.template),
            (None, Some(name), None, None) => self.checked(name, "parameter", |text| {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                text.bytes().all(plain).then(|| Location::Query { name: text.to_owned() })
            }),
            (None, None, Some(user), None) => self.checked(user, "user", |text| {
                let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':';
                text.bytes().all(plain).then(|| Location::Basic { user: text.to_owned() })
            }),
            (None, None, None, Some(scope)) => {
                let plain = |text: &str| is_name(text).then(|| text.to_owned());
                let scope = scope.get_ref();
                let service = self.checked(&scope.service, "service", plain)?;
                let region = self.checked(&scope.region, "region", plain)?;
                Some(Location::SigV4 { service, region })
            }
            _ => {
                let message = "a credential goes to one place of a request";
                let hint = "write one of `header`, `query`, `basic` and `sigv4`";
                self.refuse(raw.name.span(), message, hint);
                None
            }
        }
    }

    fn header(
        &mut self,
        header: &Spanned<String>,
        template: &Option<Spanned<String>>,
    ) -> Option<Location> {
        let name = self.checked(header, "header field", |text| {
            let token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            let lower = text.to_ascii_lowercase();
            let usable = text.bytes().all(token) && !FRAMING.contains(&lower.as_str());
            usable.then_some(lower)
        })?;
        let (before, after) = match template {
            None => (String::new(), String::new()),
            Some(template) => self.checked(template, "template", |text| {
                let (before, after) = text.split_once("{}")?;
                let plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
                let once = text.bytes().all(plain) && !after.contains("{}");
                once.then(|| (before.to_owned(), after.to_owned()))
            })?,
        };
        Some(Location::Header { name, before, after })
    }

    fn variable(&mut self, raw: &Spanned<String>) -> Option<String> {
        self.checked(raw, "variable", |text| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let named =
                text.bytes().all(plain) && !text.starts_with(|first: char| first.is_ascii_digit());
            named.then(|| text.to_owned())
        })
    }

    /// A short text that `read` makes something of.
    fn checked<T>(
        &mut self,
        raw: &Spanned<String>,
        what: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = raw.get_ref();
        let read = if text.is_empty() || text.len() > 256 { None } else { read(text) };
        if read.is_none() {
            self.refuse_plainly(raw.span(), format!("this can't be the {what}"));
        }
        read
    }
}
