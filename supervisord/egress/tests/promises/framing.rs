//! A request can be read in one way only, by us and by every server behind us.

use crate::wire::{proxy, status};
use crate::world::World;

const RULES: &str = "[[egress]]\nname = \"up\"\nhosts = [\"up.test\", \"raw.test\"]\nprotocols = [\"http\"]\n\
                     addresses = [\"203.0.113.0/24\"]\n";

const SMUGGLED: &str = "GET http://up.test/smuggled HTTP/1.1\r\nHost: up.test\r\n\r\n";

#[test]
fn a_body_whose_end_is_ambiguous_is_refused_and_hides_no_request() {
    let world = World::new(RULES);
    for variant in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
        "Content-Length: 0, 44\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Content-Length: 0x0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n0;a=\nb\r\n\r\n",
        "Content-Length: 0\n\n",
        "X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
        "Content-Length: 0\r\nX\0Y: 1\r\n\r\n",
        " Content-Length: 44\r\n\r\n",
        "Upgrade: websocket\r\nContent-Length: 4\r\n\r\n",
    ] {
        let request =
            format!("POST http://up.test/digest HTTP/1.1\r\nHost: up.test\r\n{variant}{SMUGGLED}");
        let answer = proxy(request.as_bytes());
        assert_eq!(status(&answer), 400, "{variant:?}: {answer}");
        assert_eq!(answer.matches("content-length: ").count(), 1, "{variant:?}: {answer}");
    }
    let old = format!(
        "POST http://up.test/digest HTTP/1.0\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
    );
    assert_eq!(status(&proxy(old.as_bytes())), 400);
    let seen = world.seen.requests();
    assert!(seen.iter().all(|request| !request.contains("smuggled")), "{seen:?}");
}

#[test]
fn a_good_request_is_answered_before_the_bad_one_behind_it_is_refused() {
    let world = World::new(RULES);
    let good =
        "POST http://up.test/echo HTTP/1.1\r\nHost: up.test\r\nContent-Length: 5\r\n\r\nhello";
    for bad in [
        "NO\r\n\r\n".to_owned(),
        "GET http://up.test/ HTTP/1.1\r\nHost: up.test\r\nContent-Length: 1, 2\r\n\r\n".to_owned(),
        format!(
            "POST http://up.test/ HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n{SMUGGLED}"
        ),
    ] {
        let answer = proxy(format!("{good}{bad}").as_bytes());
        let first = answer.find("HTTP/1.1 200").and_then(|_| answer.find("\r\n\r\nhello"));
        let second = answer.rfind("HTTP/1.1 400");
        assert!(first.is_some() && first < second, "{bad:?}: {answer}");
        let mut stream = crate::wire::connect("127.0.0.1:3128");
        std::io::Write::write_all(&mut stream, good.as_bytes()).unwrap();
        std::io::Write::write_all(&mut stream, bad.as_bytes()).unwrap();
        let answer = crate::wire::hear(&mut stream);
        assert_eq!(answer.matches("HTTP/1.1 200").count(), 1, "apart, {bad:?}: {answer}");
        assert!(answer.contains("HTTP/1.1 400"), "apart, {bad:?}: {answer}");
    }
    let seen = world.seen.requests();
    assert!(seen.iter().all(|request| !request.contains("smuggled")), "{seen:?}");
}

#[test]
fn bodies_in_chunks_and_with_a_length_arrive_whole() {
    let world = World::new(RULES);
    let chunked = "POST http://up.test/digest HTTP/1.1\r\nHost: up.test\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Trailer\r\nConnection: close\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n";
    assert!(proxy(chunked.as_bytes()).ends_with("8 bytes"));
    let heard = world.curl_proxied(&["--data-binary", "@/proc/self/exe", "http://up.test/digest"]);
    assert_eq!(heard.code(), 200, "{heard:?}");
    let heard =
        world.curl_proxied(&["-H", "Expect: 100-continue", "-d", "hello", "http://up.test/echo"]);
    assert!(heard.out.contains("100 Continue") && heard.body() == "hello", "{heard:?}");
}

#[test]
fn a_response_whose_end_is_ambiguous_is_not_passed_on() {
    let world = World::new(RULES);
    for response in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "no http at all\r\n\r\n",
        "",
    ] {
        let target: String = response.bytes().map(|byte| format!("{byte:02x}")).collect();
        let heard = world.curl_proxied(&[&format!("http://raw.test/{target}")]);
        assert_eq!(heard.code(), 502, "{response:?}: {heard:?}");
        assert!(
            heard.out.to_lowercase().contains("proxy-status: supervisord; error="),
            "{heard:?}"
        );
    }
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort";
    let target: String = short.bytes().map(|byte| format!("{byte:02x}")).collect();
    let heard = world.curl_proxied(&[&format!("http://raw.test/{target}")]);
    assert_eq!(heard.status, 18, "a cut body looks cut: {heard:?}");
}
