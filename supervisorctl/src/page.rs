//! `report`: one HTML file that says what became of an execution, or of those of a session: nothing is fetched to
//! read it and no script runs in it, and what a payload chose is text in it, or a picture, and never markup.

mod gathered;
mod markup;
mod over_time;
mod plots;
mod sections;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::cli::{GlobalOptions, ReportOptions, Which};
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::save;

use self::gathered::Gathered;
use self::markup::Markup;

/// How it looks, by day and by night.
const STYLE: &str = include_str!("page/style.css");

/// `report`.
pub async fn report(
    client: &Client,
    options: &ReportOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let (title, name) = match options.which {
        Which::Execution(id) => (format!("Execution {id}"), id.to_string()),
        Which::Session(id) => (format!("Session {id}"), id.to_string()),
    };
    let all = match options.which {
        Which::Execution(id) => vec![Gathered::of(client, client.status(id, 0).await?).await?],
        Which::Session(id) => gathered::of_session(client, id).await?,
    };
    let text = whole(&title, &all);
    if options.to.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        return console::print_bytes(text.as_bytes());
    }
    let path = options.to.clone().unwrap_or_else(|| PathBuf::from(format!("report-{name}.html")));
    let shown = path.display().to_string();
    let mut file = save::file(&path, options.force)?;
    file.write(text.as_bytes())?;
    file.commit()?;
    match global.json {
        true => console::print_json(&json!({"report": shown, "bytes": text.len()})),
        false => console::print(&format!("{shown}\n")),
    }
}

/// The whole file.
fn whole(title: &str, all: &[Gathered]) -> String {
    let digest = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    );
    let mut page = Markup::default();
    page.raw("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n");
    page.tag("meta", &[("http-equiv", "Content-Security-Policy"), ("content", &policy)]);
    page.tag("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]);
    page.tag("meta", &[("name", "color-scheme"), ("content", "light dark")]);
    page.tag("meta", &[("name", "referrer"), ("content", "no-referrer")]);
    page.words("title", title);
    page.raw("<style>");
    page.raw(STYLE);
    page.raw("</style></head>\n<body><main>\n");
    page.words("h1", title);
    if all.len() != 1 {
        sections::contents(&mut page, all);
    }
    for one in all {
        sections::execution(&mut page, one, all.len() != 1);
    }
    page.raw("</main></body></html>\n");
    page.end()
}

#[cfg(test)]
mod tests;
