//! A daemon that is killed while it writes.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use supervisor_api::ExecutionId;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::{all, artifacts, finished, run_one};
use crate::alone::child;
use crate::store::Store;

/// Where the child keeps its state.
const DIRECTORY: &str = "STORE_TEST_DIRECTORY";

/// The first number of the child's executions.
const FIRST: &str = "STORE_TEST_FIRST";

/// Executions that the child has in flight.
const WRITERS: usize = 4;

/// The daemon that is killed.
async fn write_for_ever() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let first: u128 = std::env::var(FIRST).unwrap().parse().unwrap();
    let store = Store::open(&directory).unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for number in (first + writer as u128..).step_by(WRITERS) {
                run_one(&store, number).await;
                println!("\nfinished {number}");
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_no_finished_execution() {
    const OWN: &str = "store::tests::crash::kill_9_at_any_moment_loses_no_finished_execution";
    const ROUNDS: u128 = 12;
    let Some(mut daemon) = child(OWN) else { return write_for_ever().await };
    let directory = TempDir::new().unwrap();
    let mut reported = Vec::new();
    for round in 0..ROUNDS {
        daemon.env(DIRECTORY, directory.path()).env(FIRST, (round << 32).to_string());
        let mut child = daemon.stdout(Stdio::piped()).spawn().unwrap();
        // Some lines more each round: the kills fall on other places of the log and its checkpoints.
        let patience = 1 + (round as usize * 37) % 300;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = 0;
        for line in lines {
            let Some(number) = line.unwrap().strip_prefix("finished ").map(str::to_owned) else {
                continue;
            };
            reported.push(number.parse::<u128>().unwrap());
            seen += 1;
            if seen == patience {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(seen >= patience, "the child ended by itself");

        let store = Store::open(directory.path()).unwrap();
        for number in &reported {
            let id = ExecutionId::from_bits(*number);
            assert_eq!(store.get(id).await.unwrap(), Some(finished(*number)));
            assert_eq!(store.artifacts(id).await.unwrap(), Some(artifacts(*number)));
        }
        let in_flight = all(&store).await.unwrap().len() - reported.len();
        assert!(in_flight <= WRITERS * (round as usize + 1), "{in_flight} that nobody asked for");
        store.close().await.unwrap();
    }
}
