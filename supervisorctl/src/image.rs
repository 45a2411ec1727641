//! `image`: root directories for sandboxes, imported, listed, compared and removed by root on the host
//! itself, without the daemon.

use std::path::Path;

use serde_json::json;
use supervisor_image::{
    Bounds, Collected, Entry, ImageError, ImageId, ImageName, Import, Imported, Store, Unpacked,
};

use crate::cli::{GlobalOptions, ImageCommand, ImageImportOptions, OneImage, SomeImages};
use crate::console;
use crate::failure::Failure;
use crate::summary::line;
use crate::table::{cell, table_of, text};
use crate::terminal;
use crate::units::show_size;

/// Digits of a digest that tables show.
const SHORT: usize = 12;

/// `image`.
pub fn image(command: &ImageCommand, global: &GlobalOptions) -> Result<(), Failure> {
    match command {
        ImageCommand::Import(options) => import(options, global),
        ImageCommand::List(options) => list(&open(&options.images)?, global),
        ImageCommand::Show(options) => show(options, global),
        ImageCommand::Remove(options) => remove(options, global),
        ImageCommand::Gc(options) => {
            print_collected(&open(&options.images)?.collect().map_err(failed)?, global)
        }
        ImageCommand::Verify(options) => verify(options, global),
    }
}

fn open(path: &Path) -> Result<Store, Failure> {
    Store::open(path).map_err(failed)
}

fn failed(error: ImageError) -> Failure {
    match error {
        ImageError::Failed { doing, source } => {
            Failure::Local { doing: format!("cannot {doing}"), source }
        }
        other => Failure::Image { code: other.code(), words: other.to_string() },
    }
}

fn import(options: &ImageImportOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let bounds =
        Bounds { bytes: options.max_bytes, entries: options.max_entries, ..Bounds::default() };
    let import = Import {
        path: options.path.clone(),
        name: options.name.clone(),
        select: options.select.clone(),
        bounds,
    };
    let imported = open(&options.store.images)?.import(&import).map_err(failed)?;
    if global.json {
        return console::print_json(&imported);
    }
    if global.quiet {
        return console::print(&format!("{}\n", imported.id));
    }
    console::print(&describe_import(&imported))
}

fn describe_import(imported: &Imported) -> String {
    let mut page = String::new();
    line(&mut page, "image", &imported.id.to_string());
    if let Some(name) = &imported.name {
        line(&mut page, "name", name.as_str());
    }
    line(&mut page, "new", if imported.new { "yes" } else { "no, it was there" });
    line(
        &mut page,
        "size",
        &format!("{} in {} entries", show_size(imported.bytes), imported.entries),
    );
    describe_archive(&mut page, &imported.unpacked);
    page
}

fn describe_archive(page: &mut String, unpacked: &Unpacked) {
    let layers = format!(
        "{}, {} layers, {} digests compared",
        terminal::name(&unpacked.format),
        unpacked.layers,
        unpacked.verified_digests
    );
    line(page, "archive", &layers);
    for reference in &unpacked.references {
        line(page, "called there", &terminal::name(reference));
    }
    if let Some(digest) = &unpacked.manifest_digest {
        line(page, "manifest", &terminal::name(digest));
    }
    for (what, count) in &unpacked.dropped_counts {
        line(page, "left out", &format!("{}: {count}", terminal::name(what)));
    }
}

fn list(store: &Store, global: &GlobalOptions) -> Result<(), Failure> {
    let entries = store.list().map_err(failed)?;
    if global.json {
        return console::print_json(&json!({"images": entries}));
    }
    if global.quiet {
        let ids = entries.iter().map(|entry| format!("{}\n", entry.record.id));
        return console::print(&ids.collect::<String>());
    }
    let mut rows = table_of(&["NAME", "DIGEST", "SIZE", "ENTRIES", "IN USE", "IMPORTED"]);
    for Entry { names, in_use, record } in &entries {
        let names: Vec<_> = names.iter().map(ImageName::as_str).collect();
        rows.add_row([
            cell(&names.join(", ")),
            cell(&short(record.id)),
            cell(&show_size(record.bytes)),
            cell(&record.entries.to_string()),
            cell(if *in_use { "yes" } else { "" }),
            cell(record.imported_at.get(..19).unwrap_or(&record.imported_at)),
        ]);
    }
    console::print(&text(&rows))
}

fn short(id: ImageId) -> String {
    format!("sha256:{}", id.digits().get(..SHORT).unwrap_or_default())
}

fn show(options: &OneImage, global: &GlobalOptions) -> Result<(), Failure> {
    let store = open(&options.store.images)?;
    let found = store.find(&options.image).and_then(|id| store.entry(id)).map_err(failed)?;
    if global.json {
        return console::print_json(&found);
    }
    let Entry { names, in_use, record } = &found;
    let mut page = String::new();
    line(&mut page, "image", &record.id.to_string());
    for name in names {
        line(&mut page, "name", name.as_str());
    }
    line(&mut page, "size", &format!("{} in {} entries", show_size(record.bytes), record.entries));
    line(&mut page, "imported", &record.imported_at);
    line(&mut page, "in use", if *in_use { "yes" } else { "no" });
    describe_archive(&mut page, &record.unpacked);
    for dropped in &record.unpacked.dropped {
        let words = format!("{} ({})", dropped.path, dropped.what);
        line(&mut page, "left out", &terminal::name(&words));
    }
    line(&mut page, "written", &terminal::name(&record.unpacked.written.join(" ")));
    let config = &record.unpacked.config;
    for (what, words) in [
        ("environment", config.environment.join("\n")),
        ("directory", config.working_directory.clone()),
        ("entrypoint", config.entrypoint.join(" ")),
        ("command", config.command.join(" ")),
        ("user", config.user.clone()),
    ] {
        for word in words.lines() {
            line(&mut page, &format!("its {what}"), &terminal::name(word));
        }
    }
    console::print(&page)
}

fn remove(options: &OneImage, global: &GlobalOptions) -> Result<(), Failure> {
    let store = open(&options.store.images)?;
    let id = store.find(&options.image).map_err(failed)?;
    let names = store.entry(id).map_err(failed)?.names;
    let name: Option<ImageName> = options.image.parse().ok();
    // One of several names goes alone: the others still stand for the image.
    let gone = match name.filter(|_| names.len() > 1) {
        Some(name) => {
            store.forget(&name).map_err(failed)?;
            json!({"id": id, "name": name, "removed": false})
        }
        None => {
            store.remove(id).map_err(failed)?;
            json!({"id": id, "removed": true})
        }
    };
    if global.json {
        return console::print_json(&gone);
    }
    console::print(&format!("{id}\n"))
}

fn print_collected(collected: &Collected, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(collected);
    }
    let mut page = String::new();
    for id in &collected.removed {
        page.push_str(&format!("{id}\n"));
    }
    if !global.quiet {
        let removed = format!("{} images, {}", collected.removed.len(), show_size(collected.bytes));
        line(&mut page, "removed", &removed);
        let imports = match collected.unfinished {
            1 => "1 import: what it left is removed".to_owned(),
            count => format!("{count} imports: what they left is removed"),
        };
        line(&mut page, "cut off", &imports);
        let kept = format!("{} images without a name, which stay", collected.in_use.len());
        line(&mut page, "in use", &kept);
    }
    console::print(&page)
}

fn verify(options: &SomeImages, global: &GlobalOptions) -> Result<(), Failure> {
    let store = open(&options.directory)?;
    let ids: Vec<ImageId> = match options.images.as_slice() {
        [] => store.list().map_err(failed)?.iter().map(|entry| entry.record.id).collect(),
        some => {
            some.iter().map(|image| store.find(image)).collect::<Result<_, _>>().map_err(failed)?
        }
    };
    let (mut verified, mut damaged) = (Vec::new(), Vec::new());
    for id in ids {
        match store.verify(id) {
            Ok(one) => verified.push(one),
            Err(ImageError::Damaged { id, why }) => damaged.push(json!({"id": id, "why": why})),
            Err(other) => return Err(failed(other)),
        }
    }
    if global.json {
        console::print_json(&json!({"verified": verified, "damaged": damaged}))?;
    } else if !global.quiet {
        let mut page = String::new();
        for one in &verified {
            let size = format!("{} in {} entries", show_size(one.bytes), one.entries);
            line(&mut page, "whole", &format!("{} ({size})", one.id));
        }
        for one in &damaged {
            line(&mut page, "damaged", &format!("{}: {}", one["id"], one["why"]));
        }
        console::print(&page)?;
    }
    match damaged.len() {
        0 => Ok(()),
        count => Err(Failure::Negative(format!("{count} images are not what they were"))),
    }
}
