//! What stands behind a request's body reaches its upstream, or the request is refused by name.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt, Full};

use crate::multiplexed::{client, run};
use crate::wire::{proxy, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"raw.test\"]\n\
                     protocols = [\"http\", \"https\"]\nports = [80, 443, 8443]\n\
                     addresses = [\"203.0.113.0/24\"]\ntls = \"inspect\"\n";

/// What is answered to a body in chunks with this field in the head and this one behind it.
fn chunks(method: &str, field: &str, trailer: &str) -> String {
    let head =
        format!("{method} http://up.test/sums HTTP/1.1\r\nHost: up.test\r\nConnection: close\r\n");
    let body = format!("Transfer-Encoding: chunked\r\n{field}\r\n4\r\nbody\r\n0\r\n{trailer}\r\n");
    proxy(format!("{head}{body}").as_bytes())
}

#[test]
fn what_a_request_announces_behind_its_body_arrives_and_all_else_is_refused() {
    let world = World::new(RULES);
    let answer = chunks("POST", "Trailer: X-Sum\r\n", "X-Sum: 7\r\n");
    assert!(answer.ends_with("body x-sum=7"), "{answer}");
    let unannounced = chunks("POST", "", "X-Sum: 7\r\n");
    assert!(
        status(&unannounced) == 400 && unannounced.contains("trailers_not_forwarded"),
        "{unannounced}"
    );
    let forbidden = chunks("POST", "Trailer: Authorization\r\n", "Authorization: Basic x\r\n");
    assert!(status(&forbidden) == 400 && forbidden.contains("trailer_not_allowed"), "{forbidden}");
    let decoy =
        chunks("POST", "Trailer: X-Sum\r\n", &format!("X-Sum: svph_{}\r\n", "a".repeat(32)));
    assert!(status(&decoy) == 403 && decoy.contains("placeholder_misplaced"), "{decoy}");
    assert!(world.seen.sums() == ["body x-sum=7"], "{:?}", world.seen.sums());
}

#[test]
fn over_http_2_they_arrive_at_upstreams_of_either_version() {
    let world = World::new(RULES);
    let ask = async |port: u16, has_length: bool, announces: bool| {
        let mut client = client(&world, port, 1 << 16).await;
        let field = (HeaderName::from_static("x-sum"), HeaderValue::from_static("7"));
        let behind = HeaderMap::from_iter([field]);
        let body = Full::new(Bytes::from_static(b"body")).with_trailers(async { Some(Ok(behind)) });
        let mut request = Request::post(format!("https://up.test:{port}/sums"));
        if has_length {
            request = request.header("content-length", "4");
        }
        if announces {
            request = request.header("trailer", "x-sum");
        }
        client.ready().await.unwrap();
        let answer = client.send_request(request.body(body.boxed_unsync()).unwrap()).await.unwrap();
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8_lossy(&body).into_owned())
    };
    run(async {
        for has_length in [true, false] {
            for (port, announces) in [(443, true), (443, false), (8443, true)] {
                let (code, body) = ask(port, has_length, announces).await;
                assert_eq!((code, body.as_str()), (200, "body x-sum=7"), "{port}");
            }
            let (code, body) = ask(8443, has_length, false).await;
            assert!(code == 400 && body.contains("trailers_not_forwarded"), "{code} {body}");
        }
    });
}

#[test]
fn a_body_without_a_length_is_never_left_out() {
    let world = World::new(RULES);
    let answer = chunks("GET", "", "");
    assert!(answer.ends_with("\r\nbody"), "{answer}");
    assert_eq!(world.seen.sums(), ["body"]);
    // A server of HTTP/1.0 takes no chunks, and what it said before would be known of its connection.
    let old = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok";
    let target: String = old.bytes().map(|byte| format!("{byte:02x}")).collect();
    let twice = [format!("http://raw.test/{target}"), format!("http://raw.test/{target}?")];
    let heard = world.curl_proxied(&[&twice[0], &twice[1]]);
    assert_eq!(heard.status, 0, "{heard:?}");
    let connections = world.seen.connections();
    let to_it = connections.iter().filter(|address| **address == "203.0.113.20:80").count();
    assert_eq!(to_it, 2, "{connections:?}");
}
