//! `[[credential]]` of the configuration: everything about a credential but its value.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// A credential, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Configured {
    /// A value that is read as it stands.
    Static(ReadOnce),
    /// A key that signs, as JSON: `access_key_id`, `secret_access_key` and perhaps `session_token`.
    Aws(ReadOnce),
    /// Tokens of an authorization server (RFC 6749).
    OAuth2(OAuth2),
    /// A program that listens on a Unix socket and gives out values.
    Broker(Broker),
    /// A decoy: a value that means nothing and is refused and told of wherever it is sent.
    Canary(Canary),
}

/// A value that is read with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadOnce {
    /// The credential's name, by which policies bind it.
    pub name: String,
    /// Where it may ever go, whatever policies say: `api.example.com`, `*.example.com`, either with a
    /// port.
    pub hosts: Vec<String>,
    /// Where it is read.
    pub source: Place,
}

/// A client of an authorization server. With a refresh token it asks by that (§6), without one by its
/// own credentials (§4.4).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// As for [`ReadOnce::name`].
    pub name: String,
    /// As for [`ReadOnce::hosts`].
    pub hosts: Vec<String>,
    /// The token endpoint, with https.
    pub token_url: String,
    /// The client's name with the server.
    pub client_id: String,
    /// The client's secret; public clients have none.
    pub client_secret: Option<Place>,
    /// How the client says who it is.
    #[serde(default)]
    pub client_authentication: Authentication,
    /// The first refresh token. Its successors are kept in the state directory.
    pub refresh_token: Option<Place>,
    /// What is asked for.
    pub scope: Option<String>,
    /// Whom the token is for, with servers that want to know.
    pub audience: Option<String>,
    /// The same, by RFC 8707.
    pub resource: Option<String>,
}

/// A program behind a socket.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// As for [`ReadOnce::name`].
    pub name: String,
    /// As for [`ReadOnce::hosts`].
    pub hosts: Vec<String>,
    /// The socket's absolute path.
    pub socket: PathBuf,
    /// Who may listen there, besides root.
    #[serde(default)]
    pub uid: u32,
}

/// A decoy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Its name.
    pub name: String,
    /// Where it is read.
    pub source: Place,
}

/// How a client says who it is (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Authentication {
    /// In `Authorization: Basic`.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// Where a value is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// A file of root's or of the daemon's, by an absolute path.
    File(PathBuf),
    /// A credential that systemd hands to the unit (systemd.exec(5), `LoadCredential=`), by its name.
    Systemd(String),
}

impl Configured {
    /// The credential's name.
    pub fn name(&self) -> &str {
        match self {
            Self::Static(each) | Self::Aws(each) => &each.name,
            Self::OAuth2(each) => &each.name,
            Self::Broker(each) => &each.name,
            Self::Canary(each) => &each.name,
        }
    }

    /// Where it may go.
    pub fn hosts(&self) -> &[String] {
        match self {
            Self::Static(each) | Self::Aws(each) => &each.hosts,
            Self::OAuth2(each) => &each.hosts,
            Self::Broker(each) => &each.hosts,
            Self::Canary(_) => &[],
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Systemd(name) => write!(f, "systemd's credential {name}"),
        }
    }
}
