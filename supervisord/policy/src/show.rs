//! The text forms of a resolved policy: one for auditors, with the origin of every line, and one for
//! digests, with nothing but what is enforced. Both are policy text again.

use crate::diagnostic::is_deceptive;
use crate::document::Origin;
use crate::egress::text::Line;
use crate::limit::{Limit, Limits};
use crate::quantity::Unit;
use crate::resolved::{Bounded, Resolved};

/// The column at which origins start, where the line before them is not longer.
const ORIGIN_COLUMN: usize = 40;

/// First line of the canonical text. It changes when the same policy comes out differently, so that
/// digests of two forms can't be compared by mistake.
const CANONICAL_FORM: &str = "# supervisord policy, canonical form 2";

/// Lines of policy text, each with where it comes from.
struct Lines(String);

impl Resolved {
    /// The policy as it holds, as policy text; every value ends with a comment that says where it
    /// comes from.
    pub fn show_resolved(&self) -> String {
        let mut lines = Lines(String::new());
        lines.value("name", &quote(self.name()), &self.name.origin);
        if let Some(description) = &self.description {
            lines.value("description", &quote(&description.value), &description.origin);
        }
        lines.section("limits");
        for limit in Limit::ALL {
            lines.limit(*limit, self.defaults.at(*limit));
        }
        lines.section("limits.max");
        for limit in Limit::ALL {
            lines.limit(*limit, self.maximum.at(*limit));
        }
        lines.section("filesystem");
        lines.value("image", &quote(self.image()), &self.image.origin);
        if let Some(images) = &self.images {
            lines.value("images", &format!("[{}]", quoted(&images.value)), &images.origin);
        }
        lines.value("exec", &self.exec().to_string(), &self.exec.origin);
        let workspace = quote(self.workspace().as_str());
        lines.value("workspace", &workspace, &self.workspace.origin);
        if let Some(root) = &self.root {
            lines.value("root", &quote(root.value.as_str()), &root.origin);
        }
        if let Some(terminals) = &self.pseudo_terminals {
            lines.value("pseudo_terminals", &terminals.value.to_string(), &terminals.origin);
        }
        if !self.environment.is_empty() {
            lines.section("environment");
        }
        for (name, value) in &self.environment {
            lines.value(&key(name), &quote(&value.value), &value.origin);
        }
        lines.section("syscalls");
        lines.value("profile", &quote(self.profile().as_str()), &self.profile.origin);
        if self.warm.is_some() || self.modules.is_some() {
            lines.section("warm");
        }
        if let Some(starts) = &self.warm {
            lines.value("starts", &starts.value.to_string(), &starts.origin);
        }
        if let Some(modules) = &self.modules {
            lines.value("modules", &list(&modules.value), &modules.origin);
        }
        lines.section("requires");
        lines.0.push_str("controls = [\n");
        for (control, origin) in &self.requires {
            lines.entry(&format!("    \"{control}\","), &from(origin));
        }
        lines.0.push_str("]\n");
        for rule in self.egress.rules() {
            lines.table("egress", &rule.lines(), &rule.source.origin);
        }
        for binding in self.egress.bindings() {
            lines.table("credential", &binding.lines(), &binding.source().origin);
        }
        if !self.budgets.is_empty() {
            lines.section("budgets");
        }
        for (name, budget) in &self.budgets {
            lines.value(name, &budget.value.to_string(), &budget.origin);
        }
        lines.0
    }

    /// What the policy enforces, as text with one spelling only: two policies have the same canonical
    /// text exactly if they have the same name and decide the same. Its SHA-256 is the policy's digest.
    pub fn canonical(&self) -> String {
        let controls: Vec<_> =
            self.requires.keys().map(|control| format!("\"{control}\"")).collect();
        let variables: String = self
            .environment()
            .map(|(name, value)| format!("environment.{} = {}\n", quote(name), quote(value)))
            .collect();
        let egress = self.canonical_egress();
        let images = match self.images() {
            [] => String::new(),
            images => format!("filesystem.images = [{}]\n", quoted(images)),
        };
        let root = self.root.as_ref().map_or("", |_| "filesystem.root = \"writable\"\n");
        let terminals =
            if self.pseudo_terminals() { "filesystem.pseudo_terminals = true\n" } else { "" };
        let warm = self.canonical_warm();
        format!(
            "{CANONICAL_FORM}\nname = {}\n{}{}filesystem.image = {}\nfilesystem.exec = {}\n\
             filesystem.workspace = {}\n{root}{terminals}{images}{variables}{warm}syscalls.profile = {}\nrequires.controls = [{}]\n{egress}",
            quote(self.name()),
            canonical_limits("limits", &self.defaults()),
            canonical_limits("limits.max", &self.maximum()),
            quote(self.image()),
            self.exec(),
            quote(self.workspace().as_str()),
            quote(self.profile().as_str()),
            controls.join(", "),
        )
    }
}

/// Texts of a list.
fn quoted(texts: &[String]) -> String {
    texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(", ")
}

impl Resolved {
    /// What is as it is without a word about it has none here either.
    fn canonical_warm(&self) -> String {
        let starts = if self.warm_starts() { "" } else { "warm.starts = false\n" };
        let modules =
            self.warm_modules().map(|modules| format!("warm.modules = {}\n", list(modules)));
        format!("{starts}{}", modules.unwrap_or_default())
    }

    fn canonical_egress(&self) -> String {
        let mut text = String::new();
        for (name, budget) in &self.budgets {
            text.push_str(&format!("budgets.{name} = {}\n", budget.value));
        }
        let mut table = |name: &str, lines: &[Line<'_>]| {
            text.push_str(&format!("[[{name}]]\n"));
            // What it is for changes nothing of what is decided.
            for (key, value, _) in lines.iter().filter(|(key, ..)| *key != "description") {
                text.push_str(&format!("{key} = {value}\n"));
            }
        };
        for rule in self.egress.rules() {
            table("egress", &rule.lines());
        }
        for binding in self.egress.bindings() {
            table("credential", &binding.lines());
        }
        text
    }
}

impl Lines {
    fn table(&mut self, name: &str, lines: &[Line<'_>], origin: &Origin) {
        self.0.push_str(&format!("\n[[{name}]]\n"));
        for (key, value, place) in lines {
            match place {
                Some(place) => self.value(key, value, place),
                None => self.value(key, value, &origin.implied()),
            }
        }
    }

    fn section(&mut self, name: &str) {
        self.0.push_str("\n[");
        self.0.push_str(name);
        self.0.push_str("]\n");
    }

    fn limit(&mut self, limit: Limit, bounded: &Bounded) {
        let effective = bounded.effective();
        let origin = match &bounded.floor {
            None => from(&effective.origin),
            Some(floor) => {
                let (asked, asker) = (limit.show(bounded.given.value), &bounded.given.origin);
                format!("{}, which bounds {asked} of {asker}", from(&floor.origin))
            }
        };
        self.entry(&format!("{limit} = {}", literal(limit, effective.value)), &origin);
    }

    fn value(&mut self, key: &str, value: &str, origin: &Origin) {
        self.entry(&format!("{key} = {value}"), &from(origin));
    }

    fn entry(&mut self, text: &str, origin: &str) {
        let padding = " ".repeat(ORIGIN_COLUMN.saturating_sub(text.chars().count()));
        self.0.push_str(text);
        self.0.push_str(&padding);
        self.0.push_str(" # ");
        self.0.push_str(origin);
        self.0.push('\n');
    }
}

fn from(origin: &Origin) -> String {
    format!("{} {origin}", if origin.is_given() { "from" } else { "implied by" })
}

/// A name as a TOML key, bare where it can be.
fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quote(name) }
}

/// A limit's value in policy text: quoted where it has a unit.
fn literal(limit: Limit, value: u64) -> String {
    let text = limit.unit().show(value);
    if value == 0 || text.bytes().all(|byte| byte.is_ascii_digit()) {
        value.to_string()
    } else {
        quote(&text)
    }
}

fn canonical_limits(section: &str, limits: &Limits) -> String {
    let lines = Limit::ALL.iter().map(|limit| {
        // Times and shares can't stand without a unit; the smallest one is exact.
        let value = match limit.unit() {
            Unit::Time => format!("\"{} ms\"", limits.get(*limit)),
            Unit::Percent => format!("\"{}%\"", limits.get(*limit)),
            _ => limits.get(*limit).to_string(),
        };
        format!("{section}.{limit} = {value}\n")
    });
    lines.collect()
}

fn list(texts: &[String]) -> String {
    let quoted: Vec<_> = texts.iter().map(|text| quote(text)).collect();
    format!("[{}]", quoted.join(", "))
}

/// A text as a TOML basic string. Whatever could deceive a reader of the line is escaped.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            deceptive if is_deceptive(deceptive) => {
                quoted.push_str(&format!("\\U{:08X}", u32::from(deceptive)));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
