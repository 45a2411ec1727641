use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// All that a payload, a caller or an upstream chooses says this.
fn page(words: &str, media_type: &str) -> String {
    let time = "2026-01-02T03:04:05.000006Z";
    let ruling = json!({"verdict": "deny", "policy": words, "rule": words, "reason": words, "cause": words,
        "remedy": words});
    let record = |number: u64, what: Value| {
        let mut record = json!({"seq": number, "time": time, "prev": "", "hash": ""});
        for part in [what, ruling.clone()] {
            let fields = part.as_object().cloned().unwrap_or_default();
            record.as_object_mut().expect("an object").extend(fields);
        }
        serde_json::from_value(record).expect("a record")
    };
    let limits: serde_json::Map<String, Value> = supervisor_api::Limit::ALL
        .iter()
        .map(|limit| (limit.name().to_owned(), json!(1000)))
        .collect();
    let execution = json!({
        "id": format!("ex-{}", "a".repeat(26)), "session": format!("se-{}", "a".repeat(26)), "owner_uid": 1,
        "state": "finished", "outcome": {"type": "setup_failed", "step": words, "reason": words},
        "argv": [words, words], "labels": {"label": words}, "policy": {"name": words, "digest": words},
        "limits": limits, "created_at": time, "started_at": time, "finished_at": time,
        "usage": {"wall_ms": 10, "cpu_ms": 10, "memory_peak": 2000, "workspace_bytes": 3},
        "output": {"stdout": {"kept": 3, "cut": 1}, "stderr": {"kept": 3, "cut": 0}},
        "artifact_count": 1, "artifacts_truncated": true,
        "controls": [{"control": words, "status": "weaker", "by": words, "reason": words, "remedy": words}],
    });
    let artifact = json!({"path": words, "size": 4, "sha256": words, "media_type": media_type});
    let samples = json!({"interval_ms": 250, "samples": [
        {"at_ms": 250, "cpu_us": 200_000, "memory": 1 << 20, "pids": 2, "read": 0, "written": 4096},
        {"at_ms": 500, "cpu_us": 300_000, "memory": 3 << 20, "pids": 1, "read": 512, "written": 8192},
        {"at_ms": 600, "cpu_us": 300_000},
    ]});
    let one = Gathered {
        samples: serde_json::from_value(samples).expect("samples"),
        execution: serde_json::from_value(execution).expect("an execution"),
        stdout: words.as_bytes().to_vec(),
        stderr: words.as_bytes().to_vec(),
        artifacts: vec![(
            serde_json::from_value(artifact).expect("an artifact"),
            Some(words.as_bytes().to_vec()),
        )],
        refused: vec![
            serde_json::from_value(json!({"path": words, "reason": words})).expect("one"),
        ],
        records: vec![
            record(
                1,
                json!({"kind": "egress", "host": words, "port": 1, "protocol": words, "method": words,
                "path": words}),
            ),
            record(
                2,
                json!({"kind": "credential", "credential": words, "act": words, "host": words}),
            ),
        ],
        more_records: true,
        receipt: None,
    };
    whole("title", &[one])
}

/// The tags of a page, without the values of their attributes.
fn skeleton(page: &str) -> String {
    let (mut tags, mut inside, mut quoted) = (String::new(), false, false);
    for c in page.chars() {
        match c {
            '<' if !inside => inside = true,
            '"' if inside => {
                quoted = !quoted;
                tags.push(c);
                continue;
            }
            '>' if inside && !quoted => {
                inside = false;
                tags.push('\n');
            }
            _ => {}
        }
        if inside && !quoted {
            tags.push(c);
        }
    }
    tags
}

proptest! {
    #[test]
    fn no_words_of_others_become_markup(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("<script>alert(1)</script>".to_owned()), Just("\"><img src=x onerror=y>".to_owned()),
                Just("</pre></style>".to_owned()), Just("' onload='x".to_owned()), Just("<!--".to_owned()),
                Just("]]>".to_owned()), Just("&lt;".to_owned()), Just("\u{202e}\0\x1b[2J".to_owned()),
                any::<String>(),
            ],
            0..6,
        ),
    ) {
        let hostile = page(&parts.concat(), "image/svg+xml");
        prop_assert_eq!(skeleton(&hostile), skeleton(&page("x", "image/svg+xml")));
        let obeyed = ['\0', '\x1b', '\u{202e}'];
        prop_assert!(!hostile.contains(obeyed));
    }
}

#[test]
fn what_was_used_over_time_is_drawn_and_told() {
    let page = page("x", "image/png");
    for told in [
        "aria-label=\"CPU, at most 0.80 cores of 10.00 cores, over ",
        "aria-label=\"Memory, at most 3.0 MiB of ",
        "aria-label=\"Processes, at most 2 of 1000, over ",
        "<path d=\"M0.0 24.0 L300.0 24.0 L600.0 64.0 L720.0 104.0\" class=\"line\">",
        "written (dashes) 16.0 KiB/s",
    ] {
        assert!(page.contains(told), "{told} is missing in\n{page}");
    }
}

#[test]
fn nothing_is_fetched_or_run_to_read_it() {
    let page = page("x", "image/png");
    assert!(page.contains("default-src &#39;none&#39;; img-src data:; style-src &#39;sha256-"));
    for word in ["<script", "http://", "https://", "javascript:", " style=", " onload", "<iframe"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("<img src=\"data:image/png;base64,eA==\""));
}
