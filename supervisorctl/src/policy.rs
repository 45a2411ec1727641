//! `policy`: the policy crate at work without the daemon, on the files that the operator names; and which
//! policies the daemon has.

pub mod clients;
mod diff;
mod explain;
mod files;
mod list;
mod record;

use serde_json::{Value, json};
use supervisor_policy::egress::{Protocol, Rule};
use supervisor_policy::{
    Diagnostic, Limit, Limits, PolicySet, Resolved, Tested, floor_schema, policy_schema,
};

use crate::cli::{
    CheckOptions, GlobalOptions, PolicyCommand, SchemaOptions, ShowOptions, TestOptions,
};
use crate::client::Client;
use crate::failure::Failure;
use crate::policy::files::{Sources, Unloaded};
use crate::summary::line;
use crate::table::{cell, table_of, text};
use crate::{console, exit, terminal};

/// `policy`; only `list` asks the daemon. The exit status says whether the answer is the one that a check would want.
pub async fn policy(
    client: &Client,
    command: &PolicyCommand,
    global: &GlobalOptions,
) -> Result<u8, Failure> {
    match command {
        PolicyCommand::List => list::list(client, global).await.map(|()| exit::SUCCESS),
        PolicyCommand::Check(options) => check(options, global),
        PolicyCommand::Show(options) => show(options, global).map(|()| exit::SUCCESS),
        PolicyCommand::Explain(options) => explain::explain(options, global),
        PolicyCommand::Test(options) => test(options, global),
        PolicyCommand::Diff(options) => diff::diff(options, global),
        PolicyCommand::Replay(options) => record::replay(options, global),
        PolicyCommand::Learn(options) => record::learn(options, global),
        PolicyCommand::Hosts(options) => clients::hosts(options, global).map(|()| exit::SUCCESS),
        PolicyCommand::Schema(options) => schema(options, global).map(|()| exit::SUCCESS),
    }
}

/// `policy check`; the exit status says whether the files are valid.
fn check(options: &CheckOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let loaded = files::read_all(&options.files)
        .and_then(|sources| Ok((sources.lent.clone(), sources.load()?)));
    let (policies, warnings, diagnostics) = match loaded {
        Ok((lent, set)) => {
            let own: Vec<_> = set.iter().filter(|policy| !lent.contains(policy.name())).collect();
            let names: Vec<_> = own.iter().map(|policy| policy.name().to_owned()).collect();
            (names, own.iter().flat_map(|policy| policy.warnings()).collect(), None)
        }
        Err(Unloaded::Diagnostics(diagnostics)) => (Vec::new(), Vec::new(), Some(diagnostics)),
        Err(Unloaded::Failure(failure)) => return Err(failure),
    };
    let passes = !options.deny_warnings || warnings.is_empty();
    let valid = diagnostics.is_none() && passes;
    let mut once: Vec<&Diagnostic> = Vec::new();
    for warning in &warnings {
        // A parent's warning would else show once for each of its children.
        if !once.contains(&warning) {
            once.push(warning);
        }
    }
    if global.json {
        let found: Vec<Value> =
            diagnostics.iter().flatten().chain(once.iter().copied()).map(to_json).collect();
        let result = json!({"valid": valid, "policies": policies, "diagnostics": found});
        console::print_json(&result)?;
        return Ok(if valid { exit::SUCCESS } else { exit::FAILED });
    }
    if let Some(diagnostics) = &diagnostics {
        console::notice(&format!("{diagnostics}\n"));
    }
    for warning in once {
        console::notice(&format!("{warning}\n\n"));
    }
    if valid && !global.quiet {
        let names: String = policies.iter().map(|name| format!("{name}: valid\n")).collect();
        console::print(&names)?;
    }
    Ok(if valid { exit::SUCCESS } else { exit::FAILED })
}

/// `policy show`.
fn show(options: &ShowOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let policy = files::find(&options.subject).map_err(Unloaded::into_failure)?;
    match (global.json, options.resolved) {
        (true, resolved) => console::print_json(&policy_to_json(&policy, resolved)),
        (false, true) => console::print(&policy.show_resolved()),
        (false, false) => console::print(&describe(&policy)),
    }
}

/// `policy test`.
fn test(options: &TestOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let tested = files::read_all(&options.files).and_then(|sources| {
        let Sources { policies, floor, clients, lent } = sources;
        let mut tested = PolicySet::test(policies, floor, &clients)?;
        tested.retain(|example| !lent.contains(&example.policy));
        Ok(tested)
    });
    let tested = match tested {
        Ok(tested) => tested,
        Err(unloaded) => return unloaded.say(global.json),
    };
    let failed = tested.iter().filter(|example| example.failure.is_some()).count();
    if global.json {
        let each: Vec<Value> = tested.iter().map(tested_to_json).collect();
        console::print_json(&json!({"examples": each, "failed": failed}))?;
    } else {
        for example in &tested {
            let Tested { policy, example, place, failure } = example;
            match failure {
                Some(failure) => console::notice(&format!("{failure}\n\n")),
                None if global.quiet => {}
                None => {
                    let shown = terminal::name(example);
                    console::print(&format!("holds: {policy}: {shown} ({place})\n"))?;
                }
            }
        }
        if !global.quiet {
            console::print(&format!("{} examples, {failed} failed\n", tested.len()))?;
        }
    }
    Ok(if failed == 0 { exit::SUCCESS } else { exit::FAILED })
}

/// `policy schema`.
fn schema(options: &SchemaOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let schema = if options.floor { floor_schema() } else { policy_schema() };
    match serde_json::from_str::<Value>(&schema) {
        Ok(value) if global.json => console::print_json(&value),
        _ => console::print_bytes(schema.as_bytes()),
    }
}

fn tested_to_json(tested: &Tested) -> Value {
    json!({
        "policy": tested.policy,
        "example": tested.example,
        "place": tested.place,
        "holds": tested.failure.is_none(),
        "failure": tested.failure.as_ref().map(to_json),
    })
}

fn to_json(diagnostic: &Diagnostic) -> Value {
    json!({
        "severity": if diagnostic.is_warning() { "warning" } else { "error" },
        "file": diagnostic.file(),
        "line": diagnostic.line(),
        "column": diagnostic.column(),
        "message": diagnostic.message(),
        "hint": diagnostic.hint(),
        "snippet": diagnostic.snippet(),
    })
}

fn policy_to_json(policy: &Resolved, resolved: bool) -> Value {
    let limits = |limits: &Limits| -> Value {
        Limit::ALL.iter().map(|limit| (limit.to_string(), json!(limits.get(*limit)))).collect()
    };
    let environment: Value =
        policy.environment().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    let mut result = json!({
        "name": policy.name(),
        "description": policy.description(),
        "image": policy.image(),
        "images": policy.images(),
        "exec": policy.exec(),
        "pseudo_terminals": policy.pseudo_terminals(),
        "environment": environment,
        "profile": policy.profile().as_str(),
        "defaults": limits(&policy.defaults()),
        "maximum": limits(&policy.maximum()),
        "controls": controls(policy),
        "egress": policy.egress().rules().iter().map(rule_to_json).collect::<Vec<_>>(),
        "credentials": policy.egress().bindings().iter().map(|binding| json!({
            "name": binding.credential(),
            "hosts": shown(binding.hosts()),
            "ports": binding.ports(),
            "placeholder": binding.placeholder(),
            "place": binding.source().place(),
        })).collect::<Vec<_>>(),
        "budgets": policy.egress().budgets().iter()
            .map(|(name, value)| (name.to_owned(), json!(value))).collect::<Value>(),
    });
    if let (true, Some(fields)) = (resolved, result.as_object_mut()) {
        fields.insert("resolved".to_owned(), json!(policy.show_resolved()));
    }
    result
}

fn describe(policy: &Resolved) -> String {
    let mut page = format!("{}: {}\n", policy.name(), terminal::name(policy.description()));
    line(&mut page, "image", policy.image());
    for image in policy.images() {
        line(&mut page, "or by choice", image);
    }
    let exec = if policy.exec() { "allowed" } else { "not allowed" };
    line(&mut page, "exec", &format!("files of the workspace and /tmp: {exec}"));
    if policy.pseudo_terminals() {
        line(&mut page, "terminals", "programs can make pseudo-terminals");
    }
    line(&mut page, "syscalls", policy.profile().as_str());
    for (name, value) in policy.environment() {
        line(&mut page, "variable", &terminal::name(&format!("{name}={value}")));
    }
    line(&mut page, "requires", &controls(policy).join(", "));
    let (defaults, maximum) = (policy.defaults(), policy.maximum());
    let mut rows = table_of(&["LIMIT", "DEFAULT", "MAXIMUM"]);
    for limit in Limit::ALL {
        let shown = |limits: &Limits| cell(&limit.show(limits.get(*limit)));
        rows.add_row([cell(limit.name()), shown(&defaults), shown(&maximum)]);
    }
    for (name, value) in policy.egress().budgets().iter() {
        line(&mut page, "budget", &format!("{name} {value}"));
    }
    for binding in policy.egress().bindings() {
        let hosts = shown(binding.hosts()).join(", ");
        line(&mut page, "binds", &format!("the credential {} to {hosts}", binding.credential()));
    }
    page.push('\n');
    page.push_str(&text(&rows));
    if policy.egress().rules().is_empty() {
        return page + "\nNo egress rule: nothing leaves the sandbox.\n";
    }
    let mut rules = table_of(&["RULE", "VERDICT", "HOSTS", "PROTOCOLS", "METHODS", "PATHS"]);
    for rule in policy.egress().rules() {
        let ports = shown(rule.ports()).join(",");
        let protocols: Vec<_> = rule.protocols().iter().map(|known| known.as_str()).collect();
        let all = |list: Option<String>| cell(&list.unwrap_or_else(|| "all".to_owned()));
        rules.add_row([
            cell(rule.name()),
            cell(rule.verdict().as_str()),
            cell(&hosts(rule)),
            cell(&format!("{}:{ports}", protocols.join(","))),
            if rule.protocols() == [Protocol::Tcp] {
                cell("")
            } else {
                all(rule.methods().map(|methods| methods.join(" ")))
            },
            if rule.protocols() == [Protocol::Tcp] {
                cell("")
            } else {
                all(rule.paths().map(|paths| shown(paths).join(" ")))
            },
        ]);
    }
    page.push('\n');
    page + &text(&rules)
}

fn rule_to_json(rule: &Rule) -> Value {
    let protocols: Vec<_> = rule.protocols().iter().map(|known| known.as_str()).collect();
    json!({
        "name": rule.name(),
        "description": rule.description(),
        "verdict": rule.verdict().as_str(),
        "hosts": shown(rule.hosts()),
        "client": rule.client().map(|client| client.as_str()),
        "protocols": protocols,
        "ports": rule.ports(),
        "methods": rule.methods(),
        "paths": rule.paths().map(shown),
        "max_body": rule.max_body(),
        "policy": rule.source().holder(),
        "place": rule.source().place(),
    })
}

/// The hosts of a rule, or whose they are where nobody told them.
fn hosts(rule: &Rule) -> String {
    match rule.client() {
        Some(client) if rule.hosts().is_empty() => format!("(those of {client}: not asked)"),
        _ => shown(rule.hosts()).join(" "),
    }
}

fn shown(entries: &[impl ToString]) -> Vec<String> {
    entries.iter().map(ToString::to_string).collect()
}

/// The controls that an execution with the default limits needs.
fn controls(policy: &Resolved) -> Vec<&'static str> {
    let controls = policy.required_controls(&policy.defaults());
    controls.into_iter().map(|control| control.as_str()).collect()
}
