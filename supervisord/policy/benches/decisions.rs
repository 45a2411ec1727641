//! How long one decision takes among ten thousand rules, in nanoseconds: `cargo bench -p
//! supervisor-policy`. It prints and asserts nothing; the aim is below 5 µs.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a measurement that can't be made ends"
)]

use std::hint::black_box;
use std::time::Instant;

use supervisor_policy::egress::{Egress, Question};
use supervisor_policy::{Floor, PolicySet};

/// Rules in every shape.
const RULES: usize = 10_000;

/// Decisions that are timed of one kind.
const DECISIONS: u32 = 100_000;

/// Ten thousand rules of one kind, and requests that they are about.
struct Shape {
    title: &'static str,
    rule: fn(usize) -> String,
    request: fn(usize) -> String,
}

const SHAPES: [Shape; 6] = [
    Shape {
        title: "a host each",
        rule: |n| format!("hosts = [\"h{n}.test\"]"),
        request: |n| format!("GET https://h{n}.test/v1/items/17"),
    },
    Shape {
        title: "everything below a name each",
        rule: |n| format!("hosts = [\"**.h{n}.test\"]"),
        request: |n| format!("GET https://a.b.h{n}.test/v1/items/17"),
    },
    Shape {
        title: "a host each, with paths",
        rule: |n| {
            let paths = "paths = [\"/v1/**\", \"/v2/*\"]";
            format!("hosts = [\"h{n}.test\"]\nmethods = [\"GET\"]\n{paths}")
        },
        request: |n| format!("GET https://h{n}.test/v1/items/17"),
    },
    Shape {
        title: "one host, a directory each",
        rule: |n| format!("hosts = [\"h.test\"]\nmethods = [\"GET\"]\npaths = [\"/d{n}/**\"]"),
        request: |n| format!("GET https://h.test/d{n}/items/17"),
    },
    Shape {
        title: "one host, a deep directory each",
        rule: |n| format!("hosts = [\"h.test\"]\npaths = [\"/a/b/c/d{n}/**\"]"),
        request: |n| format!("GET https://h.test/a/b/c/d{n}/17"),
    },
    Shape {
        title: "one host, alike up to a star",
        rule: |n| format!("hosts = [\"h.test\"]\npaths = [\"/*/d{n}/**\"]"),
        request: |n| format!("GET https://h.test/a/d{n}/17"),
    },
];

fn main() {
    println!("{:<34}{:>12}{:>12}{:>12}", "10,000 rules", "first, ns", "last, ns", "refused, ns");
    for Shape { title, rule, request } in SHAPES {
        let egress = load(rule);
        let times = [0, RULES - 1, RULES]
            .map(|n| time(&egress, &Question::parse(&request(n)).expect("a request")));
        println!("{title:<34}{:>12}{:>12}{:>12}", times[0], times[1], times[2]);
    }
}

fn load(rule: impl Fn(usize) -> String) -> Egress {
    let rules: String =
        (0..RULES).map(|n| format!("[[egress]]\nname = \"r{n}\"\n{}\n", rule(n))).collect();
    let policy = ("x.toml".to_owned(), format!("name = \"x\"\nextends = \"default\"\n{rules}"));
    let files = PolicySet::builtin_files().chain([policy]);
    let set = PolicySet::load(files, Floor::builtin().expect("a floor")).expect("a policy");
    set.resolve("x").expect("the policy").egress().clone()
}

/// Nanoseconds of one decision, on average.
fn time(egress: &Egress, question: &Question) -> u128 {
    let start = Instant::now();
    for _ in 0..DECISIONS {
        black_box(black_box(question).put_to(black_box(egress)));
    }
    start.elapsed().as_nanos() / u128::from(DECISIONS)
}
