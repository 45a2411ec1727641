//! The end of an execution: its sandbox is removed while output, artifacts and record are brought to disk,
//! and then the end is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use supervisor_api::{
    ArtifactList, AuditEvent, ChangeSummary, ControlReport, Digest32, Ended, Execution,
    ExecutionId, Outcome, OutputSummary, StartKind, State, Stream, Usage,
};
use supervisor_launch::{Descriptor, Step};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, timeout};

use crate::admission::Turn;
use crate::audit::{self, Unaudited};
use crate::capture::{Capture, MOST_SMALL, SmallOutput};
use crate::clock;
use crate::digests;
use crate::driver::{Recorded, Unrecorded, kept};
use crate::fault::{self, Point};
use crate::journal;
use crate::launcher::{LaunchError, Launcher, Sandbox};
use crate::live::Live;
use crate::reports::ended;
use crate::store::StoreError;
use crate::supervisor::{Inner, from_store};

/// How long init may take to end once it has reported the payload's end: giving back the payload's
/// gigabytes is the longest part of it.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// How long to wait before a sandbox that did not go is asked to go again.
const DESTROY_AGAIN: Duration = Duration::from_secs(5);

/// How long to wait before a record is tried again that could not be written.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// What there is to record at the end.
#[derive(Debug)]
pub struct End {
    pub(super) outcome: Outcome,
    pub(super) usage: Usage,
    pub(super) artifacts: ArtifactList,
    /// How many changes it made, where somebody wants to know and it could be told.
    pub(super) changes: Option<ChangeSummary>,
    pub(super) controls: Vec<ControlReport>,
    /// What the launcher has yet to remove.
    pub(super) sandbox: Option<Sandbox>,
}

impl End {
    pub(crate) fn without_sandbox(outcome: Outcome) -> Self {
        let artifacts =
            ArtifactList { artifacts: Vec::new(), refused: Vec::new(), truncated: false };
        let usage = Usage::default();
        Self { outcome, usage, artifacts, changes: None, controls: Vec::new(), sandbox: None }
    }

    /// The same of a sandbox that has been ended.
    pub(super) fn early(outcome: Outcome, sandbox: Sandbox) -> Self {
        Self { sandbox: Some(sandbox), ..Self::without_sandbox(outcome) }
    }

    /// What the audit log has of an end; the rest is not known any more.
    pub(crate) fn logged(ended: Ended) -> Self {
        let (wall_ms, cpu_ms) = (ended.wall_ms, ended.cpu_ms);
        let usage = Usage { wall_ms, cpu_ms, ..Usage::default() };
        let end = Self::without_sandbox(ended.outcome);
        let artifacts = ArtifactList { truncated: true, ..end.artifacts };
        Self { usage, artifacts, ..end }
    }
}

/// Waits until init is dead, and with it every process of its pid namespace. It is about to end by
/// itself; one that says so and stays is ended.
pub(super) async fn wait_for_death(inner: &Inner, live: &Live, sandbox: &Sandbox) {
    let Some(process) = sandbox.get(Descriptor::Process) else { return };
    match timeout(LAST_BREATH, ended(process)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::error!(%error, execution_id = %live.id(), "can't wait for a sandbox");
            destroy(inner, live).await;
        }
        Err(_elapsed) => {
            tracing::error!(execution_id = %live.id(), "an init reported its end and stayed");
            destroy(inner, live).await;
        }
    }
}

/// Has the launcher end an execution's sandbox, as [`end_sandbox`] does, while the end is told.
pub(super) async fn destroy(inner: &Inner, live: &Live) {
    drop(end_sandbox(&inner.launcher, live.id()).await); // what does not end is tried again
}

/// Has the launcher end a sandbox and remove what is left of it. If it is not gone, it is tried again until it is, which
/// is when what is given back ends: the launcher gives nothing of it to another meanwhile.
pub async fn end_sandbox(launcher: &Launcher, id: ExecutionId) -> Option<JoinHandle<()>> {
    end_sandbox_with(launcher, id, ()).await
}

/// The same, with what is to be kept until it is gone.
pub async fn end_sandbox_with(
    launcher: &Launcher,
    id: ExecutionId,
    held: impl Send + 'static,
) -> Option<JoinHandle<()>> {
    let error = try_destroy(launcher, id).await.err()?;
    tracing::error!(%error, execution_id = %id, "a sandbox is not gone");
    let launcher = launcher.clone();
    Some(tokio::spawn(async move {
        while try_destroy(&launcher, id).await.is_err() {
            sleep(DESTROY_AGAIN).await;
        }
        drop(held);
    }))
}

async fn try_destroy(launcher: &Launcher, id: ExecutionId) -> Result<(), LaunchError> {
    match launcher.destroy(id.bits()).await {
        // Not known: it was ended before, by our own kill. Gone: its sandboxes are gone with it.
        Err(LaunchError::Failed { step: Step::Find, .. } | LaunchError::Gone) => Ok(()),
        other => other,
    }
}

/// Has the launcher remove a sandbox whose payload has ended.
pub(super) async fn remove(inner: &Inner, live: &Live, sandbox: Option<&Sandbox>) {
    if let Some(sandbox) = sandbox {
        // The launcher serves one request after the other, so it is not kept waiting for this.
        wait_for_death(inner, live, sandbox).await;
        destroy(inner, live).await;
        fault::reach(Point::SandboxRemoved);
    }
}

/// Makes the end durable while the launcher removes the sandbox, then tells it. With somebody who waits
/// for a first record, this is the first.
///
/// The sandbox is gone before the end is told, but for one that was parked ahead: whoever claims it is in a
/// hurry, and what takes longest is to take its interpreter's memory apart. Of that one, everything has been
/// killed by then, so that nothing of it runs any more, and its output is at its end. Until it is gone it
/// counts against its owner's ceilings, and the launcher gives nothing of it to another. What the daemon has open of it
/// is given back.
pub(super) async fn conclude(
    inner: &Arc<Inner>,
    live: &Live,
    end: End,
    first: &mut Option<Recorded>,
) -> Option<Sandbox> {
    if first.is_none() {
        kept::keep_end(&inner.places, live.id(), &end).await; // somebody knows of it
    }
    let is_dead = end.sandbox.as_ref().is_some_and(|sandbox| is_killed_ahead(live, sandbox));
    let removed = remove(inner, live, end.sandbox.as_ref());
    live.measure(None);
    live.capture.finish();
    live.wishes.end();
    let mut finished = live.snapshot();
    finished.state = State::Finished;
    finished.outcome = Some(end.outcome);
    finished.usage = end.usage;
    finished.changes = end.changes.or(finished.changes);
    finished.controls = end.controls;
    finished.artifact_count = end.artifacts.artifacts.len() as u64;
    finished.artifacts_truncated = end.artifacts.truncated;
    if is_dead {
        let told = record_and_tell(inner, live, finished, &end.artifacts, first, async {});
        tokio::join!(told, removed);
    } else {
        record_and_tell(inner, live, finished, &end.artifacts, first, removed).await;
    }
    end.sandbox
}

/// Gives a turn back, once the workspace is closed that counts against its owner with it, or is kept open.
pub(super) async fn give_back(live: &Live, sandbox: Option<Sandbox>, turn: Option<Turn>) {
    let Some(sandbox) = sandbox else { return };
    match live.held.as_ref().or(live.session.as_ref()) {
        Some(kept) => kept.session().keep_open(sandbox, turn).await,
        None => sandbox.let_go_with(turn),
    }
}

/// Whether the end may be told before the sandbox is gone: it was parked ahead, its workspace goes with it, and
/// all that is left in it has been killed.
fn is_killed_ahead(live: &Live, sandbox: &Sandbox) -> bool {
    let was_parked = live.execution.borrow().start == Some(StartKind::Warm);
    let kill = sandbox.get(Descriptor::Kill).filter(|_| was_parked && live.session.is_none());
    kill.is_some_and(|kill| nix::unistd::write(kill, b"1").is_ok())
}

/// Has the end recorded, and whatever is to be done `before` it is told.
async fn record_and_tell(
    inner: &Arc<Inner>,
    live: &Live,
    mut finished: Execution,
    artifacts: &ArtifactList,
    first: &mut Option<Recorded>,
    before: impl Future<Output = ()>,
) {
    let is_known = first.is_none();
    let (written, is_written) = oneshot::channel();
    let audited = audit_end(inner, &finished, artifacts, written);
    let record = async {
        // What is recorded is in the log, whenever the daemon is killed.
        is_written.await.is_ok() && record(inner, live, &mut finished, artifacts, first).await
    };
    let (recorded, (), ()) = tokio::join!(record, audited, before);
    inner.delayed.is_over(live.id());
    if recorded {
        fault::reach(Point::EndRecorded);
        if is_known || inner.places.has_globs(live.id()) {
            kept::forget(&inner.places, live.id()).await;
        }
        fault::reach(Point::EndForgotten);
        inner.metrics.finished(&finished);
        if !is_known {
            journal::submitted(&finished);
        }
        journal::finished(&finished);
        inner.approvals.end(live.id()).await;
        if let (Some(interpreter), Some(outcome)) = (&live.interpreter, &finished.outcome) {
            interpreter.end(outcome, &finished.output).await;
        }
        live.leave_source(); // before the end is told: what comes next has the usual name
        let (owner, keeps_much) = (finished.owner_uid, finished.kept_bytes.is_some());
        live.change(|execution| *execution = finished);
        fault::reach(Point::EndTold);
        inner.note_finished(owner, keeps_much);
        if let Some(first) = first.take() {
            drop(first.send(Ok(()))); // whoever submitted may be gone
        }
    } else if !is_known {
        kept::forget(&inner.places, live.id()).await; // it was refused
    }
}

/// Has the end in the audit log, on disk, however often it takes; tells when it is in the file.
fn audit_end(
    inner: &Arc<Inner>,
    finished: &Execution,
    artifacts: &ArtifactList,
    written: oneshot::Sender<()>,
) -> impl Future<Output = ()> + use<> {
    let generation = inner.settings.current();
    let policy = generation.policies.resolve(&finished.policy.name).map(|policy| &**policy);
    let (outcome, reserve) = (finished.outcome.clone(), inner.room.reserve());
    let hits = |outcome| audit::limits_hit(finished, outcome, artifacts, policy, reserve);
    let hits = outcome.as_ref().map(hits);
    let mut events: Vec<AuditEvent> = hits.unwrap_or_default();
    let denied = outcome.as_ref().and_then(|it| audit::call_denied(finished, it, policy));
    events.extend(denied);
    events.extend(outcome.map(|outcome| audit::ended(finished, &outcome)));
    let (inner, id, whom) = (inner.clone(), finished.id, audit::subject(finished));
    async move {
        let last = events.pop();
        inner.refused_traffic.tell_of(&inner.audit, whom);
        events.into_iter().for_each(|event| inner.audit.note(event));
        let Some(last) = last else { return };
        let mut written = Some(written);
        let mut tell = || {
            fault::reach(Point::EndWritten);
            if let Some(written) = written.take() {
                written.send(()).unwrap_or_default(); // whoever records the end may be gone
            }
        };
        while let Err(error) = inner.audit.write_durably(last.clone(), &mut tell).await {
            if error == Unaudited::Closed {
                return; // the next daemon finds it unfinished and records it again
            }
            inner.delayed.note(id, error.into());
            sleep(RECORD_AGAIN).await;
        }
        fault::reach(Point::EndAudited);
    }
}

/// Has the first output on disk as soon as there is more than its record holds. Of a program that ends soon
/// that is all, and its end doesn't wait for the disk while the program is being taken apart.
pub(super) async fn sync_first_output(inner: &Inner, live: &Live) {
    live.capture.exceeds(MOST_SMALL).await;
    sync_output(inner, live).await;
}

async fn sync_output(inner: &Inner, live: &Live) {
    let Some(extent) = live.capture.not_on_disk().await else { return };
    match live.capture.sync().await.and(inner.places.clone().sync().await) {
        Ok(()) => live.capture.note_on_disk(extent),
        Err(error) => {
            tracing::error!(%error, execution_id = %live.id(), "output may not be on disk");
        }
    }
}

/// Output that its record is to hold.
async fn small_output(live: &Live) -> Option<SmallOutput> {
    live.capture.small().await.unwrap_or_else(|error| {
        tracing::warn!(%error, execution_id = %live.id(), "can't read output to record it");
        None // then its files are synced
    })
}

/// Says in the record what was kept, to the byte: whatever is read of it later is held against that.
async fn digest_output(live: &Live, small: Option<&SmallOutput>, output: &mut OutputSummary) {
    let digests = match small {
        Some(small) => Ok([&small.stdout, &small.stderr, &small.index]
            .map(|bytes| (!bytes.is_empty()).then(|| Digest32::of(bytes)))),
        None => digests_of(&live.capture).await,
    };
    match digests {
        Ok([stdout, stderr, order]) => {
            (output.stdout.sha256, output.stderr.sha256) = (stdout, stderr);
            output.order_sha256 = order;
        }
        Err(error) => {
            let said = "output can't be read, and will be held against its length alone";
            tracing::error!(%error, execution_id = %live.id(), "{said}");
        }
    }
}

/// Digests of standard output, standard error and their order, each where there is any.
async fn digests_of(capture: &Capture) -> io::Result<[Option<Digest32>; 3]> {
    let files = [capture.file(Stream::Stdout), capture.file(Stream::Stderr), capture.order_file()];
    let mut digests = [None; 3];
    for (digest, file) in digests.iter_mut().zip(files) {
        if let Some(file) = file
            && file.metadata()?.len() > 0
        {
            *digest = Some(digests::digest(file, ()).await?);
        }
    }
    Ok(digests)
}

/// Bytes of the files that are kept of an execution, on disk or, where that can't be seen, by what they hold.
async fn kept_bytes(inner: &Inner, finished: &Execution, artifacts: &ArtifactList) -> u64 {
    let (places, id) = (inner.places.clone(), finished.id);
    match spawn_blocking(move || places.weigh(id)).await {
        Ok(Ok(bytes)) => bytes,
        failed => {
            tracing::error!(?failed, execution_id = %id, "can't see what is kept");
            let sizes = artifacts.artifacts.iter().map(|artifact| artifact.size);
            let output = finished.output.stdout.kept.saturating_add(finished.output.stderr.kept);
            sizes.fold(output, u64::saturating_add)
        }
    }
}

/// Has output, artifacts and the record on disk, in this order or at once; however often it takes. False if the
/// daemon is being stopped: whoever comes next finds the execution unfinished. False too if the first
/// record can't be written: whoever waits for it is told so.
async fn record(
    inner: &Arc<Inner>,
    live: &Live,
    finished: &mut Execution,
    artifacts: &ArtifactList,
    first: &mut Option<Recorded>,
) -> bool {
    let kept = &finished.output;
    // The names of artifacts came last, and after whatever was synced early.
    let has_artifacts = !artifacts.artifacts.is_empty();
    if has_artifacts {
        live.capture.forget_on_disk();
    }
    let has_output = kept.stdout.kept + kept.stderr.kept > 0;
    let small = if has_output && !has_artifacts { small_output(live).await } else { None };
    if has_output {
        digest_output(live, small.as_ref(), &mut finished.output).await;
    }
    if (has_output && small.is_none()) || has_artifacts {
        sync_output(inner, live).await;
        fault::reach(Point::OutputSynced);
    }
    let has_files = finished.changes.is_some() || live.interpreter.is_some();
    if has_artifacts || (has_output && small.is_none()) || has_files {
        finished.kept_bytes = Some(kept_bytes(inner, finished, artifacts).await);
    }
    if let Some(recorded) = first.take() {
        finished.finished_at = Some(clock::now());
        let begun = Instant::now();
        let result = inner.store.insert_finished(finished, artifacts, small).await;
        inner.metrics.stored("finish", begun.elapsed());
        if result.is_ok() {
            *first = Some(recorded);
            return true;
        }
        drop(recorded.send(result.map_err(Unrecorded::Store))); // whoever submitted may be gone
        return false;
    }
    loop {
        finished.finished_at = Some(clock::now());
        let begun = Instant::now();
        let written = inner.store.finish(finished, artifacts, small.clone()).await;
        inner.metrics.stored("finish", begun.elapsed());
        match written {
            // An earlier try may have reached the disk though it was answered with an error.
            Ok(()) | Err(StoreError::AlreadyFinished(_)) => return true,
            Err(StoreError::Closed) => return false,
            Err(error) => {
                tracing::error!(%error, execution_id = %live.id(), "can't record an end");
                inner.delayed.note(live.id(), from_store(&error));
                sleep(RECORD_AGAIN).await;
            }
        }
    }
}
