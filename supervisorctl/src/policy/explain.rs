//! `policy explain`: what a policy says to one request, who says so, and what else was considered.

use serde_json::{Value, json};
use supervisor_policy::egress::{
    Considered, Decision, Explanation, Mismatch, Question, Treatment, Verdict,
};

use crate::cli::{ExplainOptions, GlobalOptions};
use crate::failure::Failure;
use crate::policy::files;
use crate::summary::line;
use crate::{console, exit, terminal};

/// `policy explain`.
pub fn explain(options: &ExplainOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let policy = match files::find(&options.subject) {
        Ok(policy) => policy,
        Err(unloaded) => return unloaded.say(global.json),
    };
    let mut question = match Question::parse(&options.request) {
        Ok(question) => question,
        Err(invalid) => {
            let words = format!("{}: {invalid}; {}", options.request, invalid.hint());
            return files::Unloaded::Failure(Failure::Negative(words)).say(global.json);
        }
    };
    if let Question::Request { body, .. } = &mut question {
        *body = Some(options.body);
    }
    let explanation = policy.egress().explain(&question);
    if global.json {
        console::print_json(&to_json(&question, &explanation))?;
    } else {
        console::print(&describe(&question, &explanation, options.all))?;
    }
    Ok(match explanation.decision.verdict() {
        Verdict::Allow => exit::SUCCESS,
        Verdict::Ask | Verdict::Deny => exit::FAILED,
    })
}

/// A decision as JSON.
pub fn decision_to_json(decision: &Decision) -> Value {
    let credentials: Vec<&str> = credentials(decision);
    json!({
        "verdict": decision.verdict().as_str(),
        "reason": decision.reason().as_str(),
        "rule": decision.rule().rule(),
        "policy": decision.rule().holder(),
        "place": decision.rule().place(),
        "cause": decision.refusal().map(|refusal| refusal.cause()),
        "remedy": decision.refusal().map(|refusal| refusal.remedy()),
        "credentials": credentials,
        "patience_ms": decision.patience().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        "max_body": decision.prospect().and_then(|permit| permit.max_body()),
    })
}

/// The credentials that go into what is decided.
pub fn credentials(decision: &Decision) -> Vec<&str> {
    let bindings = decision.prospect().map(|permit| permit.bindings()).unwrap_or_default();
    bindings.iter().map(|binding| binding.credential()).collect()
}

fn to_json(question: &Question, explanation: &Explanation) -> Value {
    let considered: Vec<Value> = explanation
        .considered
        .iter()
        .map(|known| {
            json!({
                "rule": known.rule.rule(),
                "policy": known.rule.holder(),
                "place": known.rule.place(),
                "verdict": known.verdict.as_str(),
                "matches": known.matched.is_ok(),
                "other": known.matched.err().map(name),
            })
        })
        .collect();
    json!({
        "request": question.to_string(),
        "decision": decision_to_json(&explanation.decision),
        "path": explanation.path,
        "tls": explanation.treatment.map(|(treatment, why)| json!({
            "treatment": treatment_name(treatment), "why": why,
        })),
        "considered": considered,
    })
}

fn describe(question: &Question, explanation: &Explanation, all: bool) -> String {
    let decision = &explanation.decision;
    let shown = question.to_string();
    let mut page = format!("{}: {}\n", terminal::name(&shown), decision.verdict());
    line(&mut page, "by", &terminal::name(&decision.rule().to_string()));
    line(&mut page, "reason", decision.reason().as_str());
    if let Some(refusal) = decision.refusal() {
        line(&mut page, "cause", &terminal::name(refusal.cause()));
        line(&mut page, "remedy", &terminal::name(refusal.remedy()));
    }
    if let Some(path) = &explanation.path {
        line(&mut page, "path", &format!("{}, as it is compared and sent", terminal::name(path)));
    }
    if let Some((treatment, why)) = explanation.treatment {
        line(&mut page, "TLS", &format!("{}: {why}", treatment_name(treatment)));
    }
    for credential in credentials(decision) {
        line(&mut page, "with", &format!("the credential {credential}"));
    }
    let (near, far): (Vec<&Considered>, Vec<&Considered>) = explanation
        .considered
        .iter()
        .partition(|known| all || known.matched != Err(Mismatch::Host));
    if !near.is_empty() {
        page.push_str("\nConsidered:\n");
    }
    for known in near {
        let rule = terminal::name(&known.rule.to_string()).into_owned();
        let verdict = known.verdict;
        page.push_str(&match known.matched {
            Ok(()) => format!("  {rule}: matches, says {verdict}\n"),
            Err(mismatch) => format!("  {rule}: would say {verdict}, but {}\n", words(mismatch)),
        });
    }
    if !far.is_empty() {
        page.push_str(&format!("  and {} about other hosts\n", far.len()));
    }
    page
}

fn words(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Host => "for other hosts",
        Mismatch::Port => "for other ports",
        Mismatch::Protocol => "for other protocols",
        Mismatch::Path => "for other paths",
        Mismatch::Method => "for other methods",
        Mismatch::WebSocket => "not for WebSockets",
        Mismatch::Body => "for smaller bodies",
    }
}

fn name(mismatch: Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Host => "host",
        Mismatch::Port => "port",
        Mismatch::Protocol => "protocol",
        Mismatch::Path => "path",
        Mismatch::Method => "method",
        Mismatch::WebSocket => "websocket",
        Mismatch::Body => "body",
    }
}

/// What is done with TLS, in a word of the policy.
pub fn treatment_name(treatment: Treatment) -> &'static str {
    match treatment {
        Treatment::Pass => "pass",
        Treatment::Inspect => "inspect",
    }
}
