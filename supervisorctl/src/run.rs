//! `run`: submit, show the output while it comes, wait for the end, save the artifacts, report, and
//! exit as the payload did. Ctrl-C cancels the execution; a second one leaves it running.

use std::cell::Cell;
use std::future::{Future, pending};
use std::time::Duration;

use supervisor_api::{Execution, ExecutionId, State, Stream, SubmitRequest};
use tokio::time;

use crate::artifacts::{self, Fetched};
use crate::backoff::retrying;
use crate::cli::{GlobalOptions, RunOptions, Selection};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::policy::clients;
use crate::reader::OutputReader;
use crate::report::Report;
use crate::save::Destination;
use crate::standalone::Standalone;
use crate::streams::Streams;
use crate::typing::{Typing, need_terminal};
use crate::{console, executions, exit, output, submission};

/// How long after the first Ctrl-C a second one still prevents the cancellation.
const GRACE: Duration = Duration::from_secs(1);

/// How long the cancellation may take when nobody is left to tell about it.
const LAST_CANCEL: Duration = Duration::from_secs(10);

/// Pause before output is asked for again that ended before the execution did.
const PAUSE: Duration = Duration::from_millis(100);

/// `run`; the exit status is the payload's, where it has one.
pub async fn run(options: &RunOptions, global: &GlobalOptions) -> Result<u8, Failure> {
    if options.payload.terminal {
        need_terminal("--interactive passes on what is none")?;
        if global.json {
            let words = "what a terminal shows is no JSON; leave out --terminal or --json";
            return Err(Failure::Usage(words.to_owned()));
        }
    }
    let request = submission::request(&options.payload)?;
    // Before the run, so that a directory that can't be made doesn't cost its result.
    let directory = options.artifacts_to.clone();
    let destination =
        directory.map(|path| Destination::create_or_open(path, options.force)).transpose()?;
    let clients = match options.standalone.standalone {
        true => clients::of_builtin(request.policy.as_deref())?,
        false => None, // a daemon has its own configuration
    };
    let mut interrupts = match options.payload.terminal {
        true => Interrupts::install_but_hangup()?,
        false => Interrupts::install()?,
    };
    let (report, ended) = if options.standalone.standalone {
        let private = Standalone::start(options.standalone, clients, &mut interrupts).await?;
        let attendance = Attendance { client: private.client(), options, global };
        let report = attendance.attend(&request, destination.as_ref(), &mut interrupts).await;
        (report, private.end().await)
    } else {
        let client = Client::new(global.socket.clone());
        let attendance = Attendance { client: &client, options, global };
        (attendance.attend(&request, destination.as_ref(), &mut interrupts).await, Ok(()))
    };
    let Ok(report) = report else {
        if let Err(failure) = ended {
            console::failure(&failure);
        }
        return report.map(|_| exit::OURS);
    };
    report.print(global)?;
    // The result has been told; what went wrong around it goes to standard error beside it.
    let problems: Vec<Failure> = report
        .problems
        .into_iter()
        .chain(report.fetched.check().err())
        .chain(ended.err())
        .collect();
    problems.iter().for_each(console::failure);
    Ok(if problems.is_empty() { exit::of(&report.execution) } else { exit::OURS })
}

/// One execution that an operator attends to.
struct Attendance<'a> {
    client: &'a Client,
    options: &'a RunOptions,
    global: &'a GlobalOptions,
}

impl Attendance<'_> {
    /// From the submission to the saved artifacts.
    async fn attend(
        &self,
        request: &SubmitRequest,
        destination: Option<&Destination>,
        interrupts: &mut Interrupts,
    ) -> Result<Report, Failure> {
        let show_progress = !(self.global.quiet || self.global.json);
        let id = tokio::select! {
            submitted = self.client.submit(request, show_progress) => submitted?.id,
            // The first one waits until there is something to cancel.
            () = interrupts.reached(2) => {
                let words = "interrupted before the daemon answered; `supervisorctl list` tells \
                             whether it runs";
                return Err(Failure::Interrupted(words.to_owned()));
            }
        };
        let mut report = match self.interruptible(id, interrupts, self.watch(id)).await {
            Ok(report) => report,
            Err(failure @ (Failure::OutputClosed | Failure::Local { .. })) => {
                // As a program in the same pipe would be ended by SIGPIPE, or would end by itself.
                time::timeout(LAST_CANCEL, self.client.cancel(id)).await.ok();
                return Err(failure);
            }
            Err(failure) => {
                let left = matches!(failure, Failure::Interrupted(_) | Failure::Detached(_));
                if !left && !self.is_standalone() {
                    self.notice(&format!("{id} may still be running"));
                }
                return Err(failure);
            }
        };
        tokio::select! {
            () = self.save(&mut report, destination) => {}
            () = interrupts.next() => {
                let words = format!("interrupted while the artifacts of {id} were being saved");
                return Err(Failure::Interrupted(words));
            }
        }
        Ok(report)
    }

    /// Waits for the end, and shows or keeps the output.
    async fn watch(&self, id: ExecutionId) -> Result<Report, Failure> {
        if self.global.json {
            let ended = executions::wait_for_end(self.client, id);
            let execution = self.typing(id, ended).await?;
            let kept = execution.output;
            let stdout = output::whole(self.client, id, Stream::Stdout, kept.stdout).await?;
            let stderr = output::whole(self.client, id, Stream::Stderr, kept.stderr).await?;
            return Ok(Report { stdout, stderr, ..Report::new(execution) });
        }
        let mut streams = Streams::new(self.options.raw || self.options.payload.terminal);
        let mut missing = 0;
        let shown = async {
            let (execution, passed_over) = follow(self.client, id, 0, &mut streams).await?;
            missing = passed_over;
            Ok(execution)
        };
        let execution = self.typing(id, shown).await?;
        streams.end().await?;
        Ok(Report { missing, ..Report::new(execution) })
    }

    /// Waits for the end, and passes on our standard input meanwhile if that was asked for.
    async fn typing(
        &self,
        id: ExecutionId,
        ended: impl Future<Output = Result<Execution, Failure>>,
    ) -> Result<Execution, Failure> {
        let options = &self.options.payload;
        if !(options.interactive || options.terminal) {
            return ended.await;
        }
        let (client, terminal) = (self.client, options.terminal);
        let detachable = !self.is_standalone(); // which ends with us
        Typing { client, id, terminal, detachable }.during(ended).await
    }

    /// Does the work; the first interrupt cancels the execution and the work goes on to its end,
    /// another one ends the work.
    async fn interruptible<T>(
        &self,
        id: ExecutionId,
        interrupts: &mut Interrupts,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = interrupts.reached(1) => {}
        }
        if interrupts.received() < 2 && !interrupts.terminated() && !self.is_standalone() {
            self.notice(&format!("cancelling {id}; Ctrl-C again leaves it running"));
            tokio::select! {
                done = &mut work => return done,
                () = interrupts.reached(2) => {
                    let words = format!("detached; {id} goes on: supervisorctl output -f {id}");
                    return Err(Failure::Interrupted(words));
                }
                () = time::sleep(GRACE) => {}
            }
        } else {
            self.notice(&format!("cancelling {id}"));
        }
        let is_cancelled = Cell::new(false);
        let cancel = async {
            self.cancel(id).await;
            is_cancelled.set(true);
        };
        let both = async { tokio::join!(&mut work, cancel).0 };
        let is_asked_to_end = interrupts.terminated();
        let patience = async {
            match is_asked_to_end {
                true => time::sleep(LAST_CANCEL).await, // whoever reads our output may have stopped
                false => pending().await,
            }
        };
        tokio::select! {
            done = both => done,
            () = patience => {
                let state = if is_cancelled.get() { "is cancelled" } else { "may still be running" };
                let words = format!("{id} {state}; its end was not shown in {LAST_CANCEL:?}");
                Err(Failure::Interrupted(words))
            }
            () = interrupts.next() => {
                let words = format!("not waited for; {id} is being cancelled");
                Err(Failure::Interrupted(words))
            }
        }
    }

    async fn cancel(&self, id: ExecutionId) {
        // It may have ended by itself meanwhile, which the daemon calls a conflict.
        if let Err(failure) = retrying(async || self.client.cancel(id).await).await
            && failure.code() != Some(supervisor_api::ErrorCode::Conflict)
        {
            console::failure(&failure);
        }
    }

    /// Saves the artifacts; what goes wrong stands in the report.
    async fn save(&self, report: &mut Report, destination: Option<&Destination>) {
        if let Err(failure) = self.fetch(report, destination).await {
            report.problems.push(failure);
        }
    }

    async fn fetch(&self, report: &mut Report, named: Option<&Destination>) -> Result<(), Failure> {
        let execution = &report.execution;
        if execution.artifact_count == 0 && self.options.payload.artifacts.is_empty() {
            return Ok(());
        }
        let id = execution.id;
        let list = retrying(async || self.client.artifacts(id).await).await?;
        report.left_out = artifacts::left_out(&list);
        if list.artifacts.is_empty() {
            return Ok(());
        }
        let made;
        let destination = match named {
            Some(destination) => destination,
            None => {
                let path = artifacts::default_directory(id);
                made = Destination::create(path.into(), self.options.force)?;
                &made
            }
        };
        let wanted: Vec<_> = list.artifacts.iter().collect();
        let show_progress = !(self.global.quiet || self.global.json);
        let fetched: Fetched =
            artifacts::fetch(self.client, id, &wanted, destination, show_progress).await?;
        report.fetched = fetched;
        Ok(())
    }

    fn is_standalone(&self) -> bool {
        self.options.standalone.standalone
    }

    fn notice(&self, words: &str) {
        if !self.global.quiet {
            console::notice(&format!("{words}\n"));
        }
    }
}

/// Shows the output from an offset to its end; tells the finished execution and how many bytes never came.
pub async fn follow(
    client: &Client,
    id: ExecutionId,
    offset: u64,
    streams: &mut Streams,
) -> Result<(Execution, u64), Failure> {
    let mut reader = OutputReader::new(client, id, Selection::Both, offset, true);
    let mut last_end = None;
    loop {
        while let Some(chunk) = reader.next().await? {
            streams.write(&chunk).await?;
        }
        let mut execution = retrying(async || client.status(id, 0).await).await?;
        if execution.state == State::Collecting {
            execution = executions::wait_for_end(client, id).await?;
        }
        let kept = execution.output.stdout.kept.saturating_add(execution.output.stderr.kept);
        let end = reader.offset();
        if execution.state != State::Finished {
            time::sleep(PAUSE).await; // a daemon on its way to a restart ends streams early
        } else if end >= kept || last_end == Some(end) {
            let missing = reader.missing().saturating_add(kept.saturating_sub(end));
            return Ok((execution, missing));
        }
        last_end = Some(end);
    }
}
