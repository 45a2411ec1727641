//! The sections about egress as a file says them, not checked yet.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{SeqAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use crate::raw::Amount;

/// One `[[egress]]`: a rule about what may leave the sandbox.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "an egress rule")]
#[schemars(rename = "EgressRule")]
pub(crate) struct RawRule {
    /// The rule's name, which refusals and the audit log give: 1 to 64 characters of a-z, 0-9 and -.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// What the rule is for, in a sentence.
    #[schemars(with = "Option<String>")]
    pub description: Option<Spanned<String>>,
    /// `allow` (the default), `ask` a person, or `deny`, which wins over the others.
    #[schemars(with = "Option<String>", extend("enum" = ["allow", "ask", "deny"]))]
    pub verdict: Option<Spanned<String>>,
    /// Names, `*.name` for one label more, `**.name` for one or more and, in a rule that denies or asks, also `name`
    /// itself, addresses, networks, `**`.
    #[schemars(with = "RawHosts")]
    pub hosts: Spanned<RawHosts>,
    /// Networks that aren't public and that these hosts may nevertheless resolve to.
    #[schemars(with = "Option<Vec<String>>")]
    pub addresses: Option<Spanned<Vec<Spanned<String>>>>,
    /// `https` (the default), `http`, `tcp`. A rule that denies is about all of them where this is left out;
    /// with `methods` or `paths` about `https` and `http`.
    #[schemars(with = "Option<Vec<String>>")]
    pub protocols: Option<Spanned<Vec<Spanned<String>>>>,
    /// TCP ports; 443 for https and 80 for http where this is left out, and all for a rule that denies.
    #[schemars(with = "Option<Vec<u16>>")]
    pub ports: Option<Spanned<Vec<Spanned<i64>>>>,
    /// Methods in capitals; all where this is left out.
    #[schemars(with = "Option<Vec<String>>")]
    pub methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// Patterns of paths: `*` is one segment or a part of one, `**` any number of segments. `/a/**` is what
    /// stands below `/a`, and in a rule that denies or asks also `/a` itself; there `/a` is also `/a/`.
    #[schemars(with = "Option<Vec<String>>")]
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
    /// `auto` (the default), `inspect` or `pass`. What is passed is known by its server name only: where
    /// many hosts share a front, a program can ask for any of them behind the one that is allowed.
    #[schemars(with = "Option<String>", extend("enum" = ["auto", "inspect", "pass"]))]
    pub tls: Option<Spanned<String>>,
    /// Bytes that a request's body may have, such as "1 MiB".
    #[schemars(with = "Option<Amount>")]
    pub max_body: Option<Spanned<Amount>>,
    /// How long a request waits for a person where the rule asks, such as "2 min"; five minutes if left
    /// out, an hour at the most.
    #[schemars(with = "Option<Amount>")]
    pub ask_timeout: Option<Spanned<Amount>>,
    /// Whether a request may become a WebSocket; not where this is left out.
    #[schemars(with = "Option<bool>")]
    pub websocket: Option<Spanned<bool>>,
}

/// A rule's hosts: a list, or the client whose configuration names them.
#[derive(Debug)]
pub(crate) enum RawHosts {
    List(Vec<Spanned<String>>),
    Client(RawClient),
}

/// `{ from = "pip" }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "`{ from = … }`")]
#[schemars(rename = "HostsOfClient")]
pub(crate) struct RawClient {
    /// The package client whose configuration on this host names the hosts.
    #[schemars(with = "String", extend("enum" = ["pip", "npm", "cargo", "apt"]))]
    pub from: Spanned<String>,
}

/// One `[[credential]]`: which requests a credential goes into, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a credential binding")]
#[schemars(rename = "CredentialBinding")]
pub(crate) struct RawBinding {
    /// The credential's name in the daemon's configuration.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// Names, or `*.name` for one label more.
    #[schemars(with = "Vec<String>")]
    pub hosts: Spanned<Vec<Spanned<String>>>,
    /// TCP ports; 443 where this is left out.
    #[schemars(with = "Option<Vec<u16>>")]
    pub ports: Option<Spanned<Vec<Spanned<i64>>>>,
    /// Methods in capitals; all where this is left out.
    #[schemars(with = "Option<Vec<String>>")]
    pub methods: Option<Spanned<Vec<Spanned<String>>>>,
    /// Patterns of paths; all where this is left out.
    #[schemars(with = "Option<Vec<String>>")]
    pub paths: Option<Spanned<Vec<Spanned<String>>>>,
    /// The header field that it goes into.
    #[schemars(with = "Option<String>")]
    pub header: Option<Spanned<String>>,
    /// The field's value with `{}` for the secret, such as "Bearer {}"; "{}" where this is left out.
    #[schemars(with = "Option<String>")]
    pub template: Option<Spanned<String>>,
    /// The parameter of the query that it goes into.
    #[schemars(with = "Option<String>")]
    pub query: Option<Spanned<String>>,
    /// The user of basic authentication; the secret is the password.
    #[schemars(with = "Option<String>")]
    pub basic: Option<Spanned<String>>,
    /// The scope of an AWS signature (SigV4).
    #[schemars(with = "Option<RawScope>")]
    pub sigv4: Option<Spanned<RawScope>>,
    /// The payload's variable that gets a placeholder, which the payload sends in place of the secret.
    #[schemars(with = "Option<String>")]
    pub placeholder: Option<Spanned<String>>,
    /// What may be used of this credential in a day (UTC), by all sessions together.
    pub budgets: Option<RawBudgets>,
}

/// `sigv4 = { … }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "`{ service = …, region = … }`")]
#[schemars(rename = "SigV4Scope")]
pub(crate) struct RawScope {
    /// The service as the signature names it, such as "s3".
    #[schemars(with = "String")]
    pub service: Spanned<String>,
    /// The region.
    #[schemars(with = "String")]
    pub region: Spanned<String>,
}

/// `[budgets]`: what may be used.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table of budgets")]
#[schemars(rename = "Budgets")]
pub(crate) struct RawBudgets {
    /// Requests; a connection that is passed or plain TCP counts as one.
    #[schemars(with = "Option<Amount>")]
    pub requests: Option<Spanned<Amount>>,
    /// Requests whose method isn't safe, such as POST.
    #[schemars(with = "Option<Amount>")]
    pub unsafe_requests: Option<Spanned<Amount>>,
    /// Bytes sent.
    #[schemars(with = "Option<Amount>")]
    pub bytes_out: Option<Spanned<Amount>>,
    /// Bytes received.
    #[schemars(with = "Option<Amount>")]
    pub bytes_in: Option<Spanned<Amount>>,
    /// Distinct hosts.
    #[schemars(with = "Option<Amount>")]
    pub distinct_hosts: Option<Spanned<Amount>>,
}

/// `[addresses]` of the floor.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[schemars(rename = "FloorAddresses")]
pub(crate) struct RawAddresses {
    /// Classes of addresses that policies may open by naming networks of them.
    #[schemars(with = "Option<Vec<String>>")]
    pub openable: Option<Spanned<Vec<Spanned<String>>>>,
}

impl<'de> Deserialize<'de> for RawHosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HostsVisitor)
    }
}

struct HostsVisitor;

impl<'de> Visitor<'de> for HostsVisitor {
    type Value = RawHosts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of hosts, or `{ from = \"pip\" }`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<RawHosts, A::Error> {
        let mut list = Vec::new();
        while let Some(host) = sequence.next_element()? {
            list.push(host);
        }
        Ok(RawHosts::List(list))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<RawHosts, A::Error> {
        RawClient::deserialize(MapAccessDeserializer::new(map)).map(RawHosts::Client)
    }
}

impl JsonSchema for RawHosts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hosts".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let client = generator.subschema_for::<RawClient>();
        json_schema!({"anyOf": [{"type": "array", "items": {"type": "string"}}, client]})
    }
}
