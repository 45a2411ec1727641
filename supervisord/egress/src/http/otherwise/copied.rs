//! Where a store reads what a request has it copy to the request's own target: the fields of most name a bucket and
//! a key (`bucket/key`), whichever bucket the request's own host stands for; Azure's names a URL, Tencent's a host and
//! a key, Swift's a path.

use http::StatusCode;
use supervisor_policy::egress::{Decision, Destination, Host};

use super::located;
use crate::refused::Refused;

/// The fields, of S3, Azure, Google, Alibaba, Tencent, Huawei, Baidu and Swift.
pub const SOURCES: [&str; 8] = [
    "x-amz-copy-source",
    "x-ms-copy-source",
    "x-goog-copy-source",
    "x-oss-copy-source",
    "x-cos-copy-source",
    "x-obs-copy-source",
    "x-bce-copy-source",
    "x-copy-from",
];

/// What may stand behind `?` in such a field: which version of the key.
const VERSION: &str = "versionId=";

/// The host that a store has for every bucket, as far as a name tells.
#[derive(Debug, PartialEq, Eq)]
enum Store<'a> {
    /// All buckets are at one host, as the first part of the path.
    OfPaths,
    /// The request's own bucket, and the name below which each bucket has its host.
    OfHosts(&'a str, &'a str),
    /// One or the other; the same, if it is that.
    Either(&'a str, &'a str),
}

/// One of these fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    name: &'static str,
    text: String,
}

impl Source {
    pub fn new(name: &'static str, text: String) -> Self {
        Self { name, text }
    }

    /// All that a GET has to be allowed of, for this to be read.
    ///
    /// # Errors
    ///
    /// Where it leads can't be told.
    pub fn places(&self, own: &Destination) -> Result<Vec<(Destination, String)>, Refused> {
        match self.name {
            "x-ms-copy-source" | "x-copy-from" => at(own, &self.text),
            "x-cos-copy-source" => at(own, &format!("https://{}", self.text)),
            _ => in_bucket(own, &self.text).ok_or_else(unreadable),
        }
    }
}

fn at(own: &Destination, text: &str) -> Result<Vec<(Destination, String)>, Refused> {
    let (host, target) = located(own, text)?;
    Ok(vec![(host.into_owned(), target)])
}

fn in_bucket(own: &Destination, text: &str) -> Option<Vec<(Destination, String)>> {
    let path = text.strip_prefix('/').unwrap_or(text);
    let (bucket, key) = path.split_once('/')?;
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    let has_other = key.split_once('?').is_some_and(|(_, query)| !query.starts_with(VERSION));
    // An ARN, a letter in percent, or in upper case: it would be another bucket under a name like this one's.
    if bucket.is_empty() || !bucket.bytes().all(is_plain) || has_other {
        return None;
    }
    let by_path = (own.clone(), format!("/{bucket}/{key}"));
    let at_host = |mine: &str, parent: &str| {
        let host = match bucket == mine {
            true => own.clone(),
            false => Destination::parse(&format!("{bucket}.{parent}"), Some(own.port)).ok()?,
        };
        Some((host, format!("/{key}")))
    };
    Some(match store(&own.host) {
        Store::OfPaths => vec![by_path],
        Store::OfHosts(mine, parent) => vec![at_host(mine, parent)?],
        Store::Either(mine, parent) => vec![at_host(mine, parent)?, by_path],
    })
}

/// What a host tells of its store. A bucket's name may have dots, so only a label that is known to be the store's
/// own ends it: the last such one.
fn store(host: &Host) -> Store<'_> {
    let Host::Name(name) = host else { return Store::OfPaths };
    let name = name.as_str();
    let is_amazon = name.ends_with(".amazonaws.com") || name.ends_with(".amazonaws.com.cn");
    let is_google = name.ends_with("storage.googleapis.com");
    let is_store = |label: &str| {
        let is_of_amazon = label.starts_with("s3-") || label.starts_with("s3express-");
        label == "s3" || is_amazon && is_of_amazon || is_google && label == "storage"
    };
    for (at, _) in name.rmatch_indices('.') {
        let (bucket, parent) = name.split_at(at);
        let parent = parent.strip_prefix('.').unwrap_or(parent);
        if is_store(parent.split('.').next().unwrap_or_default()) {
            return Store::OfHosts(bucket, parent);
        }
    }
    match name.split_once('.') {
        Some((first, parent)) if !is_store(first) => Store::Either(first, parent),
        _ => Store::OfPaths,
    }
}

fn unreadable() -> Refused {
    Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "taken_otherwise",
        "it asks the server to copy from a bucket that can't be told by its name",
        "Name it as bucket/key, the bucket in lower case and not in percent, with nothing but ?versionId= behind it.",
    )
}

/// The refusal of what may not be read there.
pub fn refused(host: &Destination, target: &str, other: &Decision) -> Refused {
    let path = target.split('?').next().unwrap_or_default();
    let why = match other.refusal() {
        Some(refusal) => refusal.cause().to_owned(),
        None => "a credential goes out with it that is not bound to that".to_owned(),
    };
    let mut refused = Refused::new(
        StatusCode::FORBIDDEN,
        "http_request_denied",
        "taken_otherwise",
        format!("it asks the server to copy what is at {host}{path}: {why}"),
        "Copy from what you may read, or have the rule and its bindings allow a GET of that at that host.",
    );
    refused.rule = Some(other.rule().to_string());
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a source is looked for, at most twice.
    fn read(host: &str, source: &str) -> Option<Vec<String>> {
        let own = Destination::parse(host, Some(443)).unwrap();
        let places = Source::new("x-amz-copy-source", source.to_owned()).places(&own).ok()?;
        Some(places.iter().map(|(host, target)| format!("{}{target}", host.host)).collect())
    }

    #[test]
    fn a_bucket_is_read_at_its_own_host_and_only_exactly_its_own_is_the_requests() {
        for (host, source, place) in [
            ("mine.s3.cloud.test", "mine/data/a", "mine.s3.cloud.test/data/a"),
            ("mine.s3.cloud.test", "/mine/a?versionId=3", "mine.s3.cloud.test/a?versionId=3"),
            ("mine.s3.cloud.test", "payroll/2026.csv", "payroll.s3.cloud.test/2026.csv"),
            ("mine.s3.cloud.test", "min/data/a", "min.s3.cloud.test/data/a"),
            ("mine.data.s3.cloud.test", "mine/a", "mine.s3.cloud.test/a"),
            ("mine.data.s3.cloud.test", "mine.data/a", "mine.data.s3.cloud.test/a"),
            ("s3.s3.s3-eu-west-1.amazonaws.com", "s3/a", "s3.s3-eu-west-1.amazonaws.com/a"),
            ("b.storage.googleapis.com", "other/a", "other.storage.googleapis.com/a"),
            ("s3.cloud.test", "/other/a", "s3.cloud.test/other/a"),
            ("s3-eu-west-1.amazonaws.com", "other/a", "s3-eu-west-1.amazonaws.com/other/a"),
            ("storage.googleapis.com", "other/a", "storage.googleapis.com/other/a"),
            ("minio", "other/a", "minio/other/a"),
            ("10.0.0.1", "other/a", "10.0.0.1/other/a"),
        ] {
            assert_eq!(read(host, source), Some(vec![place.to_owned()]), "{source} at {host}");
        }
    }

    #[test]
    fn at_a_store_whose_host_tells_nothing_both_readings_have_to_be_allowed() {
        let both = |places: [&str; 2]| Some(places.map(str::to_owned).to_vec());
        let own = both(["mine.spaces.test/a", "mine.spaces.test/mine/a"]);
        assert_eq!(read("mine.spaces.test", "mine/a"), own);
        let other = both(["other.spaces.test/a", "mine.spaces.test/other/a"]);
        assert_eq!(read("mine.spaces.test", "other/a"), other);
        let called_so = both(["other.spaces.test/a", "s3-mine.spaces.test/other/a"]);
        assert_eq!(read("s3-mine.spaces.test", "other/a"), called_so);
    }

    #[test]
    fn what_another_maker_s_field_names_is_read_as_that_maker_does() {
        let own = Destination::parse("mine.store.test", Some(443)).unwrap();
        for (name, text, place) in [
            ("x-ms-copy-source", "https://other.blob.test/a", "other.blob.test:443/a"),
            ("x-copy-from", "/box/a", "mine.store.test:443/box/a"),
            ("x-cos-copy-source", "b-1.cos.store.test/a", "b-1.cos.store.test:443/a"),
        ] {
            let places = Source::new(name, text.to_owned()).places(&own).unwrap();
            let told = places.iter().map(|(host, target)| format!("{host}{target}"));
            assert_eq!(told.collect::<Vec<_>>(), [place], "{name}");
        }
        let unreadable = Source::new("x-cos-copy-source", "https://b/a".to_owned());
        assert!(unreadable.places(&own).is_err());
    }

    #[test]
    fn a_bucket_that_cannot_be_told_by_its_name_is_refused_with_a_remedy() {
        for source in [
            "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/object/a",
            "https://mine.s3.cloud.test/a",
            "p%61yroll/a",
            "Mine/a",
            "%2Fother/a",
            "//other/a",
            "mine/a?b",
            "..other/a",
            "-/a",
            "mine",
            "/",
            "",
        ] {
            assert_eq!(read("mine.s3.cloud.test", source), None, "{source}");
        }
        assert!(unreadable().remedy.contains("bucket/key"));
    }
}
