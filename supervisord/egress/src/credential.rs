//! Credentials: what a request gets on its way out that its payload never sees, and the watch over
//! what comes back.
//!
//! The proxy meets this through [`Credentials`] alone: it asks for a request that the policy has
//! allowed to be [prepared](Credentials::prepare), sends what it gets, and passes the response
//! through the [`Prepared`]'s screen. Secrets are [`Secret`]s from the moment they are read; no type
//! in here can print one.

mod bound;
mod broker;
mod contents;
mod endpoint;
mod entry;
mod former;
mod inject;
mod name;
mod notice;
pub(crate) mod oauth;
mod outbound;
mod place;
pub(crate) mod placeholder;
mod prepare;
mod prepared;
pub(crate) mod query;
mod refusal;
mod seam;
mod secret;
pub(crate) mod sigv4;
mod source;
mod text;
mod value;
mod vault;
mod watch;

pub use bound::{Bound, InvalidBound};
pub use broker::{Broker, read as read_value};
pub use endpoint::EndpointDial;
pub use entry::{Condition, Definition, Supply};
pub use name::{CredentialName, InvalidName};
pub use notice::{Notice, Notices};
pub use oauth::{
    Client, ClientAuthentication, Connection, Dial, Endpoint, Grant, InvalidEndpoint, Keep, OAuth,
};
pub use outbound::{Outbound, OutboundFrames, Unwelcome};
pub use place::{Binding, InvalidPlace, Place, Template};
pub use placeholder::{Placeholder, PlaceholderKey};
pub use prepared::Prepared;
pub use refusal::{CredentialRefusal, RefusalCode};
pub use seam::{BodyDigest, Credentials, Pending, Wanted};
pub use secret::{InvalidValue, MAX_VALUE, MIN_VALUE, Secret};
pub use sigv4::MAX_SIGNED_BODY;
pub use source::{Source, SourceError, Why};
pub use value::{AwsKey, Delivery, Value};
pub use vault::{Listing, Vault};
pub use watch::{Frames, Seen, UNHELD, Watch, Watched, Watcher};

#[cfg(test)]
mod tests;
