//! What holds for all rules and all requests.

use proptest::prelude::*;

use crate::egress::index::Found;
use crate::egress::{Ask, Destination, Egress, Protocol, Question, Verdict};
use crate::floor::Floor;
use crate::set::PolicySet;

const BASE: &str = include_str!("../../../../policies/default.toml");

const HOSTS: &[&str] = &[
    "a.test",
    "b.a.test",
    "c.b.a.test",
    "*.a.test",
    "**.a.test",
    "**.test",
    "**",
    "9.9.9.9",
    "9.9.0.0/16",
];
const NAMES: &[&str] = &[
    "a.test",
    "b.a.test",
    "x.a.test",
    "c.b.a.test",
    "y.x.a.test",
    "z.test",
    "9.9.9.9",
    "9.9.1.1",
    "8.8.8.8",
    "other.example",
];
const PATHS: &[&str] =
    &["/**", "/a/**", "/a/b", "/a/*", "/*/b", "/**/b", "/a/b/c/d/e", "/a/b/c/d/**", "/v*"];
const TARGETS: &[&str] = &[
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/c",
    "/x/b",
    "/a/b/c/d/e",
    "/a/b/c/d/e/b",
    "/v1",
    "/a/../v2?x=/a/b",
    "/%61/b",
    "//",
    "/a%2fb",
];
const METHODS: &[&str] = &["GET", "POST", "DELETE"];

pub(super) fn rule() -> impl Strategy<Value = String> {
    let some = |all: &'static [&'static str], most: usize| {
        prop::option::of(prop::sample::subsequence(all, 1..=most))
    };
    let hosts = prop::sample::subsequence(HOSTS, 1..3);
    let kind = prop::sample::select(vec!["allow", "allow", "allow", "deny", "ask"]);
    let protocols =
        prop::sample::select(vec!["\"https\"", "\"http\"", "\"https\", \"http\"", "\"tcp\""]);
    let ports = prop::sample::select(vec!["443", "443, 8080", "8080"]);
    let bounds = (prop::option::of(0u64..3), prop::option::of(any::<bool>()), any::<bool>());
    (kind, hosts, protocols, ports, some(METHODS, 2), some(PATHS, 3), bounds).prop_map(
        |(kind, hosts, protocols, ports, methods, paths, (body, websocket, inspect))| {
            let mut text = format!(
                "verdict = \"{kind}\"\nhosts = {hosts:?}\nprotocols = [{protocols}]\nports = [{ports}]\n"
            );
            if protocols == "\"tcp\"" {
                return text;
            }
            text.extend(methods.map(|methods| format!("methods = {methods:?}\n")));
            text.extend(paths.map(|paths| format!("paths = {paths:?}\n")));
            if kind != "deny" {
                text.extend(body.map(|body| format!("max_body = {body}\n")));
                text.extend(websocket.map(|websocket| format!("websocket = {websocket}\n")));
            }
            if inspect && kind == "allow" {
                text.push_str("tls = \"inspect\"\n");
            }
            text
        },
    )
}

pub(super) fn load(rules: &[String]) -> Egress {
    let numbered = rules.iter().enumerate();
    let text: String =
        numbered.map(|(n, rule)| format!("[[egress]]\nname = \"r{n}\"\n{rule}")).collect();
    let text = format!("name = \"x\"\nextends = \"default\"\n{text}");
    let files = [("default.toml", BASE), ("x.toml", &text)];
    let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
    let set = PolicySet::load(files, Floor::builtin().unwrap());
    let set = set.unwrap_or_else(|wrong| panic!("{wrong}"));
    set.resolve("x").unwrap().egress().clone()
}

pub(super) fn question() -> impl Strategy<Value = Question> {
    let host = prop::sample::select(NAMES);
    let port = prop::sample::select(vec![443u16, 8080, 80]);
    let protocol = prop::sample::select(vec![Protocol::Https, Protocol::Http, Protocol::Tcp]);
    let method = prop::sample::select(vec!["GET", "POST", "DELETE", "PUT"]);
    let target = prop::sample::select(TARGETS);
    (host, port, protocol, method, target, any::<bool>(), prop::option::of(0u64..4)).prop_map(
        |(host, port, protocol, method, target, websocket, body)| {
            let destination = Destination::parse(host, Some(port)).unwrap();
            if protocol == Protocol::Tcp {
                return Question::Connect(destination, protocol);
            }
            let (method, target) = (method.to_owned(), target.to_owned());
            Question::Request { destination, protocol, method, target, websocket, body }
        },
    )
}

/// The verdict by the definition: every rule by itself, deny over ask over allow.
fn defined(egress: &Egress, ask: &Ask<'_>) -> Option<(Verdict, Found)> {
    let path = egress.compared_path(ask);
    let canonical = match path.as_deref() {
        Some(path) => path,
        None if egress.compares_paths(ask.destination, ask.protocol) => return None,
        None => ask.target,
    };
    let found = egress.found_one_by_one(ask, canonical);
    let verdict = match (found.deny, found.ask, found.allow) {
        (Some(_), ..) | (None, None, None) => Verdict::Deny,
        (None, Some(_), _) => Verdict::Ask,
        (None, None, Some(_)) => Verdict::Allow,
    };
    Some((verdict, found))
}

proptest! {
    #[test]
    fn the_index_finds_what_comparing_every_rule_finds(
        rules in prop::collection::vec(rule(), 0..8),
        questions in prop::collection::vec(question(), 1..30),
    ) {
        let egress = load(&rules);
        for question in &questions {
            let decision = question.put_to(&egress);
            let explained = egress.explain(question);
            prop_assert_eq!(explained.decision.verdict(), decision.verdict());
            prop_assert_eq!(explained.decision.reason(), decision.reason());
            let matched = explained.considered.iter().filter(|known| known.matched.is_ok());
            let strongest = matched.map(|known| known.verdict).max();
            let Some(ask) = question.ask() else {
                prop_assert_eq!(decision.verdict(), strongest.unwrap_or(Verdict::Deny));
                continue;
            };
            let Some((verdict, found)) = defined(&egress, &ask) else {
                prop_assert_eq!(decision.reason().as_str(), "invalid_target");
                continue;
            };
            prop_assert_eq!(decision.verdict(), verdict, "{}", question);
            prop_assert_eq!(verdict, strongest.unwrap_or(Verdict::Deny));
            let numbers = [found.deny, found.ask, found.allow.map(|(rule, _)| rule)];
            let winner = numbers.into_iter().flatten().next();
            let name = winner.map(|number| format!("r{number}"));
            prop_assert_eq!(decision.rule().rule(), name.as_deref(), "{}", question);
            if let Some((_, most)) = found.allow && verdict == Verdict::Allow {
                prop_assert_eq!(decision.prospect().unwrap().max_body(), most);
            }
            if winner.is_none() {
                let miss = egress.refuse(found.miss, &super::Denial::of_request(&ask)).reason();
                prop_assert_eq!(decision.reason(), miss, "{}", question);
            }
        }
    }

    #[test]
    fn what_is_explained_of_names_and_connections_is_what_is_decided(
        rules in prop::collection::vec(rule(), 0..8),
        question in prop::sample::select(NAMES),
        port in prop::sample::select(vec![443u16, 8080]),
    ) {
        let egress = load(&rules);
        let destination = Destination::parse(question, Some(port)).unwrap();
        let connect = |protocol: &Protocol| Question::Connect(destination.clone(), *protocol);
        let mut questions: Vec<_> = Protocol::ALL.iter().map(connect).collect();
        questions.extend(destination.host.name().cloned().map(Question::LookUp));
        for question in &questions {
            let explained = egress.explain(question);
            let matched = explained.considered.iter().filter(|known| known.matched.is_ok());
            let strongest = matched.map(|known| known.verdict).max();
            let decision = question.put_to(&egress);
            prop_assert_eq!(decision.verdict(), strongest.unwrap_or(Verdict::Deny), "{}", question);
        }
    }

    #[test]
    fn what_can_be_requested_can_be_connected_to_and_looked_up(
        rules in prop::collection::vec(rule(), 0..8),
        question in question(),
    ) {
        let egress = load(&rules);
        let decision = question.put_to(&egress);
        let Some(permit) = decision.prospect() else { return Ok(()) };
        let destination = permit.destination().unwrap();
        let protocol = question.ask().map_or(Protocol::Tcp, |ask| ask.protocol);
        prop_assert!(egress.connect(destination, protocol).prospect().is_some());
        prop_assert!(egress.protocols(destination).contains(&protocol));
        if let Some(name) = destination.host.name() {
            prop_assert!(egress.look_up(name).prospect().is_some());
        }
    }

    #[test]
    fn passing_tls_lets_nothing_through_that_inspecting_would_not(
        rules in prop::collection::vec(rule(), 0..8),
        question in question(),
    ) {
        let egress = load(&rules);
        let Question::Request { destination, target, .. } = &question else { return Ok(()) };
        let connection = egress.connect(destination, Protocol::Https);
        let passed = connection.treatment() == Some(super::Treatment::Pass);
        // What a passed connection carries can't be a WebSocket or a body too large for the rules:
        // the rule that lets it pass says nothing of either.
        let ask = Ask { destination, protocol: Protocol::Https, method: "GET", target, websocket: false, body: Some(0) };
        let decision = egress.request(&ask);
        prop_assert!(!passed || decision.verdict() == Verdict::Allow
            || decision.reason() == super::Reason::InvalidTarget, "{}", question);
    }

    #[test]
    fn another_rule_that_denies_never_allows_more(
        rules in prop::collection::vec(rule(), 0..6),
        more in rule(),
        questions in prop::collection::vec(question(), 1..20),
    ) {
        let before = load(&rules);
        let denying = more.replacen("\"allow\"", "\"deny\"", 1).replacen("\"ask\"", "\"deny\"", 1);
        let foreign = |line: &&str| !["max_body", "websocket", "tls ="].iter().any(|key| line.starts_with(key));
        let denying: String = denying.lines().filter(foreign).flat_map(|line| [line, "\n"]).collect();
        let mut all = rules.clone();
        all.push(denying);
        let after = load(&all);
        for question in &questions {
            let (one, two) = (question.put_to(&before).verdict(), question.put_to(&after).verdict());
            prop_assert!(two >= one, "{}", question);
        }
    }
}
