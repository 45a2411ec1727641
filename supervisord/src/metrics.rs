//! What the daemon counts, in the text format of Prometheus (OpenMetrics 1.0), for administrators.
//!
//! | name | labels | what it is |
//! |---|---|---|
//! | `supervisord_calls_total` | `front`, `operation`, `code` | calls answered; `code` is `ok` or the error's |
//! | `supervisord_submissions_total` | `policy` | executions that were recorded |
//! | `supervisord_refusals_total` | `code` | submissions that were refused |
//! | `supervisord_executions_total` | `policy`, `outcome` | executions that have finished |
//! | `supervisord_output_bytes_total` | `stream`, `fate` | bytes of finished executions' output, `kept` or `cut` |
//! | `supervisord_running` | | executions that have their turn |
//! | `supervisord_waiting` | | executions that wait for one |
//! | `supervisord_change_sets_total` | `act` | change sets that were `recorded`, `held` back, `applied` or `discarded` |
//! | `supervisord_starts_total` | `start` | payloads that were started, `warm` or `cold` |
//! | `supervisord_parked` | | sandboxes that are parked ahead |
//! | `supervisord_parked_bytes` | | bytes of memory that these hold |
//! | `supervisord_queue_seconds` | | from the submission to the turn |
//! | `supervisord_start_seconds` | | from the turn to the payload's start |
//! | `supervisord_store_seconds` | `operation` | until a record was on disk: `insert`, `finish` |
//! | `supervisord_egress_connections` | | connections of sandboxes that are being served |
//! | `supervisord_egress_requests_total` | `verdict` | requests out of sandboxes, `allow` or `deny` |
//! | `supervisord_egress_bytes_total` | `direction` | bytes to and from upstreams, `out` or `in` |
//! | `process_resident_memory_bytes` | | the daemon's memory |
//! | `process_open_fds` | | the daemon's descriptors |
//!
//! No label holds what a caller chose: fronts, operations, codes, outcomes and streams are fixed words,
//! and policies are those that root installed, [`MAX_POLICIES`] at the most.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use supervisor_api::{ChangesMode, ErrorCode, Execution, StartKind};
use supervisor_egress::Usage;

/// Policies that are told apart; those that come after are `other`. A host has a handful.
pub const MAX_POLICIES: usize = 64;

/// What stands for policies past that number, and for calls of no operation.
pub const OTHER: &str = "other";

/// Upper bounds in seconds: a start takes some ten milliseconds, a wait may take minutes.
const SECONDS: [f64; 12] = [0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0, 10.0, 60.0, 600.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    front: &'static str,
    operation: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Policy {
    policy: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    policy: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeSets {
    act: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Bytes {
    stream: &'static str,
    fate: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    start: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ruled {
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    direction: &'static str,
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counters.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    calls: Family<Call, Counter>,
    submissions: Family<Policy, Counter>,
    refusals: Family<Refused, Counter>,
    executions: Family<Ended, Counter>,
    output: Family<Bytes, Counter>,
    running: Gauge,
    waiting: Gauge,
    starts: Family<Found, Counter>,
    change_sets: Family<ChangeSets, Counter>,
    parked: Gauge,
    parked_bytes: Gauge,
    queue: Histogram,
    start: Histogram,
    store: Times<Write>,
    connections: Gauge,
    requests: Family<Ruled, Counter>,
    traffic: Family<Moved, Counter>,
    memory: Gauge,
    descriptors: Gauge,
    policies: Mutex<HashSet<String>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            submissions: Family::default(),
            refusals: Family::default(),
            executions: Family::default(),
            output: Family::default(),
            running: Gauge::default(),
            waiting: Gauge::default(),
            starts: Family::default(),
            change_sets: Family::default(),
            parked: Gauge::default(),
            parked_bytes: Gauge::default(),
            queue: times(),
            start: times(),
            store: Family::new_with_constructor(times),
            connections: Gauge::default(),
            requests: Family::default(),
            traffic: Family::default(),
            memory: Gauge::default(),
            descriptors: Gauge::default(),
            policies: Mutex::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// A call was answered.
    pub fn call(&self, front: &'static str, operation: &'static str, code: Option<ErrorCode>) {
        let code = code.map_or("ok", ErrorCode::name);
        self.calls.get_or_create(&Call { front, operation, code }).inc();
    }

    /// A submission was recorded, or refused.
    pub fn submission(&self, recorded: Result<&Execution, ErrorCode>) {
        match recorded {
            Ok(execution) => {
                let policy = self.policy(&execution.policy.name);
                self.submissions.get_or_create(&Policy { policy }).inc();
            }
            Err(code) => {
                self.refusals.get_or_create(&Refused { code: code.name() }).inc();
            }
        }
    }

    /// An execution has its turn, so long after its submission.
    pub fn turn(&self, waited: Duration) {
        self.queue.observe(waited.as_secs_f64());
    }

    /// A payload starts, so long after its turn.
    pub fn start(&self, kind: StartKind, took: Duration) {
        self.starts.get_or_create(&Found { start: kind.name() }).inc();
        self.start.observe(took.as_secs_f64());
    }

    /// A record is on disk, so long after it was handed in.
    pub fn stored(&self, operation: &'static str, took: Duration) {
        self.store.get_or_create(&Write { operation }).observe(took.as_secs_f64());
    }

    /// An execution has finished.
    pub fn finished(&self, execution: &Execution) {
        let outcome = execution.outcome.as_ref().map_or(OTHER, |outcome| outcome.name());
        let policy = self.policy(&execution.policy.name);
        self.executions.get_or_create(&Ended { policy, outcome }).inc();
        if let Some(changes) = &execution.changes {
            self.change_set(match changes.mode {
                ChangesMode::Record => "recorded",
                ChangesMode::Hold => "held",
            });
        }
        for (stream, summary) in
            [("stdout", execution.output.stdout), ("stderr", execution.output.stderr)]
        {
            for (fate, bytes) in [("kept", summary.kept), ("cut", summary.cut)] {
                self.output.get_or_create(&Bytes { stream, fate }).inc_by(bytes);
            }
        }
    }

    /// A change set was `recorded`, `held`, `applied` or `discarded`.
    pub fn change_set(&self, act: &'static str) {
        self.change_sets.get_or_create(&ChangeSets { act }).inc();
    }

    /// All of it as text; `running` and `waiting` are how many there are just now, `parked` how many
    /// sandboxes are and the bytes that they hold, and `traffic` is what has left all sandboxes.
    ///
    /// # Errors
    ///
    /// When a number can't be written, which none of these lacks.
    pub fn text(
        &self,
        (running, waiting): (usize, usize),
        parked: (usize, u64),
        traffic: Usage,
    ) -> Result<String, fmt::Error> {
        self.running.set(running as i64);
        self.waiting.set(waiting as i64);
        self.parked.set(parked.0 as i64);
        self.parked_bytes.set(parked.1 as i64);
        self.connections.set(traffic.connections as i64);
        for (verdict, number) in [("allow", traffic.requests), ("deny", traffic.refused)] {
            let counter = self.requests.get_or_create(&Ruled { verdict });
            counter.inner().store(number, Ordering::Relaxed);
        }
        for (direction, bytes) in [("out", traffic.bytes_out), ("in", traffic.bytes_in)] {
            let counter = self.traffic.get_or_create(&Moved { direction });
            counter.inner().store(bytes, Ordering::Relaxed);
        }
        self.memory.set(resident_bytes().unwrap_or_default());
        self.descriptors.set(open_descriptors());
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A policy's name, or what stands for one too many.
    fn policy(&self, name: &str) -> String {
        let mut known = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name.to_owned();
        }
        if known.len() >= MAX_POLICIES {
            return OTHER.to_owned();
        }
        known.insert(name.to_owned());
        name.to_owned()
    }

    fn register(&mut self) {
        let process = self.registry.sub_registry_with_prefix("process");
        let help = "Memory of the daemon in bytes";
        process.register("resident_memory_bytes", help, self.memory.clone());
        process.register("open_fds", "Descriptors of the daemon", self.descriptors.clone());
        let own = self.registry.sub_registry_with_prefix("supervisord");
        own.register("calls", "Calls answered", self.calls.clone());
        own.register("submissions", "Executions recorded", self.submissions.clone());
        own.register("refusals", "Submissions refused", self.refusals.clone());
        own.register("executions", "Executions finished", self.executions.clone());
        own.register("output_bytes", "Bytes of output of finished executions", self.output.clone());
        own.register("running", "Executions that have their turn", self.running.clone());
        own.register("waiting", "Executions that wait for their turn", self.waiting.clone());
        own.register("egress_connections", "Connections served", self.connections.clone());
        own.register("egress_requests", "Requests out of sandboxes", self.requests.clone());
        own.register("egress_bytes", "Bytes to and from upstreams", self.traffic.clone());
        own.register("starts", "Payloads started", self.starts.clone());
        own.register("change_sets", "What became of changes", self.change_sets.clone());
        own.register("parked", "Sandboxes parked ahead", self.parked.clone());
        own.register("parked_bytes", "Memory of these", self.parked_bytes.clone());
        own.register("queue_seconds", "From submission to turn", self.queue.clone());
        own.register("start_seconds", "From turn to start", self.start.clone());
        own.register("store_seconds", "Until a record was on disk", self.store.clone());
    }
}

fn times() -> Histogram {
    Histogram::new(SECONDS)
}

/// proc(5), statm: the second field is the resident set in pages.
fn resident_bytes() -> Option<i64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = text.split(' ').nth(1)?.parse().ok()?;
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?;
    pages.checked_mul(size)
}

/// One of them is the directory that is being read.
fn open_descriptors() -> i64 {
    let entries = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    entries.saturating_sub(1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text_and_in_the_table() {
        let metrics = Metrics::default();
        metrics.call("socket", "list", None);
        metrics.call("bus", "submit", Some(ErrorCode::Busy));
        metrics.submission(Err(ErrorCode::PolicyDenied));
        metrics.turn(Duration::from_millis(2));
        metrics.change_set("applied");
        metrics.start(StartKind::Warm, Duration::from_millis(20));
        metrics.stored("insert", Duration::from_millis(1));
        let traffic = Usage { connections: 2, requests: 5, refused: 6, bytes_out: 7, bytes_in: 8 };
        let text = metrics.text((3, 4), (5, 6), traffic).unwrap();
        for line in [
            r#"supervisord_calls_total{front="socket",operation="list",code="ok"} 1"#,
            r#"supervisord_calls_total{front="bus",operation="submit",code="busy"} 1"#,
            r#"supervisord_refusals_total{code="policy_denied"} 1"#,
            "supervisord_running 3",
            "supervisord_waiting 4",
            r#"supervisord_starts_total{start="warm"} 1"#,
            r#"supervisord_change_sets_total{act="applied"} 1"#,
            "supervisord_parked 5",
            "supervisord_parked_bytes 6",
            "supervisord_start_seconds_count 1",
            r#"supervisord_store_seconds_count{operation="insert"} 1"#,
            "supervisord_egress_connections 2",
            r#"supervisord_egress_requests_total{verdict="allow"} 5"#,
            r#"supervisord_egress_requests_total{verdict="deny"} 6"#,
            r#"supervisord_egress_bytes_total{direction="out"} 7"#,
            r#"supervisord_egress_bytes_total{direction="in"} 8"#,
            "# EOF",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let table = include_str!("metrics.rs");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            assert!(table.contains(&format!("//! | `{name}{suffix}`")), "{name} has no line");
        }
        let value = |name: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1 << 20);
        assert!(value("process_open_fds ") >= 3);
    }

    #[test]
    fn policies_without_number_make_a_bounded_number_of_lines() {
        let metrics = Metrics::default();
        for number in 0..10 * MAX_POLICIES {
            metrics
                .submissions
                .get_or_create(&Policy { policy: metrics.policy(&number.to_string()) })
                .inc();
        }
        let text = metrics.text((0, 0), (0, 0), Usage::default()).unwrap();
        assert_eq!(text.matches("supervisord_submissions_total{").count(), MAX_POLICIES + 1);
    }
}
