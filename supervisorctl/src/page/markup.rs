//! Markup, into which words come as words only: the names of elements and attributes are ours, and all else is
//! escaped on its way in.

use crate::terminal;

/// Markup that is being written.
#[derive(Debug, Default)]
pub struct Markup(String);

impl Markup {
    /// Markup of our own.
    pub fn raw(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// An element's beginning, or an element that has no end.
    pub fn tag(&mut self, name: &'static str, attributes: &[(&'static str, &str)]) {
        self.0.push('<');
        self.0.push_str(name);
        for (attribute, value) in attributes {
            self.0.push(' ');
            self.0.push_str(attribute);
            self.0.push_str("=\"");
            self.text(value);
            self.0.push('"');
        }
        self.0.push('>');
    }

    /// An element's end.
    pub fn close(&mut self, name: &'static str) {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    /// An element with words in it.
    pub fn words(&mut self, name: &'static str, words: &str) {
        self.classed(name, "", words);
    }

    /// The same of a class.
    pub fn classed(&mut self, name: &'static str, class: &'static str, words: &str) {
        match class {
            "" => self.tag(name, &[]),
            class => self.tag(name, &[("class", class)]),
        }
        self.text(words);
        self.close(name);
        self.0.push('\n');
    }

    /// Words: no character of them has a meaning to a browser, moves a cursor or turns the direction of writing.
    pub fn text(&mut self, words: &str) {
        for c in terminal::words(words).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
    }

    /// A table of words; nothing where it would be empty.
    pub fn table(&mut self, header: &[&'static str], rows: &[Vec<String>]) {
        if rows.is_empty() {
            return;
        }
        self.raw("<div class=\"wide\"><table><thead><tr>");
        for title in header {
            self.words("th", title);
        }
        self.raw("</tr></thead><tbody>\n");
        for row in rows {
            self.raw("<tr>");
            for cell in row {
                self.words("td", cell);
            }
            self.raw("</tr>");
        }
        self.raw("</tbody></table></div>\n");
    }

    /// What was written.
    pub fn end(self) -> String {
        self.0
    }
}
