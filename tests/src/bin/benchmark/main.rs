//! What a sandbox costs, against bubblewrap, crun and the bare program; what one costs that was parked ahead,
//! against the bare interpreter, and a cell, against ipykernel; and what its way out costs, against squid,
//! tinyproxy and mitmproxy; measured in one run.
//!
//! `cargo build --release`, then
//! `cargo run --release -p supervisor-tests --bin benchmark -- [--quick]
//! [--only executions|warm|cells|egress] [--json FILE]`.
//! It asserts nothing: goals are printed as met or not met. Contestants take turns in an order that
//! changes every round, so that noise, and what one leaves to the kernel to clean up, hits all alike.

mod arguments;
mod cells;
mod client;
mod contestant;
mod crun;
mod egress;
mod environment;
mod failure;
mod goals;
mod hierarchy;
mod latency;
mod layout;
mod memory;
mod peer;
mod processor;
mod raw;
mod report;
mod statistics;
mod supervisor;
mod table;
mod throughput;
mod turns;
mod warm;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use crate::arguments::{Arguments, Part};
use crate::contestant::{Contestant, Who};
use crate::environment::Environment;
use crate::failure::Failure;
use crate::report::Results;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let Some(arguments) = Arguments::read(std::env::args().skip(1))? else { return Ok(()) };
    let environment = Environment::look()?;
    environment.print();
    // A container's root is another account on the host and has to get past this directory.
    let scratch = tempfile::Builder::new().permissions(Permissions::from_mode(0o711)).tempdir();
    let scratch = scratch.map_err(Failure::of("make a temporary directory"))?;
    let measured = |part| arguments.measures(part).then_some(());
    let egress = measured(Part::Egress)
        .map(|()| egress::measure(&arguments, &environment, scratch.path()))
        .transpose()?;
    let executions = measured(Part::Executions)
        .map(|()| measure_executions(&arguments, &environment, scratch.path()))
        .transpose()?;
    let warm =
        measured(Part::Warm).map(|()| warm::measure(&arguments, &environment)).transpose()?;
    let cells =
        measured(Part::Cells).map(|()| cells::measure(&arguments, &environment)).transpose()?;
    if let Some(results) = &executions {
        report::print(results);
    }
    if let Some(results) = &egress {
        egress::report::print(results);
    }
    warm.iter().for_each(warm::report::print);
    cells.iter().for_each(cells::print);
    goals::print(executions.iter().flat_map(goals::of_executions));
    goals::print(warm.iter().flat_map(warm::report::goals));
    goals::print(cells.iter().flat_map(cells::goals));
    goals::print(egress.iter().flat_map(egress::report::goals));
    if let Some(path) = &arguments.json {
        let parts = [
            ("executions", executions.as_ref().map(raw::executions)),
            ("warm", warm.as_ref().map(warm::report::raw)),
            ("cells", cells.as_ref().map(cells::raw)),
            ("egress", egress.as_ref().map(egress::report::raw)),
        ];
        raw::write(path, &environment, parts)?;
    }
    Ok(())
}

fn measure_executions(
    arguments: &Arguments,
    environment: &Environment,
    scratch: &Path,
) -> Result<Results, Failure> {
    let ours = supervisor::Supervisor::start()?;
    hierarchy::show_version_2_alone(environment)?;
    let candidates = [
        (Who::Bare, Ok(peer::bare())),
        (Who::Bubblewrap, peer::bubblewrap()),
        (Who::Crun, crun::crun(scratch, environment)),
    ];
    let mut absent = Vec::new();
    let mut contestants: Vec<(Who, &dyn Contestant)> = Vec::new();
    for (who, candidate) in &candidates {
        match candidate {
            Ok(peer) => contestants.push((*who, peer)),
            Err(why) => absent.push((*who, why.clone())),
        }
    }
    contestants.push((Who::Ours, &ours));
    // Memory first: a daemon that has been busy has room for a few more without growing.
    let memory = memory::measure(&contestants, environment)?;
    let results = Results {
        absent,
        memory,
        latency: latency::measure(&contestants, arguments)?,
        throughput: throughput::measure(&contestants, arguments)?,
        sustained: throughput::sustain(&ours, arguments)?,
    };
    ours.end()?;
    Ok(results)
}
