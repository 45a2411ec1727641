//! The smallest policy that would have let recorded, refused requests through.
//!
//! A rule is about one host, port and set of methods, and about the very paths that were asked for.
//! Only numbers and long hexadecimal words within them become `*`, and only where several differ in
//! nothing else. What rules deny by name, and what can't be said exactly, is listed and left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::egress::Egress;
use crate::egress::decision::Reason;
use crate::egress::host::{Destination, Host};
use crate::egress::path::{canonical_path, split};
use crate::egress::question::Question;
use crate::egress::record::Recorded;
use crate::egress::rule::{Protocol, Verdict};
use crate::name::is_name;
use crate::show::quote;

/// Requests that are given as evidence of one rule.
const MAX_EVIDENCE: usize = 3;

/// Examples that the text carries, as many as a file may hold.
const MAX_EXAMPLES: usize = 256;

/// Hexadecimal digits from which on a word without other letters is taken for a generated id.
const LONG_ID: usize = 8;

/// What was learnt.
#[derive(Debug, Clone)]
pub struct Learnt {
    /// A policy file.
    pub text: String,
    /// Rules in it.
    pub rules: usize,
    /// Requests that it lets through and the base policy doesn't.
    pub covered: usize,
    /// Requests that it doesn't let through, each with the reason.
    pub left_out: Vec<(Question, String)>,
}

/// What one rule is about, before its paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    destination: Destination,
    protocol: Protocol,
    websocket: bool,
}

/// What was asked of one path.
#[derive(Debug, Default, Clone)]
struct Asked {
    methods: BTreeSet<String>,
    /// The largest body; `None` once one was of unknown size.
    body: Option<u64>,
    times: usize,
    sessions: BTreeSet<String>,
}

/// A rule to be.
#[derive(Debug)]
struct Draft {
    subject: Subject,
    methods: BTreeSet<String>,
    paths: BTreeSet<String>,
    evidence: Vec<String>,
    body: Option<u64>,
    times: usize,
    sessions: BTreeSet<String>,
    generalised: bool,
    only_connected: bool,
}

impl Egress {
    /// Learns from recorded decisions what these rules, which belong to the policy `base`, refuse. The
    /// new policy is called `name` and extends the base.
    pub fn learn(&self, recorded: &[Recorded], name: &str, base: &str) -> Learnt {
        let mut left_out: BTreeMap<Question, String> = BTreeMap::new();
        let mut requests: BTreeMap<Subject, BTreeMap<String, Asked>> = BTreeMap::new();
        let mut connections: BTreeMap<Subject, Asked> = BTreeMap::new();
        let mut look_ups: BTreeMap<Subject, Asked> = BTreeMap::new();
        let mut covered: BTreeSet<Question> = BTreeSet::new();
        for decision in recorded.iter().filter(|known| known.verdict == Verdict::Deny) {
            let question = &decision.question;
            let now = question.put_to(self);
            if now.verdict() != Verdict::Deny {
                continue;
            }
            match place(question, now.reason(), decision) {
                Err(why) => {
                    left_out.insert(question.clone(), why.to_owned());
                }
                Ok((subject, path)) => {
                    covered.insert(question.clone());
                    let asked = match path {
                        Some(path) => requests.entry(subject).or_default().entry(path).or_default(),
                        None if matches!(question, Question::LookUp(_)) => {
                            look_ups.entry(subject).or_default()
                        }
                        None => connections.entry(subject).or_default(),
                    };
                    asked.take(decision);
                }
            }
        }
        let mut drafts: Vec<Draft> =
            requests.into_iter().flat_map(|(subject, paths)| drafts(subject, paths)).collect();
        // A connection comes with the requests that it was for, and a look-up with whatever was for its host.
        for (subject, asked) in connections {
            let place = |subject: &Subject| (subject.destination.clone(), subject.protocol);
            if !drafts.iter().any(|draft| place(&draft.subject) == place(&subject)) {
                drafts.push(Draft::of_connection(subject, asked));
            }
        }
        for (subject, asked) in look_ups {
            let host = &subject.destination.host;
            if !drafts.iter().any(|draft| draft.subject.destination.host == *host) {
                drafts.push(Draft::of_connection(subject, asked));
            }
        }
        let text = policy(name, base, &drafts, &covered, &left_out);
        let (rules, covered) = (drafts.len(), covered.len());
        Learnt { text, rules, covered, left_out: left_out.into_iter().collect() }
    }
}

/// Where a refused question belongs; the error is why nothing can be learnt from it.
fn place(
    question: &Question,
    now: Reason,
    recorded: &Recorded,
) -> Result<(Subject, Option<String>), &'static str> {
    match now {
        Reason::DeniedByRule => return Err("a rule denies it by name, and deny wins"),
        Reason::InvalidMethod => return Err("its method is never forwarded"),
        Reason::InvalidTarget => return Err("its target can be read in two ways"),
        Reason::TakenOtherwise => return Err("its server may take it for what is less free"),
        _ => {}
    }
    if recorded.reason == "approval_denied" {
        return Err("a person has denied it");
    }
    match Reason::from_name(&recorded.reason) {
        // By a rule of the policy that held then, which needn't be one of these.
        Some(Reason::DeniedByRule) => return Err("a rule denied it by name"),
        Some(Reason::AddressNotAllowed) => {
            return Err("its address isn't public; name the network in `addresses` by hand");
        }
        _ => {}
    }
    let subject = |destination: &Destination, protocol, websocket| Subject {
        destination: destination.clone(),
        protocol,
        websocket,
    };
    match question {
        Question::LookUp(name) => {
            let destination = Destination { host: Host::Name(name.clone()), port: 443 };
            Ok((subject(&destination, Protocol::Https, false), None))
        }
        Question::Connect(destination, protocol) | Question::Dial(destination, protocol, _) => {
            Ok((subject(destination, *protocol, false), None))
        }
        Question::Request { destination, protocol, target, websocket, .. } => {
            let path = split(target).and_then(|(path, _)| canonical_path(path));
            let path = path.map_err(|_| "its target can be read in two ways")?;
            if path.contains('*') {
                return Err("its path has a star, which would mean any text in a rule");
            }
            Ok((subject(destination, *protocol, *websocket), Some(path.into_owned())))
        }
    }
}

impl Asked {
    fn take(&mut self, decision: &Recorded) {
        if let Question::Request { method, body, .. } = &decision.question {
            self.methods.insert(method.clone());
            self.body = match (self.times, self.body, body) {
                (0, _, body) => *body,
                (_, Some(known), Some(body)) => Some(known.max(*body)),
                _ => None,
            };
        }
        self.times += 1;
        self.sessions.insert(decision.session.clone());
    }
}

/// The rules for the requests to one destination: one for each set of methods.
fn drafts(subject: Subject, paths: BTreeMap<String, Asked>) -> Vec<Draft> {
    let mut general: BTreeMap<(String, BTreeSet<String>), Vec<String>> = BTreeMap::new();
    for (path, asked) in &paths {
        let key = (generalise(path), asked.methods.clone());
        general.entry(key).or_default().push(path.clone());
    }
    let mut drafts: BTreeMap<BTreeSet<String>, Draft> = BTreeMap::new();
    for ((pattern, methods), members) in general {
        let draft = drafts.entry(methods.clone()).or_insert_with(|| Draft {
            subject: subject.clone(),
            methods,
            paths: BTreeSet::new(),
            evidence: Vec::new(),
            body: Some(0),
            times: 0,
            sessions: BTreeSet::new(),
            generalised: false,
            only_connected: false,
        });
        if members.len() > 1 {
            draft.generalised = true;
            draft.paths.insert(pattern);
        } else {
            draft.paths.extend(members.iter().cloned());
        }
        for path in members {
            let Some(asked) = paths.get(&path) else { continue };
            draft.times += asked.times;
            draft.sessions.extend(asked.sessions.iter().cloned());
            draft.body = draft.body.zip(asked.body).map(|(one, two)| one.max(two));
            let methods: Vec<_> = asked.methods.iter().map(String::as_str).collect();
            draft.evidence.push(format!("{} {path} ({})", methods.join(", "), asked.times));
        }
    }
    drafts.into_values().collect()
}

/// The path with `*` for numbers and generated ids.
fn generalise(path: &str) -> String {
    let segments = path.split('/').skip(1).map(|segment| {
        let hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        let number = !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        let id = segment.len() >= LONG_ID
            && segment.bytes().all(hex)
            && segment.bytes().any(|byte| byte.is_ascii_digit());
        if number || id { "*" } else { segment }
    });
    segments.flat_map(|segment| ["/", segment]).collect()
}

impl Draft {
    /// What lets a connection be made and nothing be requested but the head of the first page: more
    /// than the connection was not seen.
    fn of_connection(subject: Subject, asked: Asked) -> Self {
        let tcp = subject.protocol == Protocol::Tcp;
        let (methods, paths) = if tcp {
            ([].into(), [].into())
        } else {
            (["HEAD".to_owned()].into(), ["/".to_owned()].into())
        };
        Self {
            subject,
            methods,
            paths,
            evidence: Vec::new(),
            body: if tcp { None } else { Some(0) },
            times: asked.times,
            sessions: asked.sessions,
            generalised: false,
            only_connected: !tcp,
        }
    }

    fn write(&self, name: &str, text: &mut String) -> std::fmt::Result {
        let Subject { destination, protocol, websocket } = &self.subject;
        let (times, sessions) = (self.times, self.sessions.len());
        writeln!(text, "\n# Refused requests: {times}. Sessions: {sessions}.")?;
        for evidence in self.evidence.iter().take(MAX_EVIDENCE) {
            writeln!(text, "#   {evidence}")?;
        }
        if self.evidence.len() > MAX_EVIDENCE {
            writeln!(text, "#   and {} more paths", self.evidence.len() - MAX_EVIDENCE)?;
        }
        if self.generalised {
            writeln!(text, "# A star stands where only numbers or generated ids differed.")?;
        }
        if self.only_connected {
            writeln!(
                text,
                "# Only the look-up or connection was seen. With this rule it is made, what is"
            )?;
            writeln!(text, "# requested is refused and recorded, and can be learnt from in turn.")?;
        }
        let host = match &destination.host {
            Host::Name(name) => name.to_string(),
            Host::Address(address) => address.to_string(),
        };
        writeln!(text, "[[egress]]\nname = {}\nhosts = [{}]", quote(name), quote(&host))?;
        writeln!(text, "protocols = [\"{protocol}\"]\nports = [{}]", destination.port)?;
        if *protocol == Protocol::Tcp {
            return Ok(());
        }
        let list = |entries: &BTreeSet<String>| {
            let quoted: Vec<_> = entries.iter().map(|entry| quote(entry)).collect();
            quoted.join(", ")
        };
        writeln!(text, "methods = [{}]\npaths = [{}]", list(&self.methods), list(&self.paths))?;
        match self.body {
            Some(most) => writeln!(text, "max_body = {most}")?,
            None => writeln!(text, "# No max_body: a body's size was not known beforehand.")?,
        }
        if *websocket { writeln!(text, "websocket = true") } else { Ok(()) }
    }

    /// A name for the rule: the host's, as far as names of rules go.
    fn name(&self, taken: &BTreeSet<String>) -> String {
        let host = self.subject.destination.host.to_string().replace(['.', ':', '[', ']'], "-");
        let host: String = host.trim_matches('-').chars().take(48).collect();
        let base = if is_name(&host) { host } else { "learnt".to_owned() };
        let numbered = (2u32..).map(|number| format!("{base}-{number}"));
        let mut all = std::iter::once(base.clone()).chain(numbered);
        all.find(|name| !taken.contains(name)).unwrap_or(base)
    }
}

fn policy(
    name: &str,
    base: &str,
    drafts: &[Draft],
    covered: &BTreeSet<Question>,
    left_out: &BTreeMap<Question, String>,
) -> String {
    let mut text = format!(
        "# Learnt from recorded refusals: no more than what was asked for. Read it before you use it.\n\n\
         name = {}\nextends = {}\n",
        quote(name),
        quote(base)
    );
    let mut taken = BTreeSet::new();
    for draft in drafts {
        let name = draft.name(&taken);
        // Writing to a text can't fail.
        draft.write(&name, &mut text).ok();
        taken.insert(name);
    }
    for (question, why) in left_out {
        text.push_str(&format!(
            "\n# Left out: {}\n#   because {why}.\n",
            quote(&question.to_string())
        ));
    }
    let told = |question: &&Question| match question {
        Question::Request { body, .. } => body.is_some(),
        _ => true,
    };
    for question in covered.iter().filter(told).take(MAX_EXAMPLES) {
        let (mut plain, mut size) = (question.clone(), None);
        if let Question::Request { body, .. } = &mut plain
            && let Some(bytes) = body.replace(0).filter(|bytes| *bytes > 0)
        {
            size = Some(bytes);
        }
        text.push_str(&format!("\n[[expect]]\nrequest = {}\n", quote(&plain.to_string())));
        text.extend(size.map(|bytes| format!("body = {bytes}\n")));
        text.push_str("verdict = \"allow\"\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::egress::properties::{load, question};
    use crate::floor::Floor;
    use crate::set::PolicySet;

    fn recorded(question: Question) -> Recorded {
        let (reason, session) = ("host_not_allowed".to_owned(), "s1".to_owned());
        Recorded { question, verdict: Verdict::Deny, reason, session }
    }

    fn learn(questions: &[&str]) -> Learnt {
        let all: Vec<_> =
            questions.iter().map(|text| recorded(Question::parse(text).unwrap())).collect();
        load(&[]).learn(&all, "learnt", "default")
    }

    fn loaded(learnt: &Learnt) -> Egress {
        let base = include_str!("../../../../policies/default.toml");
        let files = [("default.toml", base), ("learnt.toml", &learnt.text)];
        let files = files.map(|(file, text)| (file.to_owned(), text.to_owned()));
        let set = PolicySet::load(files, Floor::builtin().unwrap());
        let set = set.unwrap_or_else(|wrong| panic!("{wrong}\n{}", learnt.text));
        set.resolve("learnt").unwrap().egress().clone()
    }

    #[test]
    fn what_is_learnt_is_what_was_asked_for() {
        let learnt = learn(&[
            "GET https://a.test/items/1",
            "GET https://a.test/items/2?full=yes",
            "GET https://a.test/index",
            "POST https://a.test/items",
            "dns a.test",
            "tcp git.test:22",
            "connect only.test:443",
        ]);
        assert_eq!((learnt.rules, learnt.covered), (4, 7), "{}", learnt.text);
        assert!(learnt.text.contains("paths = [\"/index\", \"/items/*\"]"), "{}", learnt.text);
        assert!(
            learnt.text.contains("methods = [\"POST\"]\npaths = [\"/items\"]"),
            "{}",
            learnt.text
        );
        let rules = loaded(&learnt);
        let says = |text: &str| Question::parse(text).unwrap().put_to(&rules).verdict();
        for refused in [
            "POST https://a.test/items/1",
            "GET https://a.test/",
            "GET https://b.test/",
            "GET https://only.test/",
            "tcp git.test:23",
            "PUT https://a.test/items",
        ] {
            assert_eq!(says(refused), Verdict::Deny, "{refused}");
        }
    }

    #[test]
    fn one_number_alone_stays_as_it_is() {
        let learnt = learn(&["GET https://a.test/items/17"]);
        assert!(learnt.text.contains("paths = [\"/items/17\"]"), "{}", learnt.text);
    }

    #[test]
    fn what_can_not_be_learnt_is_said() {
        let learnt =
            learn(&["TRACE https://a.test/", "GET https://a.test/a%2fb", "GET https://a.test/*"]);
        assert_eq!((learnt.rules, learnt.left_out.len()), (0, 3), "{}", learnt.text);
        assert_eq!(learnt.text.matches("# Left out:").count(), 3);
        loaded(&learnt);
    }

    #[test]
    fn what_a_rule_has_denied_by_name_is_left_out_whatever_the_base_says() {
        let question = Question::parse("GET https://a.test/").unwrap();
        let denied = Recorded { reason: "denied_by_rule".to_owned(), ..recorded(question) };
        let learnt = load(&[]).learn(&[denied], "learnt", "default");
        assert_eq!((learnt.rules, learnt.left_out.len()), (0, 1), "{}", learnt.text);
        loaded(&learnt);
    }

    #[test]
    fn a_connection_to_another_port_is_not_that_of_a_request() {
        let all =
            ["GET https://a.test/", "connect a.test:8443", "connect a.test:443", "dns a.test"];
        let learnt = learn(&all);
        assert_eq!((learnt.rules, learnt.covered), (2, 4), "{}", learnt.text);
        let rules = loaded(&learnt);
        for text in all {
            let question = Question::parse(text).unwrap();
            assert_eq!(question.put_to(&rules).verdict(), Verdict::Allow, "{text}");
        }
    }

    /// A request, or a name or a connection alone.
    fn anything() -> impl Strategy<Value = Question> {
        (question(), 0..4).prop_map(|(question, kind)| match (&question, question.host()) {
            (_, Host::Name(name)) if kind == 0 => Question::LookUp(name),
            (Question::Request { destination, protocol, .. }, _) if kind == 1 => {
                Question::Connect(destination.clone(), *protocol)
            }
            _ => question,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_learnt_policy_lets_through_what_it_learnt_from(
            questions in prop::collection::vec(anything(), 1..12),
        ) {
            let all: Vec<_> = questions.iter().cloned().map(recorded).collect();
            let learnt = load(&[]).learn(&all, "learnt", "default");
            let rules = loaded(&learnt);
            for question in &questions {
                let left_out = learnt.left_out.iter().any(|(known, _)| known == question);
                prop_assert_eq!(question.put_to(&rules).verdict() == Verdict::Deny, left_out,
                    "{}\n{}", question, learnt.text);
            }
        }
    }
}
