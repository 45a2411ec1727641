//! Callers who go on submitting while the daemon is killed again and again, and what they were told.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use serde::de::DeserializeOwned;
use supervisor_api::{
    ArtifactRequest, Execution, ExecutionId, Outcome, Session, SessionId, State, SubmitRequest,
};
use supervisor_tests::{Client, argv, bash, python};

/// Executions that a caller has told of and not yet seen the end of: more than have a turn, so that most wait.
const AHEAD: usize = 4;

/// Why an execution may be lost: it was just being started when the daemon was killed.
const BEFORE_THE_START: [&str; 2] =
    ["the daemon was killed before the payload started", "its sandbox is gone"];

/// What an execution is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Says a line at once and one a moment later.
    Says,
    /// Leaves an artifact.
    Makes,
    /// Adds a line to a file of the caller's session.
    Adds,
    /// Takes a sandbox that is parked for it, if there is one.
    Parked,
    /// Is cancelled.
    Cancelled,
}

/// An execution whose id was told.
struct Told {
    deed: Deed,
    number: u64,
    /// That it is to end was asked for, and answered.
    cancelled: bool,
    end: Option<Execution>,
}

/// One caller.
pub struct Caller {
    client: Client,
    session: SessionId,
    told: BTreeMap<ExecutionId, Told>,
}

/// Numbers of chance: Knuth's generator, of whose numbers the high bits will do.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % most
    }
}

impl Deed {
    fn of(number: u64) -> Self {
        match number % 5 {
            0 => Self::Says,
            1 => Self::Makes,
            2 => Self::Adds,
            3 => Self::Parked,
            _ => Self::Cancelled,
        }
    }

    fn request(self, number: u64, session: SessionId) -> SubmitRequest {
        match self {
            Self::Says => bash(&format!("echo {number}; sleep 0.{}; echo {number}", number % 4)),
            Self::Makes => SubmitRequest {
                artifacts: ArtifactRequest { globs: vec!["made".to_owned()] },
                ..bash(&format!("echo {number} >made; echo {number}"))
            },
            Self::Adds => SubmitRequest {
                session: Some(session),
                // Source would be a file of the session's, which the next one replaces.
                ..argv(&["bash", "-c", &format!("echo {number} >>lines; echo {number}")])
            },
            Self::Parked => python(&format!("print({number})")),
            Self::Cancelled => bash(&format!("echo {number}; exec sleep 600")),
        }
    }

    fn output(self, number: u64) -> String {
        match self {
            Self::Says => format!("{number}\n{number}\n"),
            _ => format!("{number}\n"),
        }
    }
}

impl Caller {
    /// A caller with a session.
    pub fn new(client: Client) -> Self {
        let session: Session = ask(&client, "POST", "/v1/sessions", "{}").expect("a session");
        Self { client, session: session.id, told: BTreeMap::new() }
    }

    /// Goes on until it is over. Where the daemon is dead the next try comes to another.
    pub fn go_on(&mut self, is_over: &AtomicBool, numbers: &AtomicU64) {
        while !is_over.load(Ordering::Relaxed) {
            if self.submit(numbers.fetch_add(1, Ordering::Relaxed)).is_err() {
                thread::yield_now();
            }
        }
    }

    fn submit(&mut self, number: u64) -> io::Result<()> {
        let deed = Deed::of(number);
        let request = deed.request(number, self.session);
        let body = serde_json::to_string(&request)?;
        let execution: Execution = ask(&self.client, "POST", "/v1/executions", &body)?;
        self.told.insert(execution.id, Told { deed, number, cancelled: false, end: None });
        if deed == Deed::Cancelled {
            self.see(execution.id, "cancel", "POST")?;
            if let Some(told) = self.told.get_mut(&execution.id) {
                told.cancelled = true;
            }
        }
        let open: Vec<_> = self.told.iter().filter(|(_, told)| told.end.is_none()).collect();
        if open.len() > AHEAD {
            let oldest = open.into_iter().min_by_key(|(_, told)| told.number);
            if let Some(id) = oldest.map(|(id, _)| *id) {
                self.see(id, "?wait=10", "GET")?;
            }
        }
        Ok(())
    }

    /// Sees an execution, perhaps at its end.
    fn see(&mut self, id: ExecutionId, rest: &str, method: &str) -> io::Result<()> {
        let slash = if rest.starts_with('?') { "" } else { "/" };
        let target = format!("/v1/executions/{id}{slash}{rest}");
        let execution: Execution = ask(&self.client, method, &target, "")?;
        if let (State::Finished, Some(told)) = (execution.state, self.told.get_mut(&id)) {
            told.end = Some(execution);
        }
        Ok(())
    }

    /// What became of all that it was told of, which has to be right; how many were lost. Nothing of the
    /// caller's is there any more then, but the records.
    pub fn account(self, ends: &mut BTreeMap<ExecutionId, Execution>) -> usize {
        let (client, mut lost) = (&self.client, 0);
        let target = format!("/v1/sessions/{}/files/lines", self.session);
        let mut added = Vec::new();
        for (id, Told { deed, number, cancelled, end }) in self.told {
            if deed == Deed::Cancelled {
                client.cancel(id).expect("it is ours"); // which changes no end that there was
            }
            let ended = client.ended(id);
            if let Some(end) = end {
                assert_eq!(end, ended.execution, "what was told has changed");
            }
            let whole = deed.output(number);
            let is_lost = match &ended.execution.outcome {
                Some(Outcome::Lost { reason }) => {
                    assert!(BEFORE_THE_START.iter().any(|each| reason.contains(each)), "{ended:?}");
                    true
                }
                Some(Outcome::Cancelled) => {
                    assert_eq!(deed, Deed::Cancelled);
                    assert!(["", &whole].contains(&&*ended.stdout), "{ended:?}");
                    false
                }
                // The daemon died over the word, which nobody repeated while it could have been heard.
                Some(Outcome::TimedOut) => {
                    assert!(deed == Deed::Cancelled && !cancelled, "{ended:?}");
                    assert_eq!(ended.stdout, whole, "{ended:?}");
                    false
                }
                outcome => {
                    assert_eq!(outcome, &Some(Outcome::Exited { code: 0 }), "{ended:?}");
                    assert_eq!(ended.stdout, whole, "{ended:?}");
                    false
                }
            };
            lost += usize::from(is_lost);
            match deed {
                Deed::Makes if !is_lost => {
                    let made = client.artifact(id, "made").expect("it is kept");
                    assert_eq!(made, format!("{number}\n").into_bytes());
                }
                Deed::Adds => added.push((number, is_lost)),
                _ => {}
            }
            ends.insert(id, ended.execution);
        }
        let reply = client.call("GET", &target, None).expect("an answer");
        let lines = String::from_utf8(reply.body).expect("text");
        for (number, is_lost) in added {
            let times = lines.lines().filter(|line| *line == number.to_string()).count();
            assert_eq!(times, usize::from(!is_lost), "{number} was to be added once");
        }
        let closed = client.call("DELETE", &format!("/v1/sessions/{}", self.session), None);
        assert!(closed.expect("an answer").status < 300);
        lost
    }
}

/// One call, whose answer is never a refusal.
fn ask<T: DeserializeOwned>(
    client: &Client,
    method: &str,
    target: &str,
    body: &str,
) -> io::Result<T> {
    let reply =
        client.call(method, target, Some(body.as_bytes()).filter(|body| !body.is_empty()))?;
    assert!(reply.status < 300, "{method} {target}: {:?}", reply.problem());
    serde_json::from_slice(&reply.body).map_err(io::Error::other)
}
