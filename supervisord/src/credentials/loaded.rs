//! From the configuration to values: everything is read and checked before any of it is in force.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use supervisor_egress::credential::{
    Bound, Broker, Client, ClientAuthentication, CredentialName, Definition, Delivery, Dial,
    Endpoint, Grant, OAuth, Secret, Supply, Value, read_value,
};
use supervisor_sys::wipe_freed_memory;

use super::configured::{self, Authentication, Configured, OAuth2, Place};
use super::kept::Kept;
use super::reading;

type Cause = Box<dyn Error + Send + Sync>;

/// Something about credentials can't be used.
#[derive(Debug)]
pub struct CredentialError {
    what: String,
    cause: Option<Cause>,
    is_unknown: bool,
}

/// Credentials that were read.
#[derive(Debug, Default)]
pub struct Loaded {
    read: Vec<Read>,
    canaries: Vec<Secret>,
}

/// One of them.
#[derive(Debug)]
struct Read {
    name: CredentialName,
    kind: &'static str,
    bounds: Vec<Bound>,
    value: Source,
}

/// Where its value comes from, with all that was to be read for it.
#[derive(Debug)]
enum Source {
    Fixed(Value),
    /// A client, and its first refresh token.
    OAuth(Box<Client>, Option<Secret>),
    Broker(Broker),
}

impl Loaded {
    /// Reads the values of these credentials.
    ///
    /// # Errors
    /// The first that can't be used, by name. No error holds any part of a value.
    pub fn read(configured: &[Configured]) -> Result<Self, CredentialError> {
        if !configured.is_empty() {
            wipe_freed_memory();
        }
        let mut loaded = Self::default();
        let mut names = BTreeSet::new();
        for each in configured {
            let name: CredentialName = each.name().parse().map_err(|error| {
                let what = format!("can't use a credential named {:?}", each.name());
                CredentialError::because(what, error)
            })?;
            if !names.insert(name.clone()) {
                return Err(CredentialError::refuse(format!("two credentials are named {name}")));
            }
            loaded.add(name.clone(), each).map_err(|cause| {
                CredentialError::because(format!("can't use the credential {name}"), cause)
            })?;
        }
        Ok(loaded)
    }

    fn add(&mut self, name: CredentialName, configured: &Configured) -> Result<(), Cause> {
        let bounds = configured.hosts().iter().map(|host| host.parse());
        let bounds = bounds.collect::<Result<Vec<Bound>, _>>()?;
        let (kind, value) = match configured {
            Configured::Canary(canary) => {
                self.canaries.push(secret(&canary.source)?);
                return Ok(());
            }
            Configured::Static(each) => {
                ("static", Source::Fixed(Value::Text(secret(&each.source)?)))
            }
            Configured::Aws(each) => ("aws", Source::Fixed(key(&each.source)?)),
            Configured::OAuth2(each) => {
                let first = each.refresh_token.as_ref().map(secret).transpose()?;
                ("oauth2", Source::OAuth(Box::new(client(each)?), first))
            }
            Configured::Broker(each) => ("broker", Source::Broker(broker(&name, each)?)),
        };
        if bounds.is_empty() {
            return Err("hosts names nothing, so it could go nowhere".into());
        }
        self.read.push(Read { name, kind, bounds, value });
        Ok(())
    }

    /// What the vault takes.
    ///
    /// # Errors
    /// A refresh token that is kept can't be read.
    pub(super) fn definitions(
        self,
        kept: &Kept,
        dial: &Arc<dyn Dial>,
    ) -> Result<(Vec<Definition>, Vec<Secret>), CredentialError> {
        let mut definitions = Vec::with_capacity(self.read.len());
        for Read { name, kind, bounds, value } in self.read {
            let supply = match value {
                Source::Fixed(value) => Supply::Fixed(value),
                Source::Broker(broker) => Supply::Fetched(Arc::new(broker)),
                Source::OAuth(mut client, first) => {
                    if let Some(first) = first {
                        client.grant = Grant::RefreshToken(kept.token(&name, first)?);
                    }
                    Supply::Fetched(Arc::new(OAuth::new(*client, dial.clone())))
                }
            };
            definitions.push(Definition { name, kind, bounds, supply });
        }
        Ok((definitions, self.canaries))
    }
}

fn broker(name: &CredentialName, configured: &configured::Broker) -> Result<Broker, Cause> {
    if !configured.socket.is_absolute() {
        return Err("the path of its socket is not absolute".into());
    }
    Ok(Broker::new(name.clone(), configured.socket.clone(), configured.uid))
}

fn client(configured: &OAuth2) -> Result<Client, Cause> {
    let secret = configured.client_secret.as_ref().map(secret).transpose()?;
    if secret.is_none() && configured.refresh_token.is_none() {
        return Err("it needs a client_secret or a refresh_token".into());
    }
    let parameters = [
        ("scope", &configured.scope),
        ("audience", &configured.audience),
        ("resource", &configured.resource),
    ];
    let given = |(name, value): (&str, &Option<String>)| {
        value.clone().map(|value| (name.to_owned(), value))
    };
    Ok(Client {
        endpoint: Endpoint::parse(&configured.token_url)?,
        id: configured.client_id.clone(),
        secret,
        authentication: match configured.client_authentication {
            Authentication::Basic => ClientAuthentication::Basic,
            Authentication::Post => ClientAuthentication::Post,
        },
        parameters: parameters.into_iter().filter_map(given).collect(),
        grant: Grant::ClientCredentials,
    })
}

fn secret(place: &Place) -> Result<Secret, Cause> {
    let bytes = reading::read(place).map_err(|error| at(place, error.into()))?;
    Secret::new(bytes).map_err(|error| at(place, error.into()))
}

/// A key that signs and has no end, since nobody would fetch its successor.
fn key(place: &Place) -> Result<Value, Cause> {
    let bytes = reading::read(place).map_err(|error| at(place, error.into()))?;
    let read = read_value(&bytes, Timestamp::now()).map_err(|error| at(place, error.into()))?;
    match read {
        Delivery { value: value @ Value::Aws(_), lifetime: None, .. } => Ok(value),
        _ => Err(format!("{place} holds no key without an end; use a broker").into()),
    }
}

fn at(place: &Place, cause: Cause) -> Cause {
    CredentialError::because(format!("can't use {place}"), cause).into()
}

impl CredentialError {
    fn because(what: impl Into<String>, cause: impl Into<Cause>) -> Self {
        Self { what: what.into(), cause: Some(cause.into()), is_unknown: false }
    }

    fn refuse(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None, is_unknown: false }
    }

    /// There is no credential of this name.
    pub fn unknown(name: &CredentialName) -> Self {
        Self { is_unknown: true, ..Self::refuse(format!("there is no credential {name}")) }
    }

    /// The configuration can't be read.
    pub fn configuration(path: &Path, cause: impl Into<Cause>) -> Self {
        Self::because(format!("can't use the configuration {}", path.display()), cause)
    }

    pub(super) fn io(operation: &str, path: &Path, cause: io::Error) -> Self {
        Self::because(format!("can't {operation} {}", path.display()), cause)
    }

    /// Whether it is that there is no such credential.
    pub fn is_unknown(&self) -> bool {
        self.is_unknown
    }

    /// The error and its causes in one line of words.
    pub fn in_full(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            words.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        words
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for CredentialError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}
