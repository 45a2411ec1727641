//! What is asked for, how it ends, and what it says.

use std::collections::BTreeMap;

use supervisor_api::{
    ArtifactRequest, Content, Execution, LimitsRequest, Outcome, SubmitRequest, UniqueMap,
};
use supervisor_tests::{argv, bash};

/// The label that says which execution it is.
pub const NUMBER: &str = "number";

/// Why an execution may be lost: the daemon was killed before it had begun, or had part of its input.
const BEFORE_THE_START: [&str; 2] =
    ["the daemon was killed before the payload started", "its sandbox is gone"];
const BEFORE_ALL_INPUT: &str = "before the payload had all of its standard input";

/// Milliseconds that each may take, on a machine that is busy with other things and where daemons die; and what one
/// may take that is to be out of time.
const LONG: u64 = 30 * 60_000;
const SHORT: u64 = 500;

/// What its caller does besides waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Nothing.
    Waits,
    /// Follows its output, over connections that it cuts.
    Follows,
    /// Cancels it when it runs.
    Cancels,
    /// Cancels it at once, when it may wait for its turn.
    CancelsAtOnce,
}

/// An execution as it has to be.
pub struct Wanted {
    pub request: SubmitRequest,
    pub deed: Deed,
    pub is_short: bool,
    outcome: End,
    /// What it says, if that is certain.
    pub output: Option<String>,
    /// Whether it has input, of which a daemon's death may lose a part.
    has_input: bool,
}

enum End {
    Is(Outcome),
    /// By the step that starts the program.
    NotExecuted,
}

impl Wanted {
    /// Ten kinds of payloads by turns, of lengths and outputs that their number says.
    pub fn of(number: usize) -> Self {
        let nothing = || Some(String::new());
        let line = format!("{number}\n");
        let (request, code, output) = match number % 10 {
            1 => (bash(&format!("exit {}", number % 100)), number % 100, nothing()),
            2 => {
                let bytes = number * 7919 % 200_000;
                let script =
                    format!("echo first; sleep 0.1; head -c {bytes} /dev/zero | tr '\\0' x");
                (bash(&script), 0, Some(format!("first\n{}", "x".repeat(bytes))))
            }
            3 => {
                let sleeps = format!("echo {number}; sleep 0.{}; echo {number}", number / 10 % 10);
                (bash(&sleeps), 0, Some(line.repeat(2)))
            }
            4 => (bash("echo a; kill -9 $$"), 0, Some("a\n".to_owned())),
            5 => (bash("exec sleep 3000"), 0, nothing()),
            6 => (bash("echo up; exec sleep 3000"), 0, None),
            7 => {
                let stdin = Some(Content(line.repeat(50).into_bytes()));
                // Its first process would be waited for, and its input is its own to the end.
                let cat = SubmitRequest { stdin, ..argv(&["bash", "-c", "cat; exit 3"]) };
                (cat, 3, Some(line.repeat(50)))
            }
            8 => (argv(&["/nothing/here"]), 0, nothing()),
            9 => (bash("exec sleep 3000"), 0, nothing()),
            _ => (bash(&format!("echo {number} | tee made")), 0, Some(line)),
        };
        let exited = Outcome::Exited { code: u8::try_from(code).expect("it is small") };
        let outcome = match number % 10 {
            4 => End::Is(Outcome::Signaled { signal: 9, name: "SIGKILL".to_owned() }),
            5 => End::Is(Outcome::TimedOut),
            6 | 9 => End::Is(Outcome::Cancelled),
            8 => End::NotExecuted,
            _ => End::Is(exited),
        };
        let deed = match number % 10 {
            2 => Deed::Follows,
            6 => Deed::Cancels,
            9 => Deed::CancelsAtOnce,
            _ => Deed::Waits,
        };
        let labels = UniqueMap(BTreeMap::from([(NUMBER.to_owned(), number.to_string())]));
        let globs = if number.is_multiple_of(10) { vec!["made".to_owned()] } else { Vec::new() };
        let artifacts = ArtifactRequest { globs };
        let time = if number % 10 == 5 { SHORT } else { LONG };
        let limits = LimitsRequest { wall_time: Some(time), ..LimitsRequest::default() };
        Self {
            request: SubmitRequest { labels, artifacts, limits, ..request },
            deed,
            is_short: number % 10 == 1,
            outcome,
            output,
            has_input: number % 10 == 7,
        }
    }

    /// Fails unless it ended so, or was lost where that may be; whether it was lost.
    #[track_caller]
    pub fn expect(&self, execution: &Execution) -> bool {
        match (&execution.outcome, &self.outcome) {
            (Some(Outcome::Lost { reason }), _) => {
                let unstarted = BEFORE_THE_START.iter().any(|each| reason.contains(each));
                let may = unstarted || self.has_input && reason.contains(BEFORE_ALL_INPUT);
                assert!(may, "{execution:?}");
                true
            }
            (Some(Outcome::SetupFailed { step, .. }), End::NotExecuted) => {
                assert_eq!(step, "exec", "{execution:?}");
                false
            }
            (Some(outcome), End::Is(wanted)) if outcome == wanted => false,
            _ => panic!("it ended otherwise: {execution:?}"),
        }
    }
}
