//! One of many callers: it submits what ends in a way that it knows, follows it through every loss of its
//! connection, and holds its outcome and its output against that.

use std::cell::Cell;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use supervisor_api::{Execution, ExecutionId, ExecutionList, Outcome, State, SubmitRequest};
use supervisor_tests::{Client, Reply};

use crate::wanted::{Deed, NUMBER, Wanted};

/// How long a call is made again for. On a loaded machine a daemon takes its time to be back.
const PATIENCE: Duration = Duration::from_secs(300);

/// How an execution ended, as it had to.
pub struct End {
    pub id: ExecutionId,
    pub outcome: Outcome,
    /// From its submission.
    pub took: Duration,
    /// Until its submission was answered.
    pub answered: Duration,
    /// Whether it did nothing.
    pub is_short: bool,
    /// How often a call about it had to be made again.
    pub reconnects: usize,
}

/// A caller.
pub struct Caller {
    client: Client,
    again: Cell<usize>,
}

impl Caller {
    pub fn new(client: Client) -> Self {
        Self { client, again: Cell::new(0) }
    }

    /// Has one run, to its end.
    pub fn run(&self, number: usize) -> End {
        let wanted = Wanted::of(number);
        let (begin, before) = (Instant::now(), self.again.get());
        let id = self.submit(number, &wanted.request);
        let answered = begin.elapsed();
        let mut followed = None;
        match wanted.deed {
            Deed::Waits => {}
            Deed::Follows => followed = Some(self.follow(id)),
            Deed::Cancels => {
                self.until_running(id);
                self.cancel(id);
            }
            Deed::CancelsAtOnce => self.cancel(id),
        }
        let execution = self.finished(id);
        let took = begin.elapsed();
        let is_lost = wanted.expect(&execution);
        // Said once, it stays so.
        assert_eq!(self.finished(id), execution, "{number}, {id}");
        if let (Some(output), false) = (&wanted.output, is_lost) {
            let target = format!("/v1/executions/{id}/output?stream=stdout");
            let found = self.call("GET", &target, None).body;
            assert!(found == output.as_bytes(), "{number}, {id}: {} bytes", found.len());
            assert!(followed.is_none_or(|bytes| bytes == found), "{number}, {id}: followed others");
        }
        if number.is_multiple_of(10) && !is_lost {
            let made = self.call("GET", &format!("/v1/executions/{id}/artifacts/made"), None).body;
            assert_eq!(made, format!("{number}\n").into_bytes(), "{id}");
        }
        End {
            id,
            outcome: execution.outcome.expect("it has ended"),
            took,
            answered,
            is_short: wanted.is_short,
            reconnects: self.again.get() - before,
        }
    }

    /// How many executions it has had, by what the daemon knows.
    pub fn count(&self) -> usize {
        let (mut count, mut after) = (0, String::new());
        loop {
            let target = format!("/v1/executions?limit=200{after}");
            let page: ExecutionList = self.insist("GET", &target);
            count += page.executions.len();
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return count,
            }
        }
    }

    /// Submits once. Where the answer is lost, the daemon may have taken it or not, and knows.
    fn submit(&self, number: usize, request: &SubmitRequest) -> ExecutionId {
        let body = serde_json::to_vec(request).expect("it has a JSON form");
        let begin = Instant::now();
        loop {
            match self.client.call("POST", "/v1/executions", Some(&body)) {
                Ok(reply) if reply.status == 201 => {
                    let made: Execution =
                        serde_json::from_slice(&reply.body).expect("an execution");
                    return made.id;
                }
                other => self.patient(begin, other),
            }
            let latest: ExecutionList = self.insist("GET", "/v1/executions?limit=1");
            let label = number.to_string();
            let found = latest.executions.into_iter().next();
            if let Some(found) = found.filter(|it| it.labels.0.get(NUMBER) == Some(&label)) {
                return found.id;
            }
        }
    }

    fn cancel(&self, id: ExecutionId) {
        self.call("POST", &format!("/v1/executions/{id}/cancel"), None);
    }

    fn until_running(&self, id: ExecutionId) {
        let begin = Instant::now();
        while ![State::Running, State::Finished].contains(&self.status(id, 0).state) {
            assert!(begin.elapsed() < PATIENCE, "{id} doesn't run");
            thread::sleep(Duration::from_millis(20)); // nothing tells of it but the state
        }
    }

    fn finished(&self, id: ExecutionId) -> Execution {
        let begin = Instant::now();
        loop {
            let execution = self.status(id, 10);
            if execution.state == State::Finished {
                return execution;
            }
            assert!(begin.elapsed() < PATIENCE, "{id} doesn't end: {execution:?}");
        }
    }

    /// Standard output to its end: the connection is cut after every second piece, and another goes on.
    fn follow(&self, id: ExecutionId) -> Vec<u8> {
        let (mut all, begin) = (Vec::new(), Instant::now());
        loop {
            match self.followed(id, &mut all) {
                Ok(true) => return all,
                Ok(false) => self.again.set(self.again.get() + 1),
                Err(error) => self.patient(begin, Err(error)),
            }
        }
    }

    /// Two pieces more, or all; whether it was all.
    fn followed(&self, id: ExecutionId, all: &mut Vec<u8>) -> io::Result<bool> {
        let mut connection = self.client.connect()?;
        let offset = all.len();
        let target =
            format!("/v1/executions/{id}/output?stream=stdout&offset={offset}&follow=true");
        connection.request("GET", &target, None)?;
        let head = connection.head()?;
        assert_eq!(head.status, 200, "{id} at {offset}: {head:?}");
        for _ in 0..2 {
            match connection.piece(&head)? {
                Some(piece) => all.extend(piece),
                None => return Ok(true),
            }
        }
        Ok(false)
    }

    fn status(&self, id: ExecutionId, wait: u64) -> Execution {
        self.insist("GET", &format!("/v1/executions/{id}?wait={wait}"))
    }

    fn insist<T: DeserializeOwned>(&self, method: &str, target: &str) -> T {
        let reply = self.call(method, target, None);
        serde_json::from_slice(&reply.body).unwrap_or_else(|error| panic!("{target}: {error}"))
    }

    /// Calls until there is an answer. None of these calls does anything twice.
    fn call(&self, method: &str, target: &str, body: Option<&[u8]>) -> Reply {
        let begin = Instant::now();
        loop {
            match self.client.call(method, target, body) {
                Ok(reply) if (200..300).contains(&reply.status) => return reply,
                other => self.patient(begin, other),
            }
        }
    }

    /// Waits a moment before a call is made again. Only a daemon that isn't there, goes or has no room is
    /// called again.
    fn patient(&self, begin: Instant, answer: io::Result<Reply>) {
        if let Ok(reply) = &answer {
            assert!(matches!(reply.status, 429 | 503), "{reply:?}");
        }
        assert!(begin.elapsed() < PATIENCE, "no answer for {PATIENCE:?}: {answer:?}");
        self.again.set(self.again.get() + 1);
        thread::sleep(Duration::from_millis(50)); // nothing tells of a daemon that is back
    }
}
