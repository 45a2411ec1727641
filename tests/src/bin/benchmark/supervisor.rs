//! Our own contestant: a private supervisor, asked over its socket.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Deserialize;
use supervisor_api::{Execution, ExecutionId, Outcome, SubmitRequest};

use crate::client::{Answer, Client};
use crate::contestant::{Contestant, Program, Runner, Sleepers};
use crate::failure::Failure;
use crate::memory::descendants;

/// How long a connection may be refused because those of the last measurement are not yet closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A private supervisor. It ends with its standard input.
pub struct Supervisor {
    process: Child,
    socket: PathBuf,
}

impl Supervisor {
    /// Starts the one that stands beside this program, and waits until it is ready.
    pub fn start() -> Result<Self, Failure> {
        let own = std::env::current_exe().map_err(Failure::of("find the benchmark's program"))?;
        let program = own.with_file_name("supervisord");
        let what = format!("start {} (cargo build --release makes it)", program.display());
        let mut process = Command::new(&program)
            .arg("--standalone")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Failure::of(what))?;
        let mut line = String::new();
        if let Some(output) = process.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(Failure::of("read what supervisord says"))?;
        }
        match line.trim_end().strip_prefix("ready ") {
            Some(socket) => Ok(Self { process, socket: PathBuf::from(socket) }),
            None => Err(Failure::new("supervisord did not get ready; it says why above")),
        }
    }

    /// Has it end.
    pub fn end(mut self) -> Result<(), Failure> {
        drop(self.process.stdin.take());
        let status = self.process.wait().map_err(Failure::of("wait for supervisord"))?;
        if status.success() { Ok(()) } else { Err(Failure::new(format!("supervisord: {status}"))) }
    }

    /// A connection that has had an answer: what is measured on it does not include its making.
    fn connect(&self) -> Result<Client, Failure> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut client =
                Client::connect(&self.socket).map_err(Failure::of("connect to supervisord"))?;
            match client.get("/v1/doctor") {
                Ok(answer) if answer.status == 200 => return Ok(client),
                Ok(answer) if Instant::now() > until => return Err(refused(&answer)),
                Err(error) if Instant::now() > until => {
                    return Err(Failure::of("talk to supervisord")(error));
                }
                _ => sleep(Duration::from_millis(20)),
            }
        }
    }
}

impl Contestant for Supervisor {
    fn runner(&self) -> Result<Box<dyn Runner + '_>, Failure> {
        Ok(Box::new(self.connect()?))
    }

    fn standing(&self) -> Vec<u32> {
        descendants(&[self.process.id()])
    }

    fn sleepers(&self, count: usize) -> Result<Box<dyn Sleepers + '_>, Failure> {
        let mut client = self.connect()?;
        let mut ids = Vec::new();
        for _ in 0..count {
            let answer = submit(&mut client, Program::Sleep, false)?;
            let execution: Execution =
                serde_json::from_slice(&answer.body).map_err(Failure::of("read an execution"))?;
            ids.push(execution.id);
        }
        Ok(Box::new(Submitted { root: self.process.id(), client, ids }))
    }
}

/// As much of an execution as matters here.
#[derive(Deserialize)]
struct Finished {
    outcome: Option<Outcome>,
}

impl Runner for Client {
    fn run(&mut self, program: Program) -> Result<(), Failure> {
        let answer = submit(self, program, true)?;
        let finished: Finished =
            serde_json::from_slice(&answer.body).map_err(Failure::of("read an execution"))?;
        match finished.outcome {
            Some(Outcome::Exited { code: 0 }) => Ok(()),
            other => Err(Failure::new(format!("{program} in supervisord: {other:?}"))),
        }
    }
}

fn submit(client: &mut Client, program: Program, wait: bool) -> Result<Answer, Failure> {
    let argv = program.argv().iter().map(|word| (*word).to_owned()).collect();
    let request = SubmitRequest { argv, wait, ..SubmitRequest::default() };
    let body = serde_json::to_vec(&request).map_err(Failure::of("write a submission"))?;
    let answer = client.post("/v1/executions", &body).map_err(Failure::of("submit"))?;
    if answer.status == 201 { Ok(answer) } else { Err(refused(&answer)) }
}

fn refused(answer: &Answer) -> Failure {
    let words = String::from_utf8_lossy(&answer.body);
    Failure::new(format!("supervisord answers {}: {words}", answer.status))
}

struct Submitted {
    root: u32,
    client: Client,
    ids: Vec<ExecutionId>,
}

impl Sleepers for Submitted {
    fn roots(&self) -> Vec<u32> {
        vec![self.root]
    }

    fn end(&mut self) -> Result<(), Failure> {
        for id in self.ids.drain(..) {
            let path = format!("/v1/executions/{id}/cancel");
            let answer = self.client.post(&path, b"").map_err(Failure::of("cancel"))?;
            if answer.status != 200 {
                return Err(refused(&answer));
            }
        }
        Ok(())
    }
}
