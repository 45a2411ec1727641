//! What a cell of a live interpreter costs, from the request to the answer, against ipykernel's.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use supervisor_tests::{Settings, World};

use crate::arguments::Arguments;
use crate::client::Client;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::goals::{Bound, Goal};
use crate::raw::samples;
use crate::report::number;
use crate::statistics::quantile;
use crate::table::Table;
use crate::turns::Turns;

/// What both run.
const SOURCE: &str = "1+1";

/// Speaks with an ipykernel as jupyter_client does it.
const PEER: &str = include_str!("cells/ipykernel.py");

/// Rounds that don't count.
const WARM_UP: usize = 20;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    ours: Vec<Duration>,
    peer: Vec<Duration>,
    /// Why there is no peer.
    absent: Option<String>,
}

/// One of the two.
trait Interpreter {
    /// Runs a cell and says how long that took.
    fn run(&mut self) -> Result<Duration, Failure>;
}

/// Has both run the cell in turns.
pub fn measure(arguments: &Arguments, _: &Environment) -> Result<Results, Failure> {
    let world = World::with(Settings::default());
    let mut ours = Ours::open(&world)?;
    let mut results = Results::default();
    let mut peer = match Peer::start() {
        Ok(peer) => Some(peer),
        Err(failure) => {
            results.absent = Some(failure.in_full());
            None
        }
    };
    let mut turns = Turns::new();
    for round in 0..WARM_UP + arguments.cell_rounds() {
        let mut both: Vec<(&mut dyn Interpreter, &mut Vec<Duration>)> =
            vec![(&mut ours, &mut results.ours)];
        if let Some(peer) = &mut peer {
            both.push((peer, &mut results.peer));
        }
        turns.shuffle(&mut both);
        for (interpreter, samples) in both {
            let took = interpreter.run()?;
            if round >= WARM_UP {
                samples.push(took);
            }
        }
    }
    peer.map(Peer::end).transpose()?;
    Ok(results)
}

/// Prints the table.
pub fn print(results: &Results) {
    let mut table = Table::default();
    table.row(["", "p50", "p99"].map(str::to_owned));
    let Results { ours, peer, absent } = results;
    match absent {
        Some(why) => table.row(["ipykernel".to_owned(), why.clone()]),
        None => table.row(row("ipykernel", peer)),
    }
    table.row(row("supervisord", ours));
    table.print(&format!("a cell ({SOURCE}) in a live interpreter, ms"));
}

fn row(name: &str, samples: &[Duration]) -> [String; 3] {
    let of = |part| number(quantile(samples, part), 3);
    [name.to_owned(), of(0.5), of(0.99)]
}

/// The goals of cells.
pub fn goals(results: &Results) -> [Goal; 2] {
    let (ours, peer) = (quantile(&results.ours, 0.5), quantile(&results.peer, 0.5));
    [
        Goal { words: "p50 of a cell, ms,", value: ours, bound: Bound::AtMost(1.0) },
        Goal {
            words: "p50 of ipykernel's round trip against a cell",
            value: peer.zip(ours).map(|(peer, ours)| peer / ours),
            bound: Bound::AtLeast(8.0),
        },
    ]
}

/// Every sample.
pub fn raw(results: &Results) -> Value {
    json!({"ours": samples(&results.ours), "ipykernel": samples(&results.peer), "absent": results.absent})
}

/// An interpreter in a session of ours.
struct Ours {
    client: Client,
    cells: String,
    cell: Vec<u8>,
}

impl Ours {
    fn open(world: &World) -> Result<Self, Failure> {
        let connected = Client::connect(&world.socket());
        let mut client = connected.map_err(Failure::of("connect to supervisord"))?;
        let session = make(&mut client, "/v1/sessions", &json!({}))?;
        let interpreters = format!("/v1/sessions/{session}/interpreters");
        let id = make(&mut client, &interpreters, &json!({"language": "python"}))?;
        let cell = json!({"source": SOURCE, "wait": true}).to_string().into_bytes();
        Ok(Self { client, cells: format!("{interpreters}/{id}/cells"), cell })
    }
}

impl Interpreter for Ours {
    fn run(&mut self) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let answer =
            self.client.post(&self.cells, &self.cell).map_err(Failure::of("run a cell"))?;
        let took = begun.elapsed();
        let cell: Value =
            serde_json::from_slice(&answer.body).map_err(Failure::of("read a cell"))?;
        let value = cell.pointer("/results/0/data/text~1plain").and_then(Value::as_str);
        if value == Some("2") {
            return Ok(took);
        }
        Err(Failure::new(format!("a cell of supervisord: {cell}")))
    }
}

/// Makes something, and gives its id.
fn make(client: &mut Client, path: &str, what: &Value) -> Result<String, Failure> {
    let answer = client.post(path, what.to_string().as_bytes());
    let answer = answer.map_err(Failure::of(format!("ask for {path}")))?;
    let made: Value =
        serde_json::from_slice(&answer.body).map_err(Failure::of("read what was made"))?;
    match made.get("id").and_then(Value::as_str) {
        Some(id) => Ok(id.to_owned()),
        None => Err(Failure::new(format!("supervisord answers {}: {made}", answer.status))),
    }
}

/// A program that runs a cell in an ipykernel for every line that it reads.
struct Peer {
    process: Child,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> Result<Self, Failure> {
        let script = PathBuf::from("/usr/bin/python3");
        let mut process = Command::new(script)
            .args(["-c", PEER, SOURCE])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Failure::of("start python3"))?;
        let said = process.stdout.take().ok_or_else(|| Failure::new("there is no pipe"))?;
        let mut peer = Self { process, said: BufReader::new(said) };
        match peer.line()?.as_str() {
            "ready" => Ok(peer),
            _ => Err(Failure::new("not installed (apt-get install python3-ipykernel)")),
        }
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.said.read_line(&mut line).map_err(Failure::of("read what ipykernel says"))?;
        Ok(line.trim_end().to_owned())
    }

    fn end(mut self) -> Result<(), Failure> {
        drop(self.process.stdin.take());
        self.process.wait().map(drop).map_err(Failure::of("wait for ipykernel"))
    }
}

impl Interpreter for Peer {
    fn run(&mut self) -> Result<Duration, Failure> {
        let stdin = self.process.stdin.as_mut().ok_or_else(|| Failure::new("there is no pipe"))?;
        stdin.write_all(b"\n").map_err(Failure::of("ask ipykernel"))?;
        let line = self.line()?;
        let seconds: f64 = line.parse().map_err(Failure::of("read a time of ipykernel"))?;
        Ok(Duration::from_secs_f64(seconds))
    }
}
