//! Against the vectors that AWS publishes: its test suite for Signature Version 4, and the examples
//! of the S3 reference.

use http::{Method, Request};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::super::secret::Secret;
use super::*;

fn key(id: &str, secret: &str, token: Option<&str>) -> AwsKey {
    let secret_of = |text: &str| Secret::new(Zeroizing::new(text.into())).expect("a secret");
    AwsKey { id: id.to_owned(), secret: secret_of(secret), session_token: token.map(secret_of) }
}

fn suite_key() -> AwsKey {
    key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
}

fn head(method: &str, target: &str, fields: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// The signature of a request of the test suite, in which every field is signed.
fn of_suite(method: &str, target: &str, fields: &[(&str, &str)], body: &str) -> String {
    let mut all = vec![("x-amz-date", "20150830T123600Z")];
    all.extend(fields);
    let head = head(method, target, &all);
    let hash = hexadecimal(digest::digest(&digest::SHA256, body.as_bytes()).as_ref());
    let canonical = Canonical::of(&head, "example.amazonaws.com", false, &hash, |_| true);
    let scope = Scope { region: "us-east-1", service: "service" };
    let value = authorization(&canonical, &suite_key(), scope, "20150830T123600Z").expect("signed");
    value.rsplit('=').next().expect("a signature").to_owned()
}

#[test]
fn the_vectors_of_the_published_test_suite_hold() {
    let unreserved = "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (name, method, target, fields, body, signature) in [
        (
            "get-vanilla",
            "GET",
            "/",
            &[][..],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-unreserved",
            "GET",
            unreserved,
            &[],
            "",
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
        ),
        (
            "get-slashes",
            "GET",
            "//example//",
            &[],
            "",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-relative",
            "GET",
            "/example/..",
            &[],
            "",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            "",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "get-vanilla-query-order-value",
            "GET",
            "/?Param1=value2&Param1=value1",
            &[],
            "",
            "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
        ),
        (
            "get-vanilla-utf8-query",
            "GET",
            "/?%E1%88%B4=bar",
            &[],
            "",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
        ),
        (
            "get-header-value-order",
            "GET",
            "/",
            &[
                ("My-Header1", "value4"),
                ("My-Header1", "value1"),
                ("My-Header1", "value3"),
                ("My-Header1", "value2"),
            ],
            "",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "get-header-key-duplicate",
            "GET",
            "/",
            &[("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
            "",
            "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
        ),
        (
            "get-header-value-trim",
            "GET",
            "/",
            &[("My-Header1", "value1"), ("My-Header2", "\"a   b   c\"")],
            "",
            "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
        ),
        (
            "post-x-www-form-urlencoded",
            "POST",
            "/",
            &[("Content-Type", "application/x-www-form-urlencoded")],
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "post-sts-header",
            "GET",
            "/",
            &[(
                "X-Amz-Security-Token",
                "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267",
            )],
            "",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
    ] {
        assert_eq!(of_suite(method, target, fields, body), signature, "{name}");
    }
}

#[test]
fn the_examples_of_the_s3_reference_hold() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let put = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
    for (method, target, fields, digest, signature) in [
        (
            "GET",
            "/test.txt",
            &[("Range", "bytes=0-9")][..],
            empty,
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "PUT",
            "/test$file.text",
            &[
                ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            put,
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        ),
        (
            "GET",
            "/?lifecycle",
            &[],
            empty,
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            &[],
            empty,
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ] {
        let mut all = vec![("x-amz-date", "20130524T000000Z"), ("x-amz-content-sha256", digest)];
        all.extend(fields);
        let head = head(method, target, &all);
        let host = "examplebucket.s3.amazonaws.com";
        let canonical = Canonical::of(&head, host, true, digest, |_| true);
        let scope = Scope { region: "us-east-1", service: "s3" };
        let key = key("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None);
        let value = authorization(&canonical, &key, scope, "20130524T000000Z").expect("signed");
        assert_eq!(value.rsplit('=').next(), Some(signature), "{target}\n{}", canonical.text);
    }
}

fn signed(head: &mut Parts, service: &str, body: BodyDigest) -> Result<String, Unsignable> {
    let now: Timestamp = "2015-08-30T12:36:00Z".parse().expect("a time");
    let scope = Scope { region: "us-east-1", service };
    sign(head, &suite_key(), scope, "example.amazonaws.com", body, now)?;
    let value = head.headers.get(header::AUTHORIZATION).expect("signed");
    Ok(value.to_str().expect("text").to_owned())
}

#[test]
fn a_signature_of_the_payloads_own_is_replaced() {
    let mut head = head(
        "GET",
        "/",
        &[
            ("Authorization", "AWS4-HMAC-SHA256 mine"),
            ("X-Amz-Date", "20000101T000000Z"),
            ("X-Amz-Security-Token", "mine"),
        ],
    );
    let value = signed(&mut head, "service", BodyDigest::Empty).expect("signable");
    assert!(
        value.ends_with(
            "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
        )
    );
    assert_eq!(head.headers.get_all(header::AUTHORIZATION).iter().count(), 1);
    assert!(!head.headers.contains_key(TOKEN));
    assert!(!format!("{head:?}").contains("Signature="), "sensitive values aren't printed");
}

#[test]
fn a_body_is_signed_by_its_stated_digest_by_its_own_or_not_at_all() {
    let digest = "ab".repeat(32);
    let stated = |value: &str, service: &str, body| {
        let mut head = head("PUT", "/", &[("x-amz-content-sha256", value)]);
        signed(&mut head, service, body)
    };
    assert!(stated(&digest, "dynamodb", BodyDigest::Unknown).is_ok());
    assert!(stated("UNSIGNED-PAYLOAD", "s3", BodyDigest::Unknown).is_ok());
    assert!(stated("STREAMING-UNSIGNED-PAYLOAD-TRAILER", "s3", BodyDigest::Unknown).is_ok());
    for (value, service, problem) in [
        ("UNSIGNED-PAYLOAD", "dynamodb", Unsignable::InvalidDigest),
        ("abc", "s3", Unsignable::InvalidDigest),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "s3", Unsignable::SignedChunks),
    ] {
        assert_eq!(stated(value, service, BodyDigest::Unknown), Err(problem));
    }
    let unstated = |service: &str, body| {
        let mut head = head("PUT", "/", &[]);
        signed(&mut head, service, body).map(|_| head.headers.get(DIGEST).cloned())
    };
    assert_eq!(
        unstated("s3", BodyDigest::Unknown),
        Ok(Some(HeaderValue::from_static("UNSIGNED-PAYLOAD")))
    );
    assert_eq!(unstated("dynamodb", BodyDigest::Sha256([1; 32])), Ok(None));
    assert_eq!(unstated("dynamodb", BodyDigest::Unknown), Err(Unsignable::NoDigest));
    let mut presigned = head("GET", "/?a=1&X-Amz-Signature=abc", &[]);
    assert_eq!(signed(&mut presigned, "s3", BodyDigest::Empty), Err(Unsignable::Presigned));
}

proptest! {
    #[test]
    fn neither_the_order_nor_the_escaping_of_parameters_changes_a_signature(
        mut pairs in prop::collection::vec(("[a-zA-Z /+]{1,6}", "[ -~]{0,6}"), 1..6), seed in any::<u64>()
    ) {
        let target = |pairs: &[(String, String)], all: bool| {
            let escape = |text: &str| -> String {
                text.bytes().map(|byte| {
                    let plain = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
                    if plain && !all { char::from(byte).to_string() } else { format!("%{byte:02x}") }
                }).collect()
            };
            let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
            format!("/?{}", pairs.join("&"))
        };
        let one = of_suite("GET", &target(&pairs, false), &[], "");
        let at = (seed as usize) % pairs.len();
        pairs.rotate_left(at);
        prop_assert_eq!(&one, &of_suite("GET", &target(&pairs, true), &[], ""));
        pairs[0].1.push('x');
        prop_assert_ne!(&one, &of_suite("GET", &target(&pairs, false), &[], ""));
    }

    #[test]
    fn whatever_is_sent_is_signed_without_a_panic(path in "/[ -~&&[^#?\"<>`{}|^\\\\ ]]{0,30}", query in "[!-~&&[^#\"<>]]{0,30}") {
        if let Ok(uri) = format!("{path}?{query}").parse::<http::Uri>() {
            let mut head = head("GET", "/", &[]);
            (head.uri, head.method) = (uri, Method::DELETE);
            let result = signed(&mut head, "execute-api", BodyDigest::Empty);
            prop_assert!(matches!(result, Ok(_) | Err(Unsignable::Presigned)));
        }
    }
}
