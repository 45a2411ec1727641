//! The media type of a file: by its signature, else by the ending of its name, else by whether it
//! reads as text. It is a hint for whoever opens the file; nothing is decided by it.

use std::path::Path;

/// Bytes of a file's beginning that are looked at.
pub(super) const HEAD_BYTES: usize = 512;

/// Parts of a signature, each at its offset.
type Parts = &'static [(usize, &'static [u8])];

/// Signatures and what they are of.
const SIGNATURES: &[(Parts, &str)] = &[
    (&[(0, b"\x89PNG\r\n\x1a\n")], "image/png"),
    (&[(0, b"\xff\xd8\xff")], "image/jpeg"),
    (&[(0, b"GIF87a")], "image/gif"),
    (&[(0, b"GIF89a")], "image/gif"),
    (&[(0, b"RIFF"), (8, b"WEBP")], "image/webp"),
    (&[(0, b"RIFF"), (8, b"WAVE")], "audio/wav"),
    (&[(4, b"ftyp")], "video/mp4"),
    (&[(0, b"%PDF-")], "application/pdf"),
    (&[(0, b"PK\x03\x04")], ZIP),
    (&[(0, b"PK\x05\x06")], ZIP),
    (&[(0, b"\x1f\x8b")], "application/gzip"),
    (&[(0, b"PAR1")], "application/vnd.apache.parquet"),
    (&[(0, b"SQLite format 3\0")], "application/vnd.sqlite3"),
    (&[(0, b"\x7fELF")], "application/x-executable"),
    (&[(0, b"\x93NUMPY")], "application/x-npy"),
];

const ZIP: &str = "application/zip";

/// Endings of files that are zip archives inside.
const ZIP_ENDINGS: &[(&str, &str)] = &[
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
];

/// Endings of files that have no signature.
const ENDINGS: &[(&str, &str)] = &[
    ("csv", "text/csv"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ipynb", "application/x-ipynb+json"),
    ("js", "text/javascript"),
    ("json", "application/json"),
    ("log", TEXT),
    ("md", "text/markdown"),
    ("ndjson", "application/x-ndjson"),
    ("npy", "application/x-npy"),
    ("py", "text/x-python"),
    ("svg", "image/svg+xml"),
    ("toml", "application/toml"),
    ("tsv", "text/tab-separated-values"),
    ("txt", TEXT),
    ("xml", "application/xml"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
];

const TEXT: &str = "text/plain";

/// The media type of the file at `path` that begins with `head`.
pub(super) fn media_type(path: &str, head: &[u8]) -> &'static str {
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str()).unwrap_or("");
    match by_signature(head) {
        Some(ZIP) => by_ending(ZIP_ENDINGS, ending).unwrap_or(ZIP),
        Some(known) => known,
        None => by_ending(ENDINGS, ending).unwrap_or_else(|| by_text(head)),
    }
}

fn by_signature(head: &[u8]) -> Option<&'static str> {
    let stands =
        |(at, bytes): &(usize, &[u8])| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
    SIGNATURES.iter().find(|(parts, _)| parts.iter().all(stands)).map(|(_, known)| *known)
}

fn by_ending(endings: &[(&str, &'static str)], ending: &str) -> Option<&'static str> {
    endings.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known)).map(|(_, known)| *known)
}

fn by_text(head: &[u8]) -> &'static str {
    let head = head.get(..HEAD_BYTES).unwrap_or(head);
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // The cut may have gone through a character; anything else is not UTF-8.
        Err(cut) if cut.error_len().is_none() && head.len() == HEAD_BYTES => {
            head.get(..cut.valid_up_to()).and_then(|h| std::str::from_utf8(h).ok()).unwrap_or("\0")
        }
        Err(_) => return "application/octet-stream",
    };
    let binary = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\x0c');
    if text.contains(binary) { "application/octet-stream" } else { TEXT }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_tells_more_than_an_ending() {
        for (path, head, known) in [
            ("a.txt", &b"\x89PNG\r\n\x1a\n\0\0"[..], "image/png"),
            ("a", b"\xff\xd8\xff\xe0", "image/jpeg"),
            ("a", b"GIF89a", "image/gif"),
            ("a", b"RIFF\x10\0\0\0WEBPVP8 ", "image/webp"),
            ("a", b"RIFF\x10\0\0\0WAVEfmt ", "audio/wav"),
            ("a.m4v", b"\0\0\0\x18ftypisom", "video/mp4"),
            ("a", b"%PDF-1.7\n", "application/pdf"),
            ("a", b"PK\x03\x04", "application/zip"),
            ("a.gz", b"\x1f\x8b\x08", "application/gzip"),
            ("a", b"PAR1\x15", "application/vnd.apache.parquet"),
            ("a.db", b"SQLite format 3\0", "application/vnd.sqlite3"),
            ("a.out", b"\x7fELF\x02", "application/x-executable"),
        ] {
            assert_eq!(media_type(path, head), known, "{path}");
        }
    }

    #[test]
    fn an_office_document_is_more_than_a_zip_archive() {
        assert!(media_type("out/report.xlsx", b"PK\x03\x04").ends_with("spreadsheetml.sheet"));
        assert_eq!(media_type("out/report.xlsx", b"a,b\n"), "text/plain");
    }

    #[test]
    fn an_ending_is_read_in_any_case_and_only_after_a_name() {
        assert_eq!(media_type("out.d/A.CSV", b"a,b\n"), "text/csv");
        assert_eq!(media_type("out/.csv", b"\0"), "application/octet-stream");
        assert_eq!(media_type("out.csv/a", b"\0"), "application/octet-stream");
    }

    #[test]
    fn what_reads_as_text_is_text_and_the_rest_is_bytes() {
        assert_eq!(media_type("Makefile", b"all:\n\tcc\r\n"), "text/plain");
        assert_eq!(media_type("empty", b""), "text/plain");
        assert_eq!(media_type("a", b"a\0b"), "application/octet-stream");
        assert_eq!(media_type("a", b"\x1b[2J"), "application/octet-stream");
        assert_eq!(media_type("a", b"caf\xe9"), "application/octet-stream");
        assert_eq!(media_type("a", b"caf\xc3"), "application/octet-stream");
    }

    #[test]
    fn a_character_cut_in_two_at_the_end_of_the_head_is_still_text() {
        let mut head = vec![b'a'; HEAD_BYTES - 1];
        head.extend("é".bytes());
        assert_eq!(media_type("a", &head), "text/plain");
        assert_eq!(media_type("a", &head[..HEAD_BYTES]), "text/plain");
    }

    #[test]
    fn no_ending_stands_in_a_table_twice() {
        for table in [ENDINGS, ZIP_ENDINGS] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0), "sorted, each once");
        }
    }
}
