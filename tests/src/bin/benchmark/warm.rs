//! What a program costs that finds a sandbox parked, with its interpreter running and its modules imported,
//! against the bare interpreter that is started for it; and what such a sandbox holds in memory.

pub mod report;

use std::collections::BTreeMap;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use supervisor_api::{Outcome, StartKind, Top};
use supervisor_tests::{Settings, World};

use crate::arguments::Arguments;
use crate::client::Client;
use crate::environment::Environment;
use crate::failure::Failure;
use crate::memory::{descendants, sum};
use crate::peer::command;
use crate::turns::Turns;

/// Sandboxes that are parked at once. Before a program is run all of them are there, so that nobody makes
/// others while something is measured.
pub const PARKED: u64 = 4;

/// How long it may take until they are.
const PATIENCE: Duration = Duration::from_secs(60);

/// Rounds that don't count.
const WARM_UP: usize = 5;

/// The policies: the daemon's own, with the interpreter that bare is as well, and one with modules.
const POLICIES: [(&str, &str); 3] = [
    ("default.toml", include_str!("../../../../policies/default.toml")),
    (
        "plain.toml",
        "name = \"plain\"\nextends = \"default\"\n[environment]\nPATH = \"/usr/bin:/bin\"\n",
    ),
    (
        "data.toml",
        "name = \"data\"\nextends = \"plain\"\n[warm]\nmodules = [\"numpy\", \"pandas\"]\n",
    ),
];

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// The least.
    Plain,
    /// What takes its time to import.
    Data,
}

impl Program {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Data];

    /// Its text.
    pub const fn source(self) -> &'static str {
        match self {
            Program::Plain => "print(1)",
            Program::Data => "import numpy, pandas",
        }
    }

    const fn policy(self) -> &'static str {
        match self {
            Program::Plain => "plain",
            Program::Data => "data",
        }
    }
}

/// Who runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// `python3 -c`.
    Bare,
    /// A submission, until its end is told.
    Warm,
}

/// What one of those that are parked holds, in KiB PSS.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Its interpreter.
    pub interpreter: f64,
    /// Its init, and what the launcher and the daemon grew by.
    pub rest: f64,
}

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Every sample.
    pub samples: BTreeMap<(Program, Way), Vec<Duration>>,
    /// Programs that could not be run, and why.
    pub absent: BTreeMap<Program, String>,
    /// Submissions that started cold; they are in no sample.
    pub cold: u64,
    /// Memory, where it is to be seen.
    pub memory: Option<Memory>,
}

/// Measures everything.
pub fn measure(arguments: &Arguments, environment: &Environment) -> Result<Results, Failure> {
    let policies = POLICIES.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
    let tables =
        format!("[warm]\nmemory = 4294967296\nparked = {PARKED}\nparked_per_uid = {PARKED}\n");
    let mut world = World::with(Settings { tables, policies, ..Settings::default() });
    let mut ours = Ours::connect(&world)?;
    let mut results = Results::default();
    for program in Program::ALL {
        if bare(program)?.is_none() {
            results.absent.insert(program, "the bare interpreter can't run it".to_owned());
            continue;
        }
        ours.forget()?;
        let standing = if environment.is_root { Some(standing(&mut world)?) } else { None };
        for _ in 0..=2 * PARKED {
            ours.submit(program)?; // until so many are asked for
        }
        if let Some(before) = standing.filter(|_| program == Program::Plain) {
            ours.until_parked(program)?;
            results.memory = Some(memory(&mut world, before)?);
        }
        take_turns(&mut ours, program, arguments.warm_rounds(), &mut results)?;
    }
    Ok(results)
}

fn take_turns(
    ours: &mut Ours,
    program: Program,
    rounds: usize,
    results: &mut Results,
) -> Result<(), Failure> {
    let mut turns = Turns::new();
    let mut ways = [Way::Bare, Way::Warm];
    for round in 0..WARM_UP + rounds {
        turns.shuffle(&mut ways);
        for way in ways {
            ours.until_parked(program)?;
            let took = match way {
                Way::Bare => bare(program)?,
                Way::Warm => ours.run(program)?,
            };
            match took {
                Some(took) if round >= WARM_UP => {
                    results.samples.entry((program, way)).or_default().push(took);
                }
                Some(_) => {}
                None => results.cold += 1,
            }
        }
    }
    Ok(())
}

/// How long the bare interpreter takes; nothing if it fails.
fn bare(program: Program) -> Result<Option<Duration>, Failure> {
    let mut bare: Command = command(&["/usr/bin/python3", "-c", program.source()]);
    bare.stderr(std::process::Stdio::null());
    let begun = Instant::now();
    let status = bare.status().map_err(Failure::of("run python3"))?;
    Ok(status.success().then(|| begun.elapsed()))
}

/// As much of an execution as matters here.
#[derive(Deserialize)]
struct Finished {
    outcome: Option<Outcome>,
    start: Option<StartKind>,
}

/// A connection to our own.
struct Ours {
    client: Client,
}

impl Ours {
    fn connect(world: &World) -> Result<Self, Failure> {
        let client = Client::connect(&world.socket());
        Ok(Self { client: client.map_err(Failure::of("connect to supervisord"))? })
    }

    /// Has nothing parked, and nothing remembered of what was asked for.
    fn forget(&mut self) -> Result<(), Failure> {
        let answer = self.client.post("/v1/reload", b"").map_err(Failure::of("reload"))?;
        if answer.status >= 300 {
            let words = String::from_utf8_lossy(&answer.body);
            return Err(Failure::new(format!("supervisord answers {}: {words}", answer.status)));
        }
        self.until(0)
    }

    /// Asks for a program until so many are parked for it that no more will be.
    fn until_parked(&mut self, program: Program) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while self.parked()? < PARKED {
            if Instant::now() > until {
                return Err(Failure::new(format!(
                    "no {PARKED} sandboxes are parked for {program:?}"
                )));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn until(&mut self, parked: u64) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while self.parked()? != parked {
            if Instant::now() > until {
                return Err(Failure::new(format!("{parked} sandboxes should be parked")));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn parked(&mut self) -> Result<u64, Failure> {
        let answer = self.client.get("/v1/top").map_err(Failure::of("ask what is parked"))?;
        let top: Top =
            serde_json::from_slice(&answer.body).map_err(Failure::of("read what is parked"))?;
        Ok(top.parked)
    }

    /// How long a submission takes; nothing if it found no parked sandbox.
    fn run(&mut self, program: Program) -> Result<Option<Duration>, Failure> {
        let begun = Instant::now();
        let finished = self.submit(program)?;
        let took = begun.elapsed();
        Ok((finished.start == Some(StartKind::Warm)).then_some(took))
    }

    fn submit(&mut self, program: Program) -> Result<Finished, Failure> {
        let request = json!({
            "language": "python", "source": program.source(), "policy": program.policy(), "wait": true,
        });
        let answer = self.client.post("/v1/executions", request.to_string().as_bytes());
        let answer = answer.map_err(Failure::of("submit"))?;
        let finished: Finished = serde_json::from_slice(&answer.body)
            .map_err(Failure::of(String::from_utf8_lossy(&answer.body)))?;
        match finished.outcome {
            Some(Outcome::Exited { code: 0 }) => Ok(finished),
            other => Err(Failure::new(format!("{program:?} in supervisord: {other:?}"))),
        }
    }
}

/// What is there of ours before anything is parked, and its size.
fn standing(world: &mut World) -> Result<(Vec<u32>, f64), Failure> {
    let roots = vec![world.daemon_pid(), world.launcher_pid(), world.seed()];
    let size = sum(&roots)?;
    Ok((roots, size))
}

/// What each of those that are parked holds.
fn memory(world: &mut World, (standing, before): (Vec<u32>, f64)) -> Result<Memory, Failure> {
    let made = descendants(&[world.launcher_pid()]);
    let made = made.into_iter().filter(|process| !standing.contains(process));
    // A process that holds an interpreter's memory has no page of its own.
    let made = made.filter(|process| !(is_python(*process) && shares_memory(*process)));
    let (interpreters, inits): (Vec<u32>, Vec<u32>) = made.partition(|process| is_python(*process));
    if interpreters.len() as u64 != PARKED {
        let found = interpreters.len();
        return Err(Failure::new(format!("{found} interpreters are parked in place of {PARKED}")));
    }
    let each = |sum: f64| sum / PARKED as f64;
    Ok(Memory {
        interpreter: each(sum(&interpreters)?),
        rest: each(sum(&inits)? + sum(&standing)? - before),
    })
}

fn is_python(process: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.starts_with("python3"))
}

/// Whether a process runs in the address space of another; that one has the standard streams.
fn shares_memory(process: u32) -> bool {
    !std::path::Path::new(&format!("/proc/{process}/fd/1")).exists()
}
