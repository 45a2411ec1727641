//! Where in a request a credential goes.

use std::fmt;

use http::HeaderName;
use http::header;
use supervisor_policy::egress;

use super::name::CredentialName;

/// A credential and its place in a request. The policy has decided that the request gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Which credential.
    pub credential: CredentialName,
    /// Where it goes.
    pub place: Place,
    /// Whether it goes there only if the payload has put its placeholder there.
    pub needs_placeholder: bool,
}

/// A place in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A header field, which replaces any that the payload has sent.
    Header {
        /// Its name.
        name: HeaderName,
        /// What stands around the value.
        template: Template,
    },
    /// A query parameter, which replaces any that the payload has sent.
    Query {
        /// Its name, decoded.
        name: String,
    },
    /// `Authorization: Basic` (RFC 7617) with this user and the credential as password.
    Basic {
        /// The user; without a colon.
        user: String,
    },
    /// AWS Signature Version 4 in `Authorization`.
    SigV4 {
        /// Such as `eu-central-1`.
        region: String,
        /// Such as `s3`.
        service: String,
    },
}

/// A text with one `{}`, where the value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    before: String,
    after: String,
}

/// A place that a credential can't have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidPlace {
    /// The text is no header field's name (RFC 9110 §5.1).
    NotAHeader(String),
    /// The field frames or routes the request, or is for one hop only.
    ForbiddenHeader(String),
    /// The template has no `{}`, or more than one, or a character that no field value has.
    Template(String),
    /// The parameter's name, the user, the region or the service is empty or has a character that it
    /// can't have.
    Text(String),
}

/// Fields that decide where a request ends, where it goes, what its response looks like, or what a
/// proxy does with it. A secret in one of them would be an injection.
const FORBIDDEN: &[HeaderName] = &[
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::VIA,
    header::FORWARDED,
    header::MAX_FORWARDS,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::ACCEPT_ENCODING,
    header::RANGE,
    header::IF_RANGE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::ORIGIN,
    header::REFERER,
];

/// The same, for those that [`http::header`] has no constant for.
const FORBIDDEN_NAMES: &[&str] = &["keep-alive", "proxy-connection", "http2-settings"];

/// Fields that servers read for Range, or rather than it: Apache the first, Azure's storage the second.
pub(super) const OTHER_RANGES: [&str; 2] = ["request-range", "x-ms-range"];

impl TryFrom<&egress::Binding> for Binding {
    type Error = InvalidPlace;

    /// What a policy says, checked once more: it is the last look before a secret goes out.
    fn try_from(binding: &egress::Binding) -> Result<Self, InvalidPlace> {
        let invalid = |_| InvalidPlace::Text(binding.credential().to_owned());
        let credential = binding.credential().parse().map_err(invalid)?;
        let place = match binding.location() {
            egress::Location::Header { name, before, after } => {
                Place::header(name, &format!("{before}{{}}{after}"))?
            }
            egress::Location::Query { name } => Place::query(name)?,
            egress::Location::Basic { user } => Place::basic(user)?,
            egress::Location::SigV4 { service, region } => Place::sigv4(region, service)?,
        };
        Ok(Self { credential, place, needs_placeholder: binding.placeholder().is_some() })
    }
}

impl Place {
    /// The field that it is in, unless it is in the target.
    pub fn field(&self) -> Option<&HeaderName> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Basic { .. } | Self::SigV4 { .. } => Some(&header::AUTHORIZATION),
            Self::Query { .. } => None,
        }
    }

    /// A header field of this name, with a template such as `Bearer {}`.
    ///
    /// # Errors
    /// The name is none, or one that no credential may have; the template has not exactly one `{}`.
    pub fn header(name: &str, template: &str) -> Result<Self, InvalidPlace> {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let header = parsed.map_err(|_| InvalidPlace::NotAHeader(name.to_owned()))?;
        let forwarded = header.as_str().starts_with("x-forwarded-");
        if forwarded
            || FORBIDDEN.contains(&header)
            || FORBIDDEN_NAMES.contains(&header.as_str())
            || OTHER_RANGES.contains(&header.as_str())
            || header.as_str().starts_with("sec-")
        {
            return Err(InvalidPlace::ForbiddenHeader(name.to_owned()));
        }
        Ok(Self::Header { name: header, template: Template::new(template)? })
    }

    /// `Authorization: Bearer` (RFC 6750 §2.1).
    pub fn bearer() -> Self {
        let template = Template { before: "Bearer ".to_owned(), after: String::new() };
        Self::Header { name: header::AUTHORIZATION, template }
    }

    /// A query parameter of this name.
    ///
    /// # Errors
    /// The name is empty or has a character other than visible US-ASCII.
    pub fn query(name: &str) -> Result<Self, InvalidPlace> {
        Ok(Self::Query { name: graphic(name, "")?.to_owned() })
    }

    /// Basic authentication with this user.
    ///
    /// # Errors
    /// The user is empty, holds a colon or a character other than visible US-ASCII.
    pub fn basic(user: &str) -> Result<Self, InvalidPlace> {
        Ok(Self::Basic { user: graphic(user, ":")?.to_owned() })
    }

    /// AWS Signature Version 4 for this region and service.
    ///
    /// # Errors
    /// One of them is empty or has a character that would change the scope of the signature.
    pub fn sigv4(region: &str, service: &str) -> Result<Self, InvalidPlace> {
        let (region, service) = (graphic(region, "/,=")?, graphic(service, "/,=")?);
        Ok(Self::SigV4 { region: region.to_owned(), service: service.to_owned() })
    }
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// There is not exactly one `{}`, or a character that no field value has.
    pub fn new(text: &str) -> Result<Self, InvalidPlace> {
        let invalid = || InvalidPlace::Template(text.to_owned());
        let (before, after) = text.split_once("{}").ok_or_else(invalid)?;
        let fits = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if after.contains("{}") || !fits(before) || !fits(after) {
            return Err(invalid());
        }
        Ok(Self { before: before.to_owned(), after: after.to_owned() })
    }

    /// What stands before the value.
    pub(crate) fn before(&self) -> &[u8] {
        self.before.as_bytes()
    }

    /// What stands after it.
    pub(crate) fn after(&self) -> &[u8] {
        self.after.as_bytes()
    }
}

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAHeader(name) => write!(f, "{name:?} is no name of a header field"),
            Self::ForbiddenHeader(name) => {
                write!(
                    f,
                    "the header field {name} frames or routes a request, so it can't hold a credential"
                )
            }
            Self::Template(text) => {
                write!(
                    f,
                    "the template {text:?} needs exactly one {{}} and visible characters around it"
                )
            }
            Self::Text(text) => {
                write!(f, "{text:?} is empty or has a character that can't stand here")
            }
        }
    }
}

impl std::error::Error for InvalidPlace {}

fn graphic<'a>(text: &'a str, without: &str) -> Result<&'a str, InvalidPlace> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !without.as_bytes().contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(InvalidPlace::Text(text.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_cannot_go_into_a_field_that_frames_or_routes() {
        for name in [
            "Content-Length",
            "Host",
            "transfer-encoding",
            "TE",
            "Keep-Alive",
            "Sec-Fetch-Site",
            "X-Forwarded-For",
            "Range",
            "Request-Range",
        ] {
            let refused = Place::header(name, "{}");
            assert_eq!(refused, Err(InvalidPlace::ForbiddenHeader(name.to_owned())));
        }
        for name in ["", "X Y", "X:Y", "X\r\nY", "\u{e4}"] {
            assert_eq!(Place::header(name, "{}"), Err(InvalidPlace::NotAHeader(name.to_owned())));
        }
        assert!(Place::header("X-Api-Key", "{}").is_ok());
    }

    #[test]
    fn a_template_has_one_gap_and_no_line_ends() {
        for text in ["", "Bearer", "{} {}", "Bearer\n{}", "{}\0"] {
            assert!(Template::new(text).is_err(), "{text:?}");
        }
        let Place::Header { template, .. } = Place::bearer() else { unreachable!() };
        assert_eq!(Template::new("Bearer {}"), Ok(template));
    }

    #[test]
    fn a_user_a_parameter_and_a_scope_cannot_break_out() {
        assert!(Place::basic("x-access-token").is_ok());
        assert!(Place::query("api_key").is_ok());
        assert!(Place::sigv4("eu-central-1", "s3").is_ok());
        assert!(Place::basic("a:b").is_err() && Place::basic("").is_err());
        assert!(Place::query("").is_err() && Place::query("a\n").is_err());
        assert!(Place::sigv4("eu/x", "s3").is_err() && Place::sigv4("eu", "s3, x").is_err());
    }
}
