//! How far a rule reaches that denies or asks.

use super::*;

#[test]
fn a_rule_that_denies_is_about_whatever_it_does_not_leave_out() {
    let open = "[[egress]]\nname = \"a\"\nhosts = [\"**\"]\nprotocols = [\"http\", \"https\"]\n\
        ports = [80, 443, 8080, 8443]\n\
        [[egress]]\nname = \"t\"\nhosts = [\"**\"]\nprotocols = [\"tcp\"]\nports = [22, 443]\n";
    let reasons = |rule: &str| {
        let rules = egress(&format!("{open}[[egress]]\nname = \"no\"\nverdict = \"deny\"\n{rule}"));
        let questions = [
            "GET http://up.test/",
            "GET http://up.test:8080/",
            "GET https://up.test/",
            "GET https://up.test:8443/",
            "tcp up.test:22",
            "tcp up.test:443",
        ];
        questions.map(|question| reason(&rules, question) == Reason::DeniedByRule)
    };
    let [no, yes] = [false, true];
    assert_eq!(reasons("hosts = [\"up.test\"]\n"), [yes; 6]);
    assert_eq!(
        reasons("hosts = [\"up.test\"]\nmethods = [\"GET\"]\n"),
        [yes, yes, yes, yes, no, no]
    );
    assert_eq!(
        reasons("hosts = [\"up.test\"]\nprotocols = [\"https\"]\n"),
        [no, no, yes, yes, no, no]
    );
    assert_eq!(reasons("hosts = [\"up.test\"]\nports = [443]\n"), [no, no, yes, no, no, yes]);
    assert_eq!(
        reasons("hosts = [\"up.test\"]\nprotocols = [\"tcp\"]\n"),
        [no, no, no, no, yes, yes]
    );
}

#[test]
fn a_network_that_is_denied_is_denied_on_every_port() {
    let open = "[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\nprotocols = [\"http\"]\nports = [8080]\n\
        addresses = [\"10.0.0.0/8\"]\n";
    let deny = "[[egress]]\nname = \"no\"\nverdict = \"deny\"\nhosts = [\"10.9.0.0/16\"]\n";
    let rules = egress(&format!("{open}{deny}"));
    let destination = Destination::parse("up.test:8080", None).unwrap();
    let permit = rules.connect(&destination, Protocol::Http).permit().unwrap();
    for (address, open) in [("10.8.0.1", true), ("10.9.0.1", false)] {
        assert_eq!(rules.address(&permit, address.parse().unwrap()).is_ok(), open, "{address}");
    }
}

#[test]
fn who_denies_or_asks_about_what_is_below_a_directory_means_the_directory_too() {
    let rules = egress(
        "[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\npaths = [\"/pub/**\"]\n\
         [[egress]]\nname = \"no\"\nverdict = \"deny\"\nhosts = [\"up.test\"]\n\
         paths = [\"/pub/admin/**\", \"/**/keys/**\", \"/pub/*/own/**\"]\n\
         [[egress]]\nname = \"q\"\nverdict = \"ask\"\nhosts = [\"up.test\"]\n\
         paths = [\"/pub/asked/**\"]\n",
    );
    for (path, expected) in [
        ("/pub/", Reason::Allowed),
        ("/pub", Reason::PathNotAllowed), // what allows says all that it opens
        ("/pub/adm", Reason::Allowed),
        ("/pub/administration", Reason::Allowed),
        ("/pub/admin", Reason::DeniedByRule),
        ("/pub/admin/", Reason::DeniedByRule),
        ("/pub/admin/a/b", Reason::DeniedByRule),
        ("/pub/a/../admin?b", Reason::DeniedByRule),
        ("/keys", Reason::DeniedByRule),
        ("/pub/a/keys", Reason::DeniedByRule),
        ("/pub/a/keys/b", Reason::DeniedByRule),
        ("/pub/a/own", Reason::DeniedByRule),
        ("/pub/own", Reason::Allowed),
        ("/pub/asked", Reason::ApprovalNeeded),
        ("/pub/asked/a", Reason::ApprovalNeeded),
    ] {
        let question = Question::parse(&format!("GET https://up.test{path}")).unwrap();
        let explained = rules.explain(&question);
        assert_eq!(explained.decision.reason(), expected, "{path}");
        let denies = explained
            .considered
            .iter()
            .any(|rule| rule.verdict == Verdict::Deny && rule.matched.is_ok());
        assert_eq!(denies, expected == Reason::DeniedByRule, "{path}");
    }
}

#[test]
fn a_rule_that_comes_to_deny_a_directory_s_contents_is_shown_to_deny_the_directory() {
    let open = "[[egress]]\nname = \"a\"\nhosts = [\"up.test\"]\npaths = [\"/**\"]\n";
    let deny = "[[egress]]\nname = \"no\"\nverdict = \"deny\"\nhosts = [\"up.test\"]\n\
                paths = [\"/admin/**\"]\n";
    let found = egress(open).difference(&egress(&format!("{open}{deny}")));
    let examples = found.changes.iter().flat_map(|change| &change.examples);
    let examples: Vec<String> = examples.map(ToString::to_string).collect();
    assert!(examples.contains(&"GET https://up.test/admin".to_owned()), "{examples:?}");
}

#[test]
fn what_holds_back_all_below_a_name_holds_back_the_name_itself() {
    let allow = "[[egress]]\nname = \"yes\"\nhosts = [\"**\"]\n";
    for (verdict, expected) in [("deny", Reason::DeniedByRule), ("ask", Reason::ApprovalNeeded)] {
        let held = format!(
            "[[egress]]\nname = \"held\"\nverdict = \"{verdict}\"\nhosts = [\"**.evil.test\"]\n"
        );
        let rules = egress(&format!("{held}{allow}"));
        for host in ["evil.test", "a.evil.test", "b.a.evil.test"] {
            assert_eq!(reason(&rules, &format!("GET https://{host}/")), expected, "{host}");
        }
        assert_eq!(reason(&rules, "GET https://notevil.test/"), Reason::Allowed);
    }
    let below = egress("[[egress]]\nname = \"yes\"\nhosts = [\"**.up.test\"]\n");
    assert_eq!(reason(&below, "GET https://up.test/"), Reason::HostNotAllowed);
}
