//! From raw to checked, one entry at a time. A [`Checker`] goes on after an error, so that a file's
//! errors are all reported at once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use crate::control::Control;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Document, Origin, Sourced};
use crate::environment::{check_environment_name, check_environment_value};
use crate::example::{Example, SubmissionExample, Verdict};
use crate::limit::{InvalidLimit, Limit, LimitsAsked, PerLimit};
use crate::name::{IMAGE_RULE, MODULE_RULE, NAME_RULE, image_name, is_module, is_name};
use crate::place::WorkspacePlace;
use crate::profile::SyscallProfile;
use crate::raw::{Amount, RawAmounts, RawExpect};
use crate::root::RootAccess;
use crate::suggest;

/// Bytes of a description: it is one cell of a table.
const MAX_DESCRIPTION: usize = 1024;

/// Variables in a file: more than a person reads through.
const MAX_VARIABLES: usize = 256;

/// Modules in a list. Each is imported whenever a sandbox is parked.
const MAX_MODULES: usize = 64;

/// Examples in a file. Each costs one check at load; more are a test suite, not examples.
const MAX_EXAMPLES: usize = 256;

/// Checked limits, each where it was given.
pub(crate) type Amounts = PerLimit<Option<Sourced<u64>>>;

/// Checks a document's raw entries and collects what is wrong with them.
pub(crate) struct Checker {
    document: Arc<Document>,
    diagnostics: Vec<Diagnostic>,
}

impl Checker {
    pub fn new(document: Arc<Document>) -> Self {
        Self { document, diagnostics: Vec::new() }
    }

    /// The document that is being checked.
    pub fn document(&self) -> &Arc<Document> {
        &self.document
    }

    /// The checked whole, if nothing was wrong.
    pub fn finish<T>(self, checked: T) -> Result<T, Vec<Diagnostic>> {
        if self.diagnostics.is_empty() { Ok(checked) } else { Err(self.diagnostics) }
    }

    /// The file's own name, which has to be its stem: one policy can't pose as another.
    pub fn own_name(&mut self, raw: &Spanned<String>, stem: &str) {
        if raw.get_ref() != stem {
            let message = format!("the policy's name is not its file's, `{stem}`");
            self.refuse(
                raw.span(),
                message,
                format!("write `name = \"{stem}\"`, or rename the file"),
            );
        }
    }

    /// A name of something else.
    pub fn name(&mut self, raw: Spanned<String>) -> Option<Sourced<String>> {
        if !is_name(raw.get_ref()) {
            self.refuse(raw.span(), "this is not a name", NAME_RULE);
            return None;
        }
        Some(self.document.sourced(&raw, raw.get_ref().clone()))
    }

    /// An image.
    pub fn image(&mut self, raw: &Spanned<String>) -> Option<Sourced<String>> {
        match image_name(raw.get_ref()) {
            Some(name) => Some(self.document.sourced(raw, name)),
            None => {
                self.refuse(raw.span(), "this is not an image", IMAGE_RULE);
                None
            }
        }
    }

    /// The images of a list, each once.
    pub fn images(&mut self, raw: &Spanned<Vec<Spanned<String>>>) -> Sourced<Vec<String>> {
        let each = raw.get_ref().iter();
        let mut images: Vec<_> = each.filter_map(|image| Some(self.image(image)?.value)).collect();
        images.sort();
        images.dedup();
        self.document.sourced(raw, images)
    }

    /// A description.
    pub fn description(&mut self, raw: Spanned<String>) -> Option<Sourced<String>> {
        if raw.get_ref().len() > MAX_DESCRIPTION {
            let hint = format!("keep it to {MAX_DESCRIPTION} bytes; comments can say more");
            self.refuse(raw.span(), "this description is too long", hint);
            return None;
        }
        Some(self.document.sourced(&raw, raw.get_ref().clone()))
    }

    /// A flag.
    pub fn flag(&mut self, raw: &Spanned<bool>) -> Sourced<bool> {
        self.document.sourced(raw, *raw.get_ref())
    }

    /// Names of modules.
    pub fn modules(&mut self, raw: &Spanned<Vec<Spanned<String>>>) -> Sourced<Vec<String>> {
        let mut modules = Vec::new();
        for name in raw.get_ref() {
            if modules.len() >= MAX_MODULES {
                let problem = format!("more than {MAX_MODULES} modules");
                self.refuse(name.span(), problem, "name those that take long to import");
                break;
            }
            if is_module(name.get_ref()) {
                modules.push(name.get_ref().clone());
            } else {
                self.refuse(name.span(), "this is not a module's name", MODULE_RULE);
                break;
            }
        }
        self.document.sourced(raw, modules)
    }

    /// Limits that a policy sets.
    pub fn amounts(&mut self, raw: &RawAmounts) -> Amounts {
        PerLimit::from_fn(|limit| {
            let raw = raw.at(limit).as_ref()?;
            let value = self.amount(limit, raw, |value| limit.check(value))?;
            Some(self.document.sourced(raw, value))
        })
    }

    /// The system-call profiles of a list.
    pub fn profiles(
        &mut self,
        raw: &Spanned<Vec<Spanned<String>>>,
    ) -> Sourced<Vec<SyscallProfile>> {
        let each = raw.get_ref().iter();
        let profiles = each.filter_map(|name| Some(self.profile(name)?.value)).collect();
        self.document.sourced(raw, profiles)
    }

    /// A system-call profile.
    pub fn profile(&mut self, raw: &Spanned<String>) -> Option<Sourced<SyscallProfile>> {
        let Some(profile) = SyscallProfile::from_name(raw.get_ref()) else {
            let known: Vec<_> = SyscallProfile::ALL.iter().map(|known| known.as_str()).collect();
            self.unknown("system-call profile", raw, &known);
            return None;
        };
        Some(self.document.sourced(raw, profile))
    }

    /// The places of a list.
    pub fn workspace_places(
        &mut self,
        raw: &Spanned<Vec<Spanned<String>>>,
    ) -> Sourced<Vec<WorkspacePlace>> {
        let each = raw.get_ref().iter();
        let places = each.filter_map(|name| Some(self.place(name)?.value)).collect();
        self.document.sourced(raw, places)
    }

    /// Where a workspace is to be.
    pub fn place(&mut self, raw: &Spanned<String>) -> Option<Sourced<WorkspacePlace>> {
        let Some(place) = WorkspacePlace::from_name(raw.get_ref()) else {
            let known = WorkspacePlace::ALL.map(WorkspacePlace::as_str);
            self.unknown("place for workspaces", raw, &known);
            return None;
        };
        Some(self.document.sourced(raw, place))
    }

    /// What may be done with the image's files.
    pub fn root(&mut self, raw: &Spanned<String>) -> Option<Sourced<RootAccess>> {
        let Some(access) = RootAccess::from_name(raw.get_ref()) else {
            self.unknown("access to the root", raw, &RootAccess::ALL.map(RootAccess::as_str));
            return None;
        };
        Some(self.document.sourced(raw, access))
    }

    /// Controls, each where it was named.
    pub fn controls(&mut self, raw: &[Spanned<String>]) -> BTreeMap<Control, Origin> {
        let mut controls = BTreeMap::new();
        for name in raw {
            match Control::from_name(name.get_ref()) {
                Some(control) => {
                    controls.entry(control).or_insert_with(|| self.document.origin(name.span()));
                }
                None => {
                    let known: Vec<_> = Control::ALL.iter().map(|known| known.as_str()).collect();
                    self.unknown("control", name, &known);
                }
            }
        }
        controls
    }

    /// Variables.
    pub fn environment(
        &mut self,
        raw: BTreeMap<Spanned<String>, Spanned<String>>,
    ) -> BTreeMap<String, Sourced<String>> {
        if let Some(first_over) = raw.keys().nth(MAX_VARIABLES) {
            let message = format!("a policy can't set more than {MAX_VARIABLES} variables");
            self.refuse_plainly(first_over.span(), message);
        }
        let mut variables = BTreeMap::new();
        for (name, value) in raw.into_iter().take(MAX_VARIABLES) {
            let named = check_environment_name(name.get_ref()).map_err(|e| (name.span(), e));
            let valued = check_environment_value(value.get_ref()).map_err(|e| (value.span(), e));
            match named.and(valued) {
                Ok(()) => {
                    let sourced = self.document.sourced(&name, value.into_inner());
                    variables.insert(name.into_inner(), sourced);
                }
                Err((span, invalid)) => self.refuse_plainly(span, invalid.to_string()),
            }
        }
        variables
    }

    /// The examples that the file carries.
    pub fn examples(&mut self, raw: &[Spanned<RawExpect>]) -> Vec<Example> {
        if let Some(first_over) = raw.get(MAX_EXAMPLES) {
            let message = format!("a file can't hold more than {MAX_EXAMPLES} examples");
            self.refuse_plainly(first_over.span(), message);
        }
        let within = raw.iter().take(MAX_EXAMPLES);
        within.filter_map(|raw| self.example(raw.get_ref())).collect()
    }

    fn example(&mut self, raw: &RawExpect) -> Option<Example> {
        if let Some(request) = &raw.request {
            return self.request_example(raw, request).map(Example::Request);
        }
        let Some(submit) = &raw.submit else {
            let hint = "add `submit = { … }` or `request = \"…\"`";
            self.refuse(raw.verdict.span(), "this example asks nothing", hint);
            return None;
        };
        let spans = [
            raw.rule.as_ref().map(Spanned::span),
            raw.reason.as_ref().map(Spanned::span),
            raw.credential.as_ref().map(Spanned::span),
            raw.body.as_ref().map(Spanned::span),
            raw.websocket.as_ref().map(Spanned::span),
        ];
        for span in spans.into_iter().flatten() {
            self.refuse(span, "this is for examples of requests", "add `request`, or leave it out");
        }
        let asked = self.asked(submit);
        let limit = raw.limit.as_ref().map(|name| (name, Limit::from_name(name.get_ref())));
        let verdict = match (raw.verdict.get_ref().as_str(), limit) {
            ("accepted", None) => Verdict::Accepted,
            ("refused", Some((_, Some(limit)))) => Verdict::Refused(limit),
            ("accepted", Some((name, _))) => {
                self.refuse_plainly(name.span(), "what is accepted is not refused for a limit");
                return None;
            }
            ("refused", None) => {
                let hint = "add `limit = \"…\"`, so that a refusal for something else is no pass";
                self.refuse(raw.verdict.span(), "the limit it is refused for is missing", hint);
                return None;
            }
            ("refused", Some((name, None))) => {
                let known: Vec<_> = Limit::ALL.iter().map(|known| known.name()).collect();
                self.unknown("limit", name, &known);
                return None;
            }
            _ => {
                self.unknown("verdict", &raw.verdict, &["accepted", "refused"]);
                return None;
            }
        };
        let origin = self.document.origin(raw.verdict.span());
        Some(Example::Submission(SubmissionExample { asked, verdict, origin }))
    }

    /// Limits that an example's submission asks for. Values no policy could set are let through:
    /// to be refused is what they are there for.
    fn asked(&mut self, raw: &RawAmounts) -> LimitsAsked {
        PerLimit::from_fn(|limit| self.amount(limit, raw.at(limit).as_ref()?, Ok))
    }

    fn amount(
        &mut self,
        limit: Limit,
        raw: &Spanned<Amount>,
        check: impl FnOnce(u64) -> Result<u64, InvalidLimit>,
    ) -> Option<u64> {
        let read = match raw.get_ref() {
            Amount::Whole(number) => limit.unit().whole(*number),
            Amount::Text(text) => limit.unit().parse(text),
        };
        match read.map_err(InvalidLimit::Quantity).and_then(check) {
            Ok(value) => Some(value),
            Err(invalid) => {
                self.refuse(raw.span(), format!("{limit}: {invalid}"), invalid.hint());
                None
            }
        }
    }

    /// Refuses an unknown name and says which is probably meant.
    pub fn unknown(&mut self, what: &str, raw: &Spanned<String>, known: &[&str]) {
        let (name, hint) = (raw.get_ref(), suggest::hint(raw.get_ref(), known));
        self.refuse(raw.span(), format!("unknown {what} `{name}`"), hint);
    }

    /// Refuses what stands at a span, with what to do about it.
    pub fn refuse(&mut self, span: Range<usize>, message: impl AsRef<str>, hint: impl AsRef<str>) {
        self.report(|document| document.diagnostic(span, message).with_hint(hint));
    }

    /// Refuses what stands at a span.
    pub fn refuse_plainly(&mut self, span: Range<usize>, message: impl AsRef<str>) {
        self.report(|document| document.diagnostic(span, message));
    }

    /// Refuses what stands at a place.
    pub fn report_at(&mut self, origin: &Origin, message: &str, hint: &str) {
        self.report(|_| origin.diagnostic(message).with_hint(hint));
    }

    /// A diagnostic searches the text for its line, so no more are made than will be shown.
    fn report(&mut self, diagnostic: impl FnOnce(&Document) -> Diagnostic) {
        if !Diagnostics::enough(&self.diagnostics) {
            self.diagnostics.push(diagnostic(&self.document));
        }
    }
}

/// All the limits, if none is left out; else the names of those that are.
pub(crate) fn complete(amounts: &Amounts) -> Result<PerLimit<Sourced<u64>>, Vec<Limit>> {
    PerLimit::try_from_fn(|limit| amounts.at(limit).clone().ok_or(())).map_err(|()| {
        Limit::ALL.iter().copied().filter(|limit| amounts.at(*limit).is_none()).collect()
    })
}
