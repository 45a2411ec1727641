//! What egress rules promise, each in a sentence.

use std::net::IpAddr;

use crate::diagnostic::Diagnostics;
use crate::egress::{
    Client, ClientOrigins, Destination, Egress, HostName, Location, Protocol, Question, Reason,
    Treatment, Verdict,
};
use crate::floor::Floor;
use crate::resolved::Resolved;
use crate::set::PolicySet;

mod denied;

const BASE: &str = include_str!("../../../../policies/default.toml");

fn load(text: &str, clients: &ClientOrigins) -> Result<Resolved, Diagnostics> {
    let text = format!("name = \"child\"\nextends = \"default\"\n{text}");
    let files = [("default.toml".to_owned(), BASE.to_owned()), ("child.toml".to_owned(), text)];
    let set = PolicySet::load_for_clients(files, Floor::builtin().unwrap(), clients)?;
    Ok(Resolved::clone(set.resolve("child").unwrap()))
}

fn egress(text: &str) -> Egress {
    let loaded = load(text, &ClientOrigins::default()).unwrap_or_else(|wrong| panic!("{wrong}"));
    loaded.egress().clone()
}

fn refused(text: &str) -> String {
    load(text, &ClientOrigins::default()).unwrap_err().to_string()
}

fn reason(egress: &Egress, question: &str) -> Reason {
    Question::parse(question).unwrap().put_to(egress).reason()
}

const PUBLIC: &str = "[[egress]]\nname = \"public\"\nhosts = [\"up.test\"]\nmethods = [\"GET\"]\n\
                      paths = [\"/public/**\", \"/ok\"]\n";

#[test]
fn what_no_rule_allows_is_denied() {
    let nothing = egress("");
    assert!(nothing.is_empty() && nothing.ports().is_empty());
    for question in ["GET https://up.test/", "dns up.test", "tcp up.test:22", "connect 8.8.8.8:443"]
    {
        assert_eq!(reason(&nothing, question), Reason::HostNotAllowed, "{question}");
    }
    let rules = egress(PUBLIC);
    for (question, expected) in [
        ("GET https://up.test/ok", Reason::Allowed),
        ("GET https://UP.test./public/", Reason::Allowed),
        ("GET https://other.test/ok", Reason::HostNotAllowed),
        ("GET https://sub.up.test/ok", Reason::HostNotAllowed),
        ("GET https://up.test:8443/ok", Reason::PortNotAllowed),
        ("GET http://up.test:443/ok", Reason::ProtocolNotAllowed),
        ("GET https://up.test/secret", Reason::PathNotAllowed),
        ("POST https://up.test/ok", Reason::MethodNotAllowed),
        ("GET https://up.test/ok?%5Fmethod=delete", Reason::MethodNotAllowed),
        ("GET https://up.test/ok?_method=get", Reason::Allowed),
        ("GET wss://up.test/ok", Reason::WebSocketNotAllowed),
        ("TRACE https://up.test/ok", Reason::InvalidMethod),
        ("CONNECT https://up.test/ok", Reason::InvalidMethod),
        ("get https://up.test/ok", Reason::InvalidMethod),
        ("GET https://up.test/public/%2e%2e/secret", Reason::InvalidTarget),
        ("GET https://up.test//ok", Reason::InvalidTarget),
        ("GET https://up.test/public/../secret", Reason::PathNotAllowed),
        ("dns up.test", Reason::Allowed),
        ("dns sub.up.test", Reason::HostNotAllowed),
        ("connect up.test:443", Reason::Allowed),
        ("tcp up.test:443", Reason::ProtocolNotAllowed),
    ] {
        assert_eq!(reason(&rules, question), expected, "{question}");
    }
}

#[test]
fn what_was_judged_is_what_is_sent() {
    let rules = egress(PUBLIC);
    let decision = Question::parse("GET https://up.test/a/../public/%41?q=/../x").unwrap();
    let permit = decision.put_to(&rules).permit().unwrap();
    assert_eq!(permit.target(), Some("/public/A?q=/../x"));
    let anywhere = egress("[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\n");
    let odd = Question::parse("GET https://up.test/@scope%2fname").unwrap().put_to(&anywhere);
    assert_eq!(odd.permit().unwrap().target(), None);
}

#[test]
fn deny_wins_whatever_the_order_and_the_parent() {
    let deny = "[[egress]]\nname = \"no\"\nverdict = \"deny\"\nhosts = [\"**.up.test\"]\n\
                paths = [\"/admin/**\"]\ndescription = \"administration is for people\"\n";
    let allow = "[[egress]]\nname = \"yes\"\nhosts = [\"a.up.test\"]\n";
    for text in [format!("{deny}{allow}"), format!("{allow}{deny}")] {
        let rules = egress(&text);
        assert_eq!(reason(&rules, "GET https://a.up.test/x"), Reason::Allowed);
        assert_eq!(reason(&rules, "GET https://a.up.test/admin/x"), Reason::DeniedByRule);
        let refusal = Question::parse("GET https://a.up.test/admin/x")
            .unwrap()
            .put_to(&rules)
            .permit_after_approval()
            .unwrap_err();
        assert!(refusal.cause().ends_with("administration is for people"), "{}", refusal.cause());
        assert_eq!(refusal.rule().rule(), Some("no"));
        let rule = refusal.rule().to_string();
        assert!(rule.starts_with("egress rule no of policy child (child.toml:"), "{rule}");
    }
}

#[test]
fn a_floor_denies_for_every_policy_and_allows_nothing() {
    let floor = |rule: &str| {
        Floor::load("floor.toml", &format!("name = \"floor\"\n[[egress]]\nname = \"f\"\n{rule}"))
    };
    let text =
        "name = \"x\"\nextends = \"default\"\n[[egress]]\nname = \"all\"\nhosts = [\"**\"]\n";
    let files = [("default.toml", BASE), ("x.toml", text)];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let bound = floor("verdict = \"deny\"\nhosts = [\"*.evil.test\"]\n").unwrap();
    let set = PolicySet::load(files.clone(), bound.clone()).unwrap();
    let policy = set.resolve("x").unwrap();
    assert_eq!(reason(policy.egress(), "GET https://a.evil.test/"), Reason::DeniedByRule);
    assert_eq!(reason(policy.egress(), "dns a.evil.test"), Reason::DeniedByRule);
    let more = "[[egress]]\nname = \"more\"\nhosts = [\"**\"]\nprotocols = [\"http\", \"https\"]\n\
        ports = [80, 8443]\n[[egress]]\nname = \"plain\"\nhosts = [\"**\"]\n\
        protocols = [\"tcp\"]\nports = [443]\n";
    let files = [("default.toml", BASE), ("x.toml", &format!("{text}{more}"))];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let wide = PolicySet::load(files, bound.clone()).unwrap();
    let wide = wide.resolve("x").unwrap().egress().clone();
    for question in
        ["GET http://a.evil.test/", "GET https://a.evil.test:8443/", "tcp a.evil.test:443"]
    {
        assert_eq!(reason(&wide, question), Reason::DeniedByRule, "{question}");
        let other = question.replace("evil", "good");
        assert_eq!(reason(&wide, &other), Reason::Allowed, "{other}");
    }
    assert!(floor("hosts = [\"a.test\"]\n").is_err());
    let shown = ("x.toml".to_owned(), policy.show_resolved());
    let again = PolicySet::load([shown], bound).unwrap();
    assert_eq!(again.resolve("x").unwrap().canonical(), policy.canonical());
}

#[test]
fn tls_is_inspected_only_where_something_needs_it() {
    let plain = "[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\n";
    let treatment = |text: &str| {
        let question = Question::parse("connect up.test:443").unwrap();
        question.put_to(&egress(text)).treatment()
    };
    assert_eq!(treatment(plain), Some(Treatment::Pass));
    let also = |text: &str| treatment(&format!("{plain}{text}"));
    let rule = "[[egress]]\nname = \"b\"\nhosts = [\"up.test\"]\n";
    assert_eq!(also(&format!("{rule}paths = [\"/x\"]\n")), Some(Treatment::Pass));
    for more in
        ["tls = \"inspect\"\n", "verdict = \"deny\"\nmethods = [\"PUT\"]\n", "verdict = \"ask\"\n"]
    {
        assert_eq!(also(&format!("{rule}{more}")), Some(Treatment::Inspect), "{more}");
    }
    let credential = "[[credential]]\nname = \"key\"\nhosts = [\"up.test\"]\nheader = \"x-key\"\n";
    assert_eq!(also(credential), Some(Treatment::Inspect));
    assert_eq!(also("[budgets]\nrequests = 5\n"), Some(Treatment::Inspect));
    assert_eq!(also("[budgets]\nbytes_in = 5\n"), Some(Treatment::Pass));
    for narrow in ["methods = [\"GET\"]", "paths = [\"/**\"]", "max_body = 0", "websocket = false"]
    {
        let text = format!("[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\n{narrow}\n");
        assert_eq!(treatment(&text), Some(Treatment::Inspect), "{narrow}");
    }
    let all = format!("{rule}verdict = \"deny\"\n");
    assert_eq!(also(&all), None);
}

#[test]
fn a_body_is_bounded_by_the_rule_that_lets_it_through() {
    let rules = egress(
        "[[egress]]\nname = \"small\"\nhosts = [\"up.test\"]\nmax_body = \"1 KiB\"\n\
         [[egress]]\nname = \"large\"\nhosts = [\"up.test\"]\npaths = [\"/up\"]\nmax_body = \"1 MiB\"\n",
    );
    let ask = |target: &str, body: Option<u64>| {
        let destination = Destination::parse("up.test:443", None).unwrap();
        let (protocol, method) = (Protocol::Https, "POST".to_owned());
        let (target, websocket) = (target.to_owned(), false);
        Question::Request { destination, protocol, method, target, websocket, body }.put_to(&rules)
    };
    assert_eq!(ask("/", Some(1024)).permit().unwrap().max_body(), Some(1 << 10));
    assert_eq!(ask("/", Some(1025)).reason(), Reason::BodyTooLarge);
    assert_eq!(ask("/up", Some(1025)).permit().unwrap().rule().rule(), Some("large"));
    assert_eq!(ask("/up", None).permit().unwrap().max_body(), Some(1 << 20));
}

#[test]
fn a_person_is_asked_before_anything_goes_and_can_not_overrule_a_rule() {
    let rules = egress(
        "[[egress]]\nname = \"read\"\nhosts = [\"up.test\"]\n\
         [[egress]]\nname = \"write\"\nverdict = \"ask\"\nhosts = [\"up.test\"]\nmethods = [\"POST\"]\n",
    );
    let decision = Question::parse("POST https://up.test/x").unwrap().put_to(&rules);
    assert_eq!(decision.verdict(), Verdict::Ask);
    assert_eq!(decision.clone().permit().unwrap_err().reason(), Reason::ApprovalNeeded);
    assert_eq!(decision.permit_after_approval().unwrap().rule().rule(), Some("write"));
    assert_eq!(reason(&rules, "GET https://up.test/x"), Reason::Allowed);
}

#[test]
fn only_a_checked_address_can_be_dialled() {
    let rules = egress(
        "[[egress]]\nname = \"public\"\nhosts = [\"up.test\"]\n\
         [[egress]]\nname = \"inside\"\nhosts = [\"in.test\", \"10.1.2.3\"]\naddresses = [\"10.0.0.0/8\", \"64:ff9b::/96\"]\n\
         [[egress]]\nname = \"wide\"\nhosts = [\"wide.test\"]\naddresses = [\"0.0.0.0/0\", \"::/0\"]\n\
         [[egress]]\nname = \"never\"\nverdict = \"deny\"\nhosts = [\"10.9.0.0/16\", \"198.41.0.4\"]\n",
    );
    let check = |destination: &str, address: &str| {
        let destination = Destination::parse(destination, None).unwrap();
        let permit = rules.connect(&destination, Protocol::Https).permit().unwrap();
        rules.address(&permit, address.parse::<IpAddr>().unwrap()).map(|checked| checked.ip())
    };
    assert!(check("up.test:443", "8.8.8.8").is_ok());
    for closed in "127.0.0.1 10.1.2.3 169.254.169.254 100.64.0.1 0.0.0.0 ::1 ::ffff:8.8.8.8 \
                   64:ff9b::808:808 2002:7f00:1::1 fd00::1 fe80::1 198.41.0.4"
        .split_whitespace()
    {
        assert!(check("up.test:443", closed).is_err(), "{closed}");
    }
    for (address, open) in [
        ("10.1.2.3", true),
        ("10.9.0.1", false),
        ("64:ff9b::808:808", true),
        ("64:ff9b::a01:203", true),
        ("64:ff9b::7f00:1", false),
        ("64:ff9b::a09:1", false),
        ("192.168.0.1", false),
    ] {
        assert_eq!(check("in.test:443", address).is_ok(), open, "{address}");
    }
    for (address, open) in
        [("192.168.0.1", true), ("127.0.0.1", false), ("169.254.169.254", false), ("::", false)]
    {
        assert_eq!(check("wide.test:443", address).is_ok(), open, "{address}");
    }
    assert!(check("10.1.2.3:443", "10.1.2.3").is_ok());
    assert!(check("10.1.2.3:443", "10.1.2.4").is_err());
    let look_up = rules.look_up(&HostName::parse("up.test").unwrap()).permit().unwrap();
    assert!(rules.address(&look_up, "8.8.8.8".parse().unwrap()).is_err());
}

#[test]
fn loopback_is_opened_by_root_only() {
    let text =
        "name = \"x\"\nextends = \"default\"\n[[egress]]\nname = \"a\"\nhosts = [\"127.0.0.1\"]\n";
    let files = [("default.toml", BASE), ("x.toml", text)];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let wrong = PolicySet::load(files.clone(), Floor::builtin().unwrap()).unwrap_err().to_string();
    assert!(wrong.contains("loopback, which the floor opens to no policy"), "{wrong}");
    assert!(wrong.contains("x.toml:5:9"), "{wrong}");
    let floor = "name = \"floor\"\n[addresses]\nopenable = [\"loopback\"]\n";
    let set = PolicySet::load(files, Floor::load("floor.toml", floor).unwrap()).unwrap();
    let egress = set.resolve("x").unwrap().egress();
    let destination = Destination::parse("127.0.0.1:443", None).unwrap();
    let permit = egress.connect(&destination, Protocol::Https).permit().unwrap();
    assert!(egress.address(&permit, "127.0.0.1".parse().unwrap()).is_ok());
    for class in ["unusable", "public", "all"] {
        let floor = format!("name = \"floor\"\n[addresses]\nopenable = [\"{class}\"]\n");
        assert!(Floor::load("floor.toml", &floor).is_err(), "{class}");
    }
}

#[test]
fn a_credential_goes_where_its_binding_says_and_nowhere_else() {
    let rules = egress(
        "[[egress]]\nname = \"api\"\nhosts = [\"up.test\", \"sub.up.test\", \"other.test\"]\n\
         protocols = [\"https\", \"http\"]\nports = [80, 443, 8443]\n\
         [[credential]]\nname = \"key\"\nhosts = [\"up.test\"]\nmethods = [\"GET\"]\npaths = [\"/v1/**\"]\n\
         header = \"Authorization\"\ntemplate = \"Bearer {}\"\nplaceholder = \"API_KEY\"\n",
    );
    let bound = |question: &str| {
        let permit = Question::parse(question).unwrap().put_to(&rules).permit().unwrap();
        permit.bindings().len()
    };
    assert_eq!(bound("GET https://up.test/v1/items"), 1);
    for question in [
        "POST https://up.test/v1/items",
        "GET https://up.test/v1/../admin",
        "GET https://up.test/admin",
        "GET http://up.test/v1/items",
        "GET https://up.test:8443/v1/items",
        "GET https://sub.up.test/v1/items",
        "GET https://other.test/v1/items",
    ] {
        assert_eq!(bound(question), 0, "{question}");
    }
    assert_eq!(reason(&rules, "GET https://up.test/v1%2f..%2fadmin"), Reason::InvalidTarget);
    let [binding] = rules.bindings() else { panic!("one binding") };
    let (name, before) = ("authorization".to_owned(), "Bearer ".to_owned());
    assert_eq!(*binding.location(), Location::Header { name, before, after: String::new() });
    assert_eq!((binding.credential(), binding.placeholder()), ("key", Some("API_KEY")));
}

#[test]
fn a_client_tells_hosts_protocols_and_ports() {
    let text = "[[egress]]\nname = \"packages\"\nhosts = { from = \"pip\" }\nmethods = [\"GET\", \"HEAD\"]\n\
                [[expect]]\nrequest = \"GET {pip}/simple/x/\"\nverdict = \"allow\"\n\
                [[expect]]\nrequest = \"PUT {pip}/simple/x/\"\nverdict = \"deny\"\nreason = \"method_not_allowed\"\n";
    assert!(egress(text).is_empty());
    let mut clients = ClientOrigins::default();
    for (protocol, destination) in [
        (Protocol::Https, "index.test:443"),
        (Protocol::Https, "files.test:443"),
        (Protocol::Http, "mirror.test:8080"),
    ] {
        clients.insert(Client::Pip, protocol, Destination::parse(destination, None).unwrap());
    }
    let policy = load(text, &clients).unwrap_or_else(|wrong| panic!("{wrong}"));
    let rules = policy.egress();
    assert_eq!(rules.ports(), [8080]);
    for (question, expected) in [
        ("GET https://files.test/x", Reason::Allowed),
        ("GET http://mirror.test:8080/x", Reason::Allowed),
        ("GET https://mirror.test:8080/x", Reason::ProtocolNotAllowed),
        ("GET http://files.test:8080/x", Reason::PortNotAllowed),
    ] {
        assert_eq!(reason(rules, question), expected, "{question}");
    }
    let text = policy.show_resolved();
    let again = PolicySet::load([("child.toml".to_owned(), text)], Floor::builtin().unwrap());
    assert_eq!(again.unwrap().resolve("child").unwrap().canonical(), policy.canonical());
}

#[test]
fn an_example_that_fails_keeps_the_policy_from_loading() {
    for (example, says) in [
        (
            "request = \"GET https://up.test/x\"\nverdict = \"allow\"",
            "deny: path_not_allowed by the default",
        ),
        (
            "request = \"GET https://up.test/ok\"\nverdict = \"deny\"",
            "allow: allowed by egress rule public",
        ),
        (
            "request = \"GET https://up.test/ok\"\nverdict = \"allow\"\nrule = \"x\"",
            "allow by egress rule public",
        ),
        (
            "request = \"GET https://a.test/\"\nverdict = \"deny\"\nreason = \"path_not_allowed\"",
            "host_not_allowed",
        ),
        (
            "request = \"GET https://up.test/ok\"\nverdict = \"allow\"\ncredential = \"k\"",
            "without a credential",
        ),
        ("request = \"GET up.test\"\nverdict = \"allow\"", "this is not a request"),
        ("request = \"GET https://up.test/ok\"\nverdict = \"accepted\"", "unknown verdict"),
        ("verdict = \"allow\"", "asks nothing"),
        ("submit = {}\nrule = \"x\"\nverdict = \"accepted\"", "for examples of requests"),
    ] {
        let wrong = refused(&format!("{PUBLIC}[[expect]]\n{example}\n"));
        assert!(wrong.contains(says), "{example}: {wrong}");
    }
}

#[test]
fn what_makes_no_sense_in_a_rule_is_pointed_at() {
    for (rule, says) in [
        ("hosts = []", "about no host"),
        ("hosts = [\"127.1\"]", "not the one spelling of an address"),
        ("hosts = [\"a.test\", \"b_c\"]", "5:20"),
        ("hosts = [\"http://a.test\"]", "this is a URL"),
        ("hosts = { from = \"pipp\" }", "did you mean `pip`?"),
        ("hosts = { form = \"pip\" }", "did you mean `from`?"),
        ("hosts = { from = \"pip\" }\nports = [1]", "tells protocols and ports"),
        ("hosts = { from = \"pip\" }\nverdict = \"deny\"", "can't take its hosts from a client"),
        ("hosts = [\"a.test\"]\nverdict = \"alow\"", "did you mean `allow`?"),
        ("hosts = [\"a.test\"]\nprotocols = [\"tcp\"]", "no usual port"),
        (
            "hosts = [\"a.test\"]\nprotocols = [\"tcp\"]\nports = [22]\nmethods = [\"GET\"]",
            "plain TCP has no methods",
        ),
        ("hosts = [\"a.test\"]\nports = [0]", "not a port"),
        ("hosts = [\"a.test\"]\nports = [53]", "supervisor's own"),
        ("hosts = [\"a.test\"]\nmethods = [\"get\"]", "in capitals"),
        ("hosts = [\"a.test\"]\nmethods = [\"TRACE\"]", "ever forwarded"),
        ("hosts = [\"a.test\"]\npaths = [\"v1\"]", "does not begin with a slash"),
        ("hosts = [\"a.test\"]\npaths = [\"/a/../b\"]", "write \"/b\""),
        ("hosts = [\"a.test\"]\npaths = [\"/a**\"]", "two stars"),
        (
            "hosts = [\"a.test\"]\ntls = \"pass\"\npaths = [\"/a\"]",
            "can't be seen in TLS that is passed",
        ),
        (
            "hosts = [\"a.test\"]\nverdict = \"deny\"\nmax_body = 1",
            "max_body is for rules that allow",
        ),
        (
            "hosts = [\"a.test\"]\nverdict = \"deny\"\naddresses = [\"10.0.0.0/8\"]",
            "write them in `hosts`",
        ),
        ("hosts = [\"a.test\"]\naddresses = [\"10.0.0.1/8\"]", "not a network"),
        ("hosts = [\"a.test\"]\naddresses = [\"224.0.0.0/8\"]", "unusable, which the floor opens"),
        ("hosts = [\"a.test\"]\nmax_body = \"1 parsec\"", "max_body"),
        ("hosts = [\"a.test\"]\nask_timeout = \"1 min\"", "is for rules that ask"),
        ("hosts = [\"a.test\"]\nverdict = \"ask\"\nask_timeout = \"61 min\"", "from 1 s to 1 h"),
        ("hosts = [\"a.test\"]\nverdict = \"ask\"\nask_timeout = 60", "ask_timeout"),
        ("hosts = [\"a.test\"]\nmethod = [\"GET\"]", "did you mean `methods`?"),
        (
            "hosts = [\"a.test\"]\n[[egress]]\nname = \"r\"\nhosts = [\"b.test\"]",
            "another rule of this name",
        ),
    ] {
        let wrong = refused(&format!("[[egress]]\nname = \"r\"\n{rule}\n"));
        assert!(wrong.contains(says), "{rule}: {wrong}");
    }
    for (binding, says) in [
        ("hosts = [\"a.test\"]", "one place of a request"),
        ("hosts = [\"a.test\"]\nheader = \"Host\"", "can't be the header field"),
        ("hosts = [\"a.test\"]\nheader = \"a\"\ntemplate = \"x\"", "can't be the template"),
        (
            "hosts = [\"a.test\"]\nheader = \"a\"\ntemplate = \"{}\\r\\nb: c\"",
            "can't be the template",
        ),
        ("hosts = [\"a.test\"]\nheader = \"a\"\nquery = \"b\"", "one place of a request"),
        ("hosts = [\"**.a.test\"]\nheader = \"a\"", "named hosts only"),
        ("hosts = [\"**\"]\nheader = \"a\"", "named hosts only"),
        ("hosts = [\"10.0.0.1\"]\nheader = \"a\"", "named hosts only"),
        ("hosts = [\"a.test\"]\nbasic = \"a:b\"", "can't be the user"),
    ] {
        let wrong = refused(&format!("[[credential]]\nname = \"c\"\n{binding}\n"));
        assert!(wrong.contains(says), "{binding}: {wrong}");
    }
}

#[test]
fn plain_tcp_goes_only_where_it_is_named() {
    let rules = egress(
        "[[egress]]\nname = \"ssh\"\nhosts = [\"git.test\"]\nprotocols = [\"tcp\"]\nports = [22, 9418]\n",
    );
    assert_eq!(rules.ports(), [22, 9418]);
    assert_eq!(reason(&rules, "tcp git.test:22"), Reason::Allowed);
    assert_eq!(reason(&rules, "tcp git.test:23"), Reason::PortNotAllowed);
    assert_eq!(reason(&rules, "GET https://git.test:22/"), Reason::ProtocolNotAllowed);
    let destination = Destination::parse("git.test:22", None).unwrap();
    assert_eq!(rules.protocols(&destination), [Protocol::Tcp]);
}

#[test]
fn an_address_is_named_alone_only_where_a_rule_has_it_and_no_network_around_it() {
    let rules = egress(
        "[[egress]]\nname = \"one\"\nhosts = [\"one.test\"]\naddresses = [\"10.1.2.3/32\"]\n\
         [[egress]]\nname = \"wide\"\nhosts = [\"wide.test\"]\naddresses = [\"10.0.0.0/8\"]\n",
    );
    for (place, address, alone) in [
        ("one.test", "10.1.2.3", true),
        ("one.test", "10.1.2.4", false),
        ("wide.test", "10.1.2.3", false),
    ] {
        let destination = Destination::parse(place, Some(443)).unwrap();
        let permit = rules.connect(&destination, Protocol::Https).permit().unwrap();
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(rules.names_alone(&permit, address), alone, "{place} {address}");
    }
}

#[test]
fn what_a_server_may_take_for_something_less_free_is_denied_and_neither_asked_about_nor_allowed() {
    let rules = egress(
        "[[egress]]\nname = \"long\"\nhosts = [\"up.test\"]\nmethods = [\"POST\"]\n\
         [[egress]]\nname = \"short\"\nhosts = [\"up.test\"]\nmethods = [\"PUT\"]\nmax_body = 1024\n\
         [[egress]]\nname = \"asked\"\nhosts = [\"up.test\"]\nmethods = [\"DELETE\", \"PATCH\"]\n\
         verdict = \"ask\"\n\
         [[egress]]\nname = \"another\"\nhosts = [\"up.test\"]\nmethods = [\"LOCK\"]\nverdict = \"ask\"\n\
         [[egress]]\nname = \"keyed\"\nhosts = [\"key.test\"]\nmethods = [\"POST\", \"PUT\"]\n\
         [[credential]]\nname = \"key\"\nhosts = [\"key.test\"]\nmethods = [\"POST\"]\nheader = \"x-key\"\n",
    );
    for (question, body, verdict, expected) in [
        ("POST https://up.test/?_method=put", Some(9), Verdict::Allow, Reason::Allowed),
        ("POST https://up.test/?_method=put", None, Verdict::Deny, Reason::TakenOtherwise),
        ("PUT https://up.test/?_method=post", None, Verdict::Allow, Reason::Allowed),
        ("POST https://up.test/?_method=delete", Some(0), Verdict::Deny, Reason::TakenOtherwise),
        ("DELETE https://up.test/?_method=patch", Some(0), Verdict::Ask, Reason::ApprovalNeeded),
        ("DELETE https://up.test/?_method=lock", Some(0), Verdict::Deny, Reason::TakenOtherwise),
        (
            "POST https://up.test/?_method=put&_method=get",
            Some(0),
            Verdict::Deny,
            Reason::MethodNotAllowed,
        ),
        ("POST https://key.test/?_method=put", Some(0), Verdict::Deny, Reason::TakenOtherwise),
        ("PUT https://key.test/?_method=post", Some(0), Verdict::Allow, Reason::Allowed),
    ] {
        let Ok(Question::Request { destination, protocol, method, target, websocket, .. }) =
            Question::parse(question)
        else {
            panic!("{question} is a request");
        };
        let question = Question::Request { destination, protocol, method, target, websocket, body };
        let decision = question.put_to(&rules);
        assert_eq!((decision.verdict(), decision.reason()), (verdict, expected), "{question}");
    }
}

#[test]
fn an_address_that_a_rule_has_for_its_host_is_named_alone_for_that_rule_s_ports_and_protocols() {
    let rules = egress(
        "[[egress]]\nname = \"one\"\nhosts = [\"10.1.2.3\"]\nports = [443]\n\
         [[egress]]\nname = \"wide\"\nhosts = [\"10.0.0.0/8\", \"**\"]\naddresses = [\"10.0.0.0/8\"]\n\
         protocols = [\"http\", \"https\"]\nports = [80, 443, 8443]\n\
         [[egress]]\nname = \"no\"\nverdict = \"deny\"\nhosts = [\"10.1.2.9\"]\nmethods = [\"PUT\"]\n",
    );
    for (place, protocol, address, alone) in [
        ("10.1.2.3:443", Protocol::Https, "10.1.2.3", true),
        ("10.1.2.3:8443", Protocol::Https, "10.1.2.3", false), // another rule's port
        ("10.1.2.3:80", Protocol::Http, "10.1.2.3", false),    // another rule's protocol
        ("10.1.2.4:443", Protocol::Https, "10.1.2.4", false),
        ("10.1.2.9:443", Protocol::Https, "10.1.2.9", false), // a rule that denies opens nothing
        ("name.test:443", Protocol::Https, "10.1.2.3", false), // a name that has the same address
    ] {
        let destination = Destination::parse(place, None).unwrap();
        let permit = rules.connect(&destination, protocol).permit().unwrap();
        let address: IpAddr = address.parse().unwrap();
        assert!(rules.address(&permit, address).is_ok(), "{place} {address}");
        assert_eq!(rules.names_alone(&permit, address), alone, "{place} {address}");
    }
}
