//! `attach` and `shell`: an execution that takes what is typed.

use supervisor_api::Execution;

use crate::cli::{
    AttachOptions, GlobalOptions, PayloadOptions, RunOptions, Selection, ShellOptions,
};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::reader::OutputReader;
use crate::streams::Streams;
use crate::typing::{Typing, need_terminal};
use crate::{console, executions, exit, run};

/// The program of `shell`: bash as at a login.
const SHELL: [&str; 2] = ["bash", "-l"];

/// `attach`; the exit status is the payload's, where it has one.
pub async fn attach(
    client: &Client,
    options: &AttachOptions,
    global: &GlobalOptions,
) -> Result<u8, Failure> {
    let id = options.id;
    let execution = client.status(id, 0).await?;
    let kept = execution.output.stdout.kept.saturating_add(execution.output.stderr.kept);
    let offset = options.offset.unwrap_or(kept);
    let sends = execution.stdin_open && !options.no_stdin && !global.json;
    if sends && execution.terminal {
        need_terminal("--no-stdin only looks on")?;
    }
    let terminal = execution.terminal;
    let mut interrupts = Interrupts::install()?;
    let show = async {
        if global.json {
            return show_json(client, options, offset).await;
        }
        let mut streams = Streams::new(options.raw || terminal);
        let (execution, _missing) = run::follow(client, id, offset, &mut streams).await?;
        streams.end().await?;
        Ok(execution)
    };
    let work = async {
        match sends {
            true => Typing { client, id, terminal, detachable: true }.during(show).await,
            false => show.await,
        }
    };
    let execution = tokio::select! {
        done = work => done?,
        () = interrupts.next() => {
            let words = format!("detached; {id} goes on: supervisorctl attach {id}");
            return Err(Failure::Detached(words));
        }
    };
    Ok(exit::of(&execution))
}

/// The output as chunks, one a line.
async fn show_json(
    client: &Client,
    options: &AttachOptions,
    offset: u64,
) -> Result<Execution, Failure> {
    let mut reader = OutputReader::new(client, options.id, Selection::Both, offset, true);
    while let Some(chunk) = reader.next().await? {
        console::print_json(&chunk)?;
    }
    executions::wait_for_end(client, options.id).await
}

/// `shell`: `run` with a login shell and a terminal.
pub async fn shell(options: &ShellOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    let payload = PayloadOptions {
        argv: SHELL.map(str::to_owned).to_vec(),
        terminal: true,
        session: options.session,
        policy: options.policy.clone(),
        limits: options.limits.clone(),
        ..PayloadOptions::default()
    };
    let options = RunOptions { payload, standalone: options.standalone, ..RunOptions::default() };
    run::run(&options, global).await
}
