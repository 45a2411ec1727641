//! A secret that comes back is seen in every encoding and every division; what is none passes.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use proptest::prelude::*;
use tokio::runtime;

use super::*;

const SECRET: &str = "sk-Live/9+aZ&q\"w<e>%41\\u0041=8f";

fn watch(secret: &str) -> Vec<Arc<Watch>> {
    vec![Arc::new(Watch::new([secret.as_bytes()]))]
}

/// What comes out of a stream that is divided at these places, and whether it was cut.
fn run(secret: &str, text: &[u8], cuts: &[usize]) -> (Vec<u8>, bool) {
    let mut watcher = Watcher::new(watch(secret));
    let (mut out, mut rest) = (Vec::new(), text);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (now, later) = rest.split_at((*cut).clamp(1, rest.len()));
        match watcher.pass(Bytes::copy_from_slice(now)) {
            Ok(bytes) => out.extend_from_slice(&bytes),
            Err(Seen) => return (out, true),
        }
        rest = later;
    }
    out.extend_from_slice(&watcher.finish());
    (out, false)
}

fn percent(text: &str, every: bool) -> String {
    let escape = |c: char| format!("%{:02X}", c as u32);
    text.chars()
        .map(|c| if every || !c.is_ascii_alphanumeric() { escape(c) } else { c.into() })
        .collect()
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('/', "&#x2F;")
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("text").replace('/', "\\/").replace('<', "\\u003c")
}

fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02X}")).collect()
}

fn spaced(text: &str, between: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(between)
}

/// The lesser byte first; with a zero before it, the other way round.
fn utf_16(text: &str) -> impl Iterator<Item = char> {
    text.chars().flat_map(|c| [c, '\0'])
}

fn mail(text: &str) -> String {
    let lines = text.as_bytes().chunks(19).map(|line| String::from_utf8_lossy(line).into_owned());
    lines.collect::<Vec<_>>().join("\r\n")
}

/// A secret in every encoding that is covered.
fn encodings(secret: &str) -> Vec<String> {
    let mut all = vec![
        secret.to_owned(),
        secret.to_uppercase(),
        percent(secret, false),
        percent(secret, true).to_lowercase(),
        html(secret),
        json(secret),
        hexadecimal(secret),
        hexadecimal(secret).to_lowercase(),
        spaced(secret, " "),
        spaced(secret, ":").to_lowercase(),
        spaced(secret, "-"),
        percent(&spaced(secret, " "), true),
        utf_16(secret).collect(),
        format!("\0{}", utf_16(secret).collect::<String>()),
        mail(secret),
    ];
    for before in ["", "x", "xy", "{\"Authorization\": \"Bearer "] {
        let inner = format!("{before}{secret}\"}}");
        all.extend([
            STANDARD.encode(&inner),
            URL_SAFE_NO_PAD.encode(&inner),
            percent(&STANDARD.encode(&inner), false),
            mail(&STANDARD.encode(&inner)),
        ]);
    }
    all
}

#[test]
fn a_secret_is_seen_in_every_encoding_at_every_division() {
    for encoded in encodings(SECRET) {
        for around in [("", ""), ("text before ", " text after"), ("%", ";"), ("sk-sk-", "sk-")] {
            let text = format!("{}{encoded}{}", around.0, around.1);
            for cut in 1..=text.len() {
                let (out, cut_off) = run(SECRET, text.as_bytes(), &[cut]);
                assert!(cut_off, "{text} in pieces of {cut}");
                // At most the unheld characters of the secret, each as it was encoded.
                let leaked = out.len().saturating_sub(around.0.len());
                assert!(
                    leaked <= text.len() - encoded.len() + 6 * (UNHELD + 1) + 32,
                    "{text}: {leaked}"
                );
            }
        }
    }
}

#[test]
fn no_more_of_a_secret_goes_out_than_its_first_characters() {
    for cut in [1, 2, 3, 5, 8] {
        let (out, cut_off) = run(SECRET, SECRET.as_bytes(), &[cut]);
        assert!(cut_off);
        assert!(out.len() <= UNHELD, "{}", String::from_utf8_lossy(&out));
    }
}

#[test]
fn an_ordinary_message_goes_out_at_once() {
    let mut watcher = Watcher::new(watch(SECRET));
    for message in ["data: {\"x\": 1}\n\n", "data: sk-\n\n", "data: s", "k-", "% \\ &", "\n\n"] {
        assert!(
            watcher.pass(Bytes::from(message)).is_ok_and(|passed| passed == message),
            "{message}"
        );
        assert_eq!(watcher.held(), 0);
    }
}

#[test]
fn a_beginning_that_goes_on_otherwise_is_given_out_unchanged() {
    let text = format!(
        "{}X {} \r\n\r\n\r\n{}",
        &SECRET[..20],
        &percent(SECRET, true)[..50],
        &SECRET[..30]
    );
    for cut in 1..=text.len() {
        assert_eq!(run(SECRET, text.as_bytes(), &[cut]), (text.clone().into_bytes(), false));
    }
}

#[test]
fn line_ends_cannot_make_it_hold_back_without_end() {
    let mut watcher = Watcher::new(watch(SECRET));
    watcher.pass(Bytes::copy_from_slice(&SECRET.as_bytes()[..10])).expect("only a part");
    assert_eq!(watcher.held(), 10);
    for _ in 0..1000 {
        watcher.pass(Bytes::from_static(b"\n")).expect("no secret");
        assert!(watcher.held() <= 12);
    }
}

#[test]
fn any_of_several_secrets_is_seen() {
    let watches = vec![
        Arc::new(Watch::new([b"first-secret".as_slice(), b"other-secret"])),
        watch("third-secret").remove(0),
    ];
    for secret in ["first-secret", "other-secret", "third-secret"] {
        assert!(seen_in(&watches, format!("x{secret}").as_bytes()));
    }
    assert!(!seen_in(&watches, b"first-secreother-secrthird-secre"));
}

proptest! {
    #[test]
    fn a_random_secret_is_seen_whatever_stands_around_it(
        secret in "[!-~]{8,60}", before in "[ -~\r\n]{0,40}", after in "[ -~]{0,20}",
        which in 0usize..31, cuts in prop::collection::vec(1usize..20, 1..20),
    ) {
        let encoded = encodings(&secret).swap_remove(which);
        // A backslash or an ampersand just before would begin another escape with it.
        let before = before.trim_end_matches(['\\', '&', '%']).to_owned() + " ";
        let text = format!("{before}{encoded}{after}");
        let (out, cut_off) = run(&secret, text.as_bytes(), &cuts);
        prop_assert!(cut_off);
        prop_assert!(text.as_bytes().starts_with(&out));
    }

    #[test]
    fn hostile_bytes_pass_unchanged_or_are_cut(
        text in prop::collection::vec(prop::sample::select(b"abcab%5\\u006&#x;1\r\n AB".to_vec()), 0..200),
        cuts in prop::collection::vec(1usize..20, 1..20),
    ) {
        let (out, cut_off) = run("abcabcab", &text, &cuts);
        prop_assert!(text.starts_with(&out));
        prop_assert!(cut_off || out.len() == text.len());
        if text.to_ascii_lowercase().windows(8).any(|window| window == b"abcabcab") {
            prop_assert!(cut_off);
        }
    }
}

/// A body of these frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

/// What comes of a body, and whether it was cut.
fn collect(frames: Vec<Frame<Bytes>>) -> (Vec<u8>, bool, bool) {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut body =
            Watched::new(Frames(frames.into()), watch(SECRET).into(), || "repeated".into());
        let (mut bytes, mut trailers) = (Vec::new(), false);
        while let Some(frame) = body.frame().await {
            match frame {
                Err(_) => {
                    assert!(body.frame().await.is_none(), "a body that was cut has ended");
                    return (bytes, trailers, true);
                }
                Ok(frame) => match frame.into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(_) => trailers = true,
                },
            }
        }
        assert!(body.is_end_stream());
        (bytes, trailers, false)
    })
}

fn data(text: &str) -> Frame<Bytes> {
    Frame::data(Bytes::copy_from_slice(text.as_bytes()))
}

fn trailers(value: &str) -> Frame<Bytes> {
    let mut fields = HeaderMap::new();
    fields.insert("x-trailer", value.parse().expect("a value"));
    Frame::trailers(fields)
}

#[test]
fn a_body_ends_in_an_error_where_it_would_repeat_a_secret() {
    let (one, two) = SECRET.split_at(12);
    let (bytes, _, cut) = collect(vec![data("hello "), data(one), data(two), data("more")]);
    assert!(cut);
    assert_eq!(bytes, b"hello ");
}

#[test]
fn a_trailer_cannot_repeat_a_secret() {
    let (bytes, trailers, cut) = collect(vec![data("hello"), trailers(SECRET)]);
    assert_eq!((bytes.as_slice(), trailers, cut), (&b"hello"[..], false, true));
}

#[test]
fn what_was_held_back_goes_out_at_the_end_and_before_trailers() {
    let part = &SECRET[..12];
    assert_eq!(
        collect(vec![data("x"), data(part)]),
        (format!("x{part}").into_bytes(), false, false)
    );
    let whole = collect(vec![data("x"), data(part), trailers("y")]);
    assert_eq!(whole, (format!("x{part}").into_bytes(), true, false));
}
