//! A submission is accepted, or refused with what would have to change.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use supervisor_api::{
    ApiError, ChangeSummary, ChangesMode, ErrorCode, Execution, ExecutionId, Mode, OutputSummary,
    SessionId, State, Subject, SubmitRequest, Usage,
};
use supervisor_policy::{Resolved, RootAccess};
use supervisor_sys::random_bits;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;

use super::laid_out::Unkept;
use super::{Caller, Inner, Supervisor, from_store, internal, policy};
use crate::audit::{self};
use crate::capture::Capture;
use crate::clock;
use crate::descriptors;
use crate::driver::{self, Told, Unrecorded, Wishes};
use crate::elsewhere;
use crate::fault::{self, Point};
use crate::images;
use crate::interpreter;
use crate::journal;
use crate::live::Live;
use crate::older;
use crate::outcome;
use crate::plan::{self, Plan};
use crate::session::{HeldCopy, Kept, SourceName};
use crate::settings::Generation;
use crate::traffic::{ClosedWay, Way, Whose};
use crate::warm::{Parked, Recipe};

/// Bytes of a submission that are digested on the way: they take a fraction of a millisecond.
const HASHED_AT_ONCE: usize = 256 << 10;

impl Supervisor {
    /// Runs a payload in a fresh sandbox; returns once it is recorded. With `wait` the caller says that it
    /// tells nobody before the end, so an execution that is done soon is recorded with its end at once
    /// and returned finished; any other has yet to be waited for, by [`status`](Self::status).
    pub async fn submit(
        &self,
        caller: &Caller,
        request: SubmitRequest,
    ) -> Result<Execution, ApiError> {
        self.submit_as(caller, request, None).await
    }

    /// The same, of an interpreter where one is asked for.
    pub(crate) async fn submit_as(
        &self,
        caller: &Caller,
        request: SubmitRequest,
        interpreter: Option<interpreter::Kept>,
    ) -> Result<Execution, ApiError> {
        let audit = &self.inner.audit;
        audit.admit()?;
        let generation = self.inner.settings.current();
        let program = program(&request);
        let asked = request.policy.clone().unwrap_or_default();
        let session = request.session.map(|id| self.session_to_run_in(caller, id)).transpose();
        let named = session.and_then(|session| {
            let name = policy_name(&request, session.as_deref(), &generation)?;
            Ok((name, session))
        });
        let (name, accepted) = match named {
            Ok((name, session)) => {
                let asked = (request, interpreter);
                let accepted = self.accept(caller, &generation, &name, asked, session).await;
                (name, accepted)
            }
            Err(refusal) => (asked, Err(refusal)),
        };
        match accepted {
            Ok(live) => {
                self.inner.metrics.submission(Ok(&live.execution.borrow()));
                Ok(self.snapshot(&live))
            }
            Err(refusal) => {
                self.inner.metrics.submission(Err(refusal.code));
                journal::refused(caller, &name, &refusal);
                let subject = Subject { uid: Some(caller.uid), ..Subject::default() };
                let event = audit::refused(subject, &name, program, &refusal);
                self.inner.refusals.record(&self.inner.audit, refusal.code, event).await?;
                Err(refusal)
            }
        }
    }

    async fn accept(
        &self,
        caller: &Caller,
        generation: &Generation,
        name: &str,
        (request, interpreter): (SubmitRequest, Option<interpreter::Kept>),
        session: Option<Arc<Kept>>,
    ) -> Result<Arc<Live>, ApiError> {
        let inner = &self.inner;
        if inner.launcher.is_gone() {
            return Err(outcome::launcher_is_gone());
        }
        descriptors::admit()?;
        inner.room.admit()?;
        if interpreter.is_some() {
            elsewhere::admit(caller.uid)?; // one too many is refused once there are files of it, which go
        }
        let policy = policy(generation, name)?;
        let holds = request.changes == Some(ChangesMode::Hold);
        let kept = session;
        if holds && kept.is_none() {
            let problem = "changes are held back from a session, and there is none";
            return Err(ApiError::invalid("changes", problem)
                .with_hint("name a session; without one nothing of the workspace stays"));
        }
        if holds && policy.root() == RootAccess::Writable {
            let problem = "changes are held back from a session's files, and this policy lets its root be written: \
                           what is changed there would be neither told nor applied";
            return Err(ApiError::invalid("changes", problem).with_hint(
                "submit it under a policy whose root is read-only, or without `changes`",
            ));
        }
        // What runs on a copy uses the session when that is made.
        let session = match &kept {
            Some(kept) if !holds => Some(kept.run()?),
            _ => None,
        };
        let asked = request.image.as_deref();
        let (image, named) = images::choose(asked, &policy, &inner.launcher).await?;
        let (wait, labels) = (request.wait, request.labels.clone());
        let mut changes = request.changes.map(|mode| ChangeSummary {
            mode,
            held_in: None,
            added: 0,
            modified: 0,
            deleted: 0,
            hazardous: 0,
            complete: false,
        });
        let language = interpreter.map(|kept| kept.language).or(request.language);
        let globs = request.artifacts.globs.clone();
        let held = kept.as_ref().map(|kept| kept.record());
        let id = ExecutionId::from_bits(random_bits().map_err(internal)?);
        let session_id = match &held {
            Some(held) => held.id,
            None => SessionId::from_bits(random_bits().map_err(internal)?),
        };
        let listeners = Way::sockets(inner, &policy)?;
        let source = session.as_ref().and_then(|used| source_name(&request, used.session()));
        let file = source.as_ref().map(|source| source.name().to_owned());
        let mut plan = if globs.is_empty() && given(&request) < HASHED_AT_ONCE {
            Plan::new(request, &policy, (held.as_ref(), file.as_deref()), listeners)?
        } else {
            // Globs may take a tenth of a second to compile, and megabytes as long to digest.
            let (policy, held) = (policy.clone(), held.clone());
            let planned = spawn_blocking(move || {
                Plan::new(request, &policy, (held.as_ref(), file.as_deref()), listeners)
            });
            planned.await.map_err(internal)??
        };
        plan.channel = interpreter.is_some();
        plan.image = image;
        require(inner, generation.mode, &policy, &plan)?;
        let prepare = plan.prepare(0, caller.uid, inner.landlock_floor(), inner.host.disk());
        older::check(&prepare, inner.launcher.version())?;
        // First, for who has no place in line costs no copy; and no turn comes before the copy has been made.
        let coming = inner.admission.expect(caller.uid, plan.need())?;
        let mut unkept = Unkept::none(inner.places.clone(), caller.uid);
        let (session, copy) = match (&kept, &mut changes) {
            (Some(kept), Some(changes)) if holds => {
                unkept.are_made(id); // what there was to copy; nothing is parked in a copy that is new, so the id stays
                let copy = self.hold(kept, id).await?;
                plan.kept = Some(copy.id().bits());
                changes.held_in = Some(copy.id());
                (Some(kept.run()?), Some(copy))
            }
            _ => (session, None),
        };
        let mut parked = self.parked(caller, generation, &policy, &plan);
        // A parked sandbox has had the id of its execution from the beginning, and its way out that of its session.
        let id = parked.as_ref().map_or(id, |parked| ExecutionId::from_bits(parked.id()));
        let closed = parked.as_mut().and_then(Parked::take_way);
        let session_id = closed.as_ref().map_or(session_id, ClosedWay::session);
        if let Some(listeners) = plan.listeners {
            let closed = match closed {
                Some(closed) => closed,
                None => ClosedWay::new(session_id, listeners)?,
            };
            let whose = Whose { session: session_id, execution: id, uid: caller.uid };
            plan.give(closed.open(inner, &policy, whose)?, &policy)?;
        }
        let execution = Execution {
            id,
            session: session_id,
            owner_uid: caller.uid,
            state: State::Queued,
            queue_position: None,
            outcome: None,
            argv: plan.argv.clone(),
            language,
            inputs: plan.inputs.clone(),
            labels,
            stdin_open: plan.stdin_open,
            terminal: plan.terminal.is_some(),
            policy: generation.reference(&policy),
            image: named,
            limits: plan.limits,
            created_at: clock::now(),
            started_at: None,
            paused_at: None,
            start: None,
            finished_at: None,
            usage: Usage::default(),
            output: OutputSummary::default(),
            artifact_count: 0,
            artifacts_truncated: false,
            kept_bytes: None,
            changes,
            controls: Vec::new(),
            waits_for: Vec::new(),
        };
        let turn = coming.line_up(id);
        if inner.admission.lacks_room(caller.uid) {
            inner.warm.yield_to(caller.uid);
        }
        let laid_out = self.lay_out(&mut plan, &execution, globs, interpreter, unkept);
        let (interpreter, unkept) = laid_out.await?;
        if let Some(made) = &interpreter {
            inner.interpreters.add(made.clone())?;
        }
        let places = inner.places.clone();
        let make_place = Box::new(move || places.make(id, &[]));
        let capture = Capture::create(make_place, plan.limits.output_bytes);
        capture.leave(inner.room.clone());
        capture.is_of(caller.uid);
        let live = Arc::new(Live {
            profile: plan.profile,
            place: plan.workspace,
            execution: watch::Sender::new(execution),
            capture,
            input: watch::Sender::new(None),
            terminal: watch::Sender::new(None),
            cancelled: watch::Sender::new(false),
            wishes: Wishes::default(),
            samples: Mutex::default(),
            session,
            source: Mutex::new(source),
            held: copy.and_then(HeldCopy::keep),
            interpreter,
            recorded: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            meter: Mutex::default(),
            administrators: Mutex::default(),
        });
        unkept.keep();
        inner.live.insert(id, live.clone());
        live.is_found();
        fault::reach(Point::SubmissionAccepted);
        if live.session.as_ref().is_some_and(|held| held.session().is_closing()) {
            live.cancelled.send_replace(true); // whoever closes it has not seen this one
        }
        let (recorded, record) = oneshot::channel();
        let told = if wait { Told::AtTheEnd } else { Told::AtOnce };
        tokio::spawn(driver::drive(
            inner.clone(),
            live.clone(),
            plan,
            (turn, parked),
            (told, recorded),
        ));
        match record.await.map_err(internal)? {
            Ok(()) => Ok(live),
            Err(error) => Err(self.refuse_storage(id, caller.uid, &error).await),
        }
    }

    /// The sandbox that is parked for this submission, if it could have one and there is one.
    fn parked(
        &self,
        caller: &Caller,
        generation: &Generation,
        policy: &Resolved,
        plan: &Plan,
    ) -> Option<Parked> {
        let inner = &self.inner;
        let interpreter = plan.interpreter.clone().filter(|_| inner.launcher.can_park())?;
        let prepare = plan.prepare(0, caller.uid, inner.landlock_floor(), inner.host.disk());
        let reference = generation.reference(policy);
        let recipe = Recipe::new(prepare, reference, generation.number, interpreter);
        inner.warm.claim(recipe, generation.warm)
    }

    async fn refuse_storage(&self, id: ExecutionId, owner: u32, error: &Unrecorded) -> ApiError {
        self.forget_place(id, owner).await;
        self.inner.interpreters.remove(id);
        if let Some(copy) = self.held_copy(id) {
            self.close_soon(copy);
        }
        match error {
            Unrecorded::Store(error) => from_store(error),
            Unrecorded::Audit(error) => (*error).into(),
        }
    }
}

/// In strict mode, whatever the policy requires must be enforced as designed.
pub(crate) fn require(
    inner: &Inner,
    mode: Mode,
    policy: &Resolved,
    plan: &Plan,
) -> Result<(), ApiError> {
    if mode == Mode::BestEffort {
        return Ok(());
    }
    let matrix = inner.host.matrix(plan.profile, plan.workspace, &plan.limits);
    for control in policy.required_controls(&plan::to_policy(&plan.limits)) {
        let held = matrix.iter().find(|line| line.control == control.as_str());
        if let Some(line) = held.filter(|line| line.status.falls_short()) {
            let reason = line.reason.as_deref().unwrap_or("it is not enforced here");
            let problem = format!("policy {} requires {control}: {reason}", policy.name());
            let error = ApiError::new(ErrorCode::ControlMissing, problem).with_field("policy");
            return Err(error.with_hint(line.remedy.clone().unwrap_or_default()));
        }
    }
    Ok(())
}

/// The policy of a submission, by name: its session's, if it has one.
fn policy_name(
    request: &SubmitRequest,
    session: Option<&Kept>,
    generation: &Generation,
) -> Result<String, ApiError> {
    let held = session.map(|session| session.record().policy);
    match (held, &request.policy) {
        (Some(held), Some(asked)) if held != *asked => {
            let problem = format!("the session's policy is {held}");
            Err(ApiError::invalid("policy", problem).with_hint("leave the policy out"))
        }
        (Some(held), _) => Ok(held),
        (None, asked) => Ok(asked.clone().unwrap_or_else(|| generation.default_policy.clone())),
    }
}

/// The name of the file that a submission's source becomes in a session's workspace.
fn source_name(request: &SubmitRequest, session: &Arc<Kept>) -> Option<SourceName> {
    let language = request.language.filter(|_| request.source.is_some())?;
    Some(session.take_source_name(plan::source_name(language)))
}

/// How many bytes a submission hands in.
fn given(request: &SubmitRequest) -> usize {
    let files = request.files.iter().map(|file| file.content.0.len()).sum::<usize>();
    let stdin = request.stdin.as_ref().map_or(0, |content| content.0.len());
    files + stdin + request.source.as_ref().map_or(0, String::len)
}

/// What is to be run, without its arguments.
fn program(request: &SubmitRequest) -> Option<String> {
    let language = request.language.map(|language| format!("{language:?}").to_lowercase());
    request.argv.first().cloned().or(language)
}
