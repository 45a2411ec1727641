//! What a request carries, and where it may go.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use zeroize::Zeroizing;

use super::support::*;
use crate::credential::*;

#[tokio::test]
async fn a_header_field_of_the_payload_is_replaced_and_not_doubled() {
    let (vault, _) = simple_vault();
    let fields =
        [("Authorization", "Bearer DUMMY"), ("authorization", "Basic eDp5"), ("X-Other", "1")];
    let mut head = head("/v1", &fields);
    let prepared = prepare(&vault, &bind(Place::bearer()), &mut head).await.expect("prepared");
    assert_eq!(values(&head, "authorization"), [format!("Bearer {SECRET}")]);
    assert_eq!(values(&head, "x-other"), ["1"]);
    assert_eq!(prepared.credentials().map(|name| name.as_str()).collect::<Vec<_>>(), ["key"]);
    assert!(!prepared.is_renewable());
}

#[tokio::test]
async fn a_template_a_password_and_a_parameter_take_the_value() {
    let (vault, _) = simple_vault();
    let place = Place::header("X-Api-Key", "key={};v=1").expect("a place");
    let mut one = head("/", &[]);
    prepare(&vault, &bind(place), &mut one).await.expect("prepared");
    assert_eq!(values(&one, "x-api-key"), [format!("key={SECRET};v=1")]);

    let mut two = head("/", &[("Authorization", "Bearer DUMMY")]);
    let place = Place::basic("x-token").expect("a place");
    prepare(&vault, &bind(place), &mut two).await.expect("prepared");
    let encoded = STANDARD.encode(format!("x-token:{SECRET}"));
    assert_eq!(values(&two, "authorization"), [format!("Basic {encoded}")]);

    let mut three = head("/a?key=DUMMY&q=1", &[]);
    let place = Place::query("key").expect("a place");
    prepare(&vault, &bind(place), &mut three).await.expect("prepared");
    let target = three.uri.to_string();
    assert_eq!(target, "/a?q=1&key=SVCANARY-0123%2B%2F%3DAb%26c%2541%22%3Cd%3E");
}

#[tokio::test]
async fn a_signed_request_to_a_host_of_another_secret_asks_for_what_can_be_searched() {
    let key = AwsKey { id: "AKID".to_owned(), secret: secret("signing-key"), session_token: None };
    let signing = definition("key", Supply::Fixed(Value::Aws(key)));
    let (vault, _) = vault(vec![signing, definition("other", fixed(SECRET))]);
    let bindings = bind(Place::sigv4("eu-central-1", "s3").expect("a place"));
    let mut head = head("/bucket/key", &[("Range", "bytes=0-9"), ("Accept-Encoding", "gzip")]);
    prepare(&vault, &bindings, &mut head).await.expect("prepared");
    assert_eq!(values(&head, "range"), [""; 0]);
    assert_eq!(values(&head, "accept-encoding"), ["identity"]);
}

#[tokio::test]
async fn a_key_that_signs_is_not_sent() {
    let key = AwsKey {
        id: "AKIDEXAMPLE".to_owned(),
        secret: secret(SECRET),
        session_token: Some(secret("session-token")),
    };
    let (vault, _) = vault(vec![definition("key", Supply::Fixed(Value::Aws(key)))]);
    let bindings = bind(Place::sigv4("eu-central-1", "s3").expect("a place"));
    let mut head = head("/bucket/key", &[("Range", "bytes=0-9"), ("Authorization", "AWS4 mine")]);
    prepare(&vault, &bindings, &mut head).await.expect("prepared");
    let [value] = &values(&head, "authorization")[..] else { panic!("one value") };
    assert!(value.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{value}");
    assert_eq!(values(&head, "x-amz-security-token"), ["session-token"]);
    // The token was sent, so it could come back.
    assert_eq!(values(&head, "range"), [""; 0]);
    assert_eq!(values(&head, "accept-encoding"), ["identity"]);
    let sent = head.headers.values().map(|value| value.as_bytes().to_vec()).collect::<Vec<_>>();
    assert!(!sent.concat().windows(SECRET.len()).any(|window| window == SECRET.as_bytes()));
}

#[tokio::test]
async fn a_request_that_is_signed_by_a_key_without_a_token_is_left_as_it_is() {
    let key = AwsKey { id: "AKID".to_owned(), secret: secret(SECRET), session_token: None };
    let (vault, _) = vault(vec![definition("key", Supply::Fixed(Value::Aws(key)))]);
    let bindings = bind(Place::sigv4("eu-central-1", "s3").expect("a place"));
    let mut head = head("/bucket/key", &[("Range", "bytes=0-9"), ("Accept-Encoding", "gzip")]);
    prepare(&vault, &bindings, &mut head).await.expect("prepared");
    assert_eq!(values(&head, "range"), ["bytes=0-9"]);
    assert_eq!(values(&head, "accept-encoding"), ["gzip"]);
}

#[tokio::test]
async fn a_body_is_read_first_only_where_its_digest_is_signed() {
    let (vault, _) = simple_vault();
    let head = head("/", &[]);
    let sign = |service| bind(Place::sigv4("eu-central-1", service).expect("a place"));
    assert_eq!(vault.body_to_digest(&sign("dynamodb"), &head), Some(MAX_SIGNED_BODY));
    assert_eq!(vault.body_to_digest(&sign("s3"), &head), None);
    assert_eq!(vault.body_to_digest(&bind(Place::bearer()), &head), None);
}

#[tokio::test]
async fn a_credential_goes_nowhere_but_to_its_hosts_and_only_within_tls() {
    let (vault, _) = simple_vault();
    let bindings = bind(Place::bearer());
    let right = wanted(&bindings);
    for (wrong, code) in [
        (Wanted { host: "other.example.com", ..right }, RefusalCode::OutOfBounds),
        (Wanted { host: "sub.api.example.com", ..right }, RefusalCode::OutOfBounds),
        (Wanted { host: "203.0.113.10", ..right }, RefusalCode::OutOfBounds),
        (Wanted { port: 8443, ..right }, RefusalCode::OutOfBounds),
        (Wanted { encrypted: false, ..right }, RefusalCode::NotEncrypted),
    ] {
        let mut head = head("/", &[]);
        let refusal = vault.prepare(&wrong, &mut head).await.expect_err("out of bounds");
        assert_eq!(refusal.code, code);
        assert!(head.headers.is_empty());
    }
}

#[tokio::test]
async fn a_request_that_asks_to_be_sent_back_carries_nothing() {
    let (vault, _) = simple_vault();
    let mut head = head("/", &[]);
    head.method = Method::TRACE;
    let refusal = prepare(&vault, &bind(Place::bearer()), &mut head).await.expect_err("refused");
    assert_eq!(refusal.code, RefusalCode::Unsuitable);
}

#[tokio::test]
async fn two_credentials_cannot_have_one_place_and_an_unknown_one_has_none() {
    let definitions = vec![definition("key", fixed(SECRET)), definition("other", fixed(SECRET))];
    let (vault, _) = vault(definitions);
    let mut bindings = bind(Place::bearer());
    bindings.extend(bind(Place::basic("x").expect("a place")));
    bindings[1].credential = name("other");
    let refusal = prepare(&vault, &bindings, &mut head("/", &[])).await.expect_err("refused");
    assert_eq!(refusal.code, RefusalCode::Unsuitable);
    bindings[1].place = Place::query("key").expect("a place");
    assert!(prepare(&vault, &bindings, &mut head("/", &[])).await.is_ok());
    bindings[1].credential = name("nobody");
    let refusal = prepare(&vault, &bindings, &mut head("/", &[])).await.expect_err("refused");
    assert_eq!(refusal.code, RefusalCode::Unknown);
}

#[tokio::test]
async fn a_revoked_credential_is_refused_and_a_rotated_one_is_new_from_the_next_request_on() {
    let (vault, _) = simple_vault();
    let bindings = bind(Place::bearer());
    let mut before = head("/", &[]);
    let under_way = prepare(&vault, &bindings, &mut before).await.expect("prepared");

    assert!(vault.revoke(&name("key")) && !vault.revoke(&name("nobody")));
    assert_eq!(vault.list()[0].condition, Condition::Revoked);
    let refusal = prepare(&vault, &bindings, &mut head("/", &[])).await.expect_err("revoked");
    assert_eq!(refusal.code, RefusalCode::Revoked);
    assert!(refusal.remedy.contains("supervisorctl credentials rotate key"));

    // Loaded anew, it is never for use in between.
    vault.load(vec![definition("key", fixed(SECRET))], &[], &[name("key")].into());
    assert!(prepare(&vault, &bindings, &mut head("/", &[])).await.is_err());

    vault.rotate(definition("key", fixed("another-secret")));
    assert_eq!(vault.list()[0].condition, Condition::Ready(None));
    let mut after = head("/", &[]);
    prepare(&vault, &bindings, &mut after).await.expect("prepared");
    assert_eq!(values(&after, "authorization"), ["Bearer another-secret"]);

    // The one under way goes on with the old value and is still watched for it.
    assert_eq!(values(&before, "authorization"), [format!("Bearer {SECRET}")]);
    let mut response =
        http::Response::builder().header("x", SECRET).body(()).expect("a response").into_parts().0;
    assert!(under_way.screen(&mut response).is_err());
}

#[tokio::test]
async fn nothing_prints_a_secret() {
    let key = AwsKey { id: "AKID".to_owned(), secret: secret(SECRET), session_token: None };
    let client = Client {
        endpoint: Endpoint::parse("https://login.example.com/token").expect("an endpoint"),
        id: "client".to_owned(),
        secret: Some(secret(SECRET)),
        authentication: ClientAuthentication::Basic,
        parameters: Vec::new(),
        grant: Grant::ClientCredentials,
    };
    let printed = format!("{client:?}");
    let definitions =
        vec![definition("key", fixed(SECRET)), definition("aws", Supply::Fixed(Value::Aws(key)))];
    let (vault, notices) = vault(definitions);
    vault.load(vec![definition("key", fixed(SECRET))], &[secret(SECRET)], &Default::default());
    let mut head = head("/", &[]);
    let prepared = prepare(&vault, &bind(Place::bearer()), &mut head).await.expect("prepared");
    let refusal = prepared.stream_reflected();
    let listing = vault.list();
    let key = PlaceholderKey::new(&Zeroizing::new(*b"SVCANARY-0123SVCANARY-0123SVCANA"));
    let printed = format!(
        "{printed} {vault:?} {head:?} {prepared:?} {refusal:?} {refusal} {listing:?} {notices:?} {key:?}"
    );
    assert!(!printed.contains("SVCANARY-0123"), "{printed}");
}
