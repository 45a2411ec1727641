//! Placeholders and decoys on their way out.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};

use super::support::*;
use crate::credential::*;

#[tokio::test]
async fn a_placeholder_becomes_the_secret_where_the_binding_says() {
    let (vault, _) = simple_vault();
    let mine = vault.placeholder("se-a", &name("key")).to_string();
    let bindings = bind_placeholder(Place::bearer());
    let mut one = head("/", &[("Authorization", &format!("Bearer {mine}"))]);
    prepare(&vault, &bindings, &mut one).await.expect("prepared");
    assert_eq!(values(&one, "authorization"), [format!("Bearer {SECRET}")]);

    let bindings = bind_placeholder(Place::basic("git").expect("a place"));
    let sent = STANDARD.encode(format!("me:{mine}"));
    let mut two = head("/", &[("Authorization", &format!("basic {sent}"))]);
    prepare(&vault, &bindings, &mut two).await.expect("prepared");
    let encoded = STANDARD.encode(format!("git:{SECRET}"));
    assert_eq!(values(&two, "authorization"), [format!("Basic {encoded}")]);

    let bindings = bind_placeholder(Place::query("key").expect("a place"));
    let mut three = head(&format!("/?a=1&k%65y={mine}"), &[]);
    prepare(&vault, &bindings, &mut three).await.expect("prepared");
    assert!(three.uri.to_string().starts_with("/?a=1&key=SVCANARY"));
}

#[tokio::test]
async fn a_request_without_its_placeholder_gets_no_credential() {
    let (vault, _) = simple_vault();
    let bindings = bind_placeholder(Place::bearer());
    let mut head = head("/", &[("Authorization", "Bearer mine"), ("Accept-Encoding", "gzip")]);
    let prepared = prepare(&vault, &bindings, &mut head).await.expect("prepared");
    assert_eq!(prepared.credentials().count(), 0);
    assert_eq!(values(&head, "authorization"), ["Bearer mine"]);
    assert_eq!(values(&head, "accept-encoding"), ["identity"], "an earlier one may have had it");
}

#[tokio::test]
async fn a_placeholder_that_goes_astray_is_refused_and_raises_an_alarm() {
    let (vault, _) = simple_vault();
    let mine = vault.placeholder("se-a", &name("key")).to_string();
    let strange = vault.placeholder("se-b", &name("key")).to_string();
    let bound = bind_placeholder(Place::bearer());
    let bearer = |placeholder: &str| format!("Bearer {placeholder}");
    let basic = format!("Basic {}", STANDARD.encode(format!("x:{mine}")));
    for (bindings, target, field, value) in [
        (&[][..], "/".to_owned(), "authorization", bearer(&mine)),
        (&[], "/".to_owned(), "authorization", basic),
        (&[], format!("/{mine}"), "x", String::new()),
        (&[], format!("/?q=x{mine}x"), "x", String::new()),
        (&bound, "/".to_owned(), "authorization", bearer(&strange)),
        (&bound, "/".to_owned(), "x-other", bearer(&mine)),
    ] {
        let mut head = head(&target, &[(field, &value)]);
        let refusal = prepare(&vault, bindings, &mut head).await.expect_err("astray");
        assert_eq!(refusal.code, RefusalCode::PlaceholderMisplaced, "{target} {value}");
        assert!(refusal.code.is_alarm());
    }
}

/// What comes of a request's body.
async fn outbound(
    prepared: &Prepared,
    body: &str,
) -> Result<Bytes, Box<dyn std::error::Error + Send + Sync>> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    prepared.outbound(body, |_| ()).collect().await.map(|body| body.to_bytes())
}

#[tokio::test]
async fn a_body_cannot_carry_a_placeholder_to_where_it_is_not_bound() {
    let (vault, _) = simple_vault();
    let mine = vault.placeholder("se-a", &name("key"));
    let text = format!("my environment: KEY={mine}\n");
    let unbound = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    let body = unbound.outbound(Full::new(Bytes::from(text.clone())), move |refusal| {
        tells.lock().expect("no panic").push(refusal.code);
    });
    assert!(body.collect().await.is_err());
    assert_eq!(*told.lock().expect("no panic"), [RefusalCode::PlaceholderMisplaced]);
    // Where it is bound it may travel in a body, as it is.
    let bound = bind_placeholder(Place::bearer());
    let bound = prepare(&vault, &bound, &mut head("/", &[])).await.expect("prepared");
    assert_eq!(outbound(&bound, &text).await.expect("may travel"), text);
    assert_eq!(
        outbound(&unbound, "harmless svph_abc").await.expect("harmless"),
        "harmless svph_abc"
    );
}

#[tokio::test]
async fn a_decoy_cannot_leave_in_any_encoding() {
    let (vault, _) = simple_vault();
    let decoy = "AKIADECOYDECOY0001";
    vault.load(vec![definition("key", fixed(SECRET))], &[secret(decoy)], &Default::default());
    let encoded = STANDARD.encode(format!("{{\"key\": \"{decoy}\"}}"));
    for (target, value) in [
        (format!("/{decoy}"), String::new()),
        ("/".to_owned(), decoy.to_lowercase()),
        ("/".to_owned(), encoded.clone()),
        ("/".to_owned(), format!("Basic {}", STANDARD.encode(format!("{decoy}:x")))),
    ] {
        let mut head = head(&target, &[("x", &value)]);
        let refusal =
            prepare(&vault, &bind(Place::bearer()), &mut head).await.expect_err("a decoy");
        assert_eq!(refusal.code, RefusalCode::Canary);
    }
    let mut named = head("/", &[(decoy, "y")]);
    assert!(prepare(&vault, &[], &mut named).await.is_err(), "as a field's name");
    let mut method = head("/", &[]);
    method.method = decoy.parse().expect("a method");
    assert!(prepare(&vault, &[], &mut method).await.is_err(), "as a method");
    let host = format!("{}.example.com", decoy.to_lowercase());
    assert_eq!(vault.look_at_host(&host).expect_err("a decoy").code, RefusalCode::Canary);
    assert!(vault.look_at_host("api.example.com").is_ok());
    let prepared = prepare(&vault, &[], &mut head("/", &[])).await.expect("prepared");
    assert!(outbound(&prepared, &encoded).await.is_err());
    assert!(outbound(&prepared, "harmless").await.is_ok());
}
