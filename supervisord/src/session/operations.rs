//! Sessions are made, looked at, extended and closed.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use supervisor_api::{
    Administration, ApiError, CreateSession, ErrorCode, ExtendSession, LimitsRequest, Session,
    SessionId, SessionList, SessionState, SessionUsage, Subject, What,
};
use supervisor_sys::random_bits;
use tokio::task::spawn_blocking;

use super::record::{MAX_TIME_TO_LIVE, Record, TIME_TO_LIVE};
use super::recovery::try_remove;
use super::root::Root;
use super::set::{Kept, Use};
use crate::clock;
use crate::descriptors;
use crate::fault::{self, Point};
use crate::launcher::LaunchError;
use crate::outcome;
use crate::plan;
use crate::supervisor::{Caller, Role, Supervisor, from_store, internal, policy, storage};
use crate::workspace;

impl Supervisor {
    /// Makes a session with a workspace of its own.
    pub async fn create_session(
        &self,
        caller: &Caller,
        request: CreateSession,
    ) -> Result<Session, ApiError> {
        let inner = self.inner();
        let generation = inner.settings.current();
        let source = request.from.map(|id| self.session_to_copy(caller, id)).transpose()?;
        let theirs = source.as_ref().map(|source| source.record());
        let name = request.policy.as_deref();
        let name = name.or(theirs.as_ref().map(|theirs| theirs.policy.as_str()));
        let policy = policy(&generation, name.unwrap_or(&generation.default_policy))?;
        plan::check_labels(&request.labels)?;
        let asked = LimitsRequest {
            workspace_bytes: request
                .workspace_bytes
                .or(theirs.as_ref().map(|theirs| theirs.workspace_bytes)),
            workspace_inodes: request
                .workspace_inodes
                .or(theirs.as_ref().map(|theirs| theirs.workspace_inodes)),
            ..LimitsRequest::default()
        };
        let limits = plan::limits(&asked, &policy)?;
        let time_to_live = time_to_live(request.time_to_live.unwrap_or(TIME_TO_LIVE))?;
        let record = Record {
            id: SessionId::from_bits(random_bits().map_err(internal)?),
            owner_uid: caller.uid,
            policy: policy.name().to_owned(),
            labels: request.labels,
            workspace_bytes: limits.workspace_bytes,
            workspace_inodes: limits.workspace_inodes,
            created_at: clock::now(),
            expires: from_now(time_to_live),
            time_to_live,
            snapshot_of: None,
            held: None,
        };
        self.make_session(record, source).await
    }

    /// Makes a session of this record, whose workspace begins as a copy of another's if there is one.
    pub(super) async fn make_session(
        &self,
        record: Record,
        source: Option<Arc<Kept>>,
    ) -> Result<Session, ApiError> {
        let inner = self.inner();
        let place = inner.admission.keep(record.owner_uid, record.workspace_bytes)?;
        let session = Kept::new(record.clone(), place, &inner.sessions);
        let guard = session.enter_to_make()?; // neither closed nor used before it is whole
        inner.sessions.add(session.clone())?;
        let mut is_silent = false;
        let made = match inner.moving.begin(record.id).await {
            Ok(()) => {
                let asked = inner.launcher.make_workspace(kept(&record));
                let made = inner.launcher.unless_silent(asked).await.flatten();
                is_silent = matches!(made, Err(LaunchError::Silent));
                made.map_err(|error| outcome::workspace_refused(&error))
            }
            Err(error) => Err(storage(error)),
        };
        let copied = match (made, source) {
            (Ok(()), Some(source)) => self.copy_workspace(&source, &session).await.map(Some),
            (made, _) => made.map(|()| None),
        };
        fault::reach(Point::WorkspaceMade);
        let recorded = match &copied {
            Ok(_) => inner.store.put_session(&record).await.map_err(|error| from_store(&error)),
            Err(error) => Err(error.clone()),
        };
        fault::reach(Point::SessionRecorded);
        if let Err(error) = recorded {
            inner.sessions.remove(record.id);
            let (inner, id, owner) = (inner.clone(), record.id, record.owner_uid);
            let launcher = inner.launcher.clone();
            // To its end though nobody waits, and in its owner's place: what was asked of the launcher is done when
            // that goes on.
            let taken_back = tokio::spawn(async move {
                // A workspace that stays here is one without a record: the next start removes it.
                match try_remove(&inner.launcher, id.bits(), owner).await {
                    Ok(()) => inner.moving.end(id).await,
                    Err(error) => {
                        tracing::warn!(%error, session = %id, "can't take a workspace back");
                    }
                }
                drop(guard);
                session.let_go().await;
            });
            if !is_silent {
                // It may have become so meanwhile, and what was refused is refused.
                drop(launcher.unless_silent(taken_back).await);
            }
            return Err(error);
        }
        inner.moving.end(record.id).await;
        drop(guard);
        session.tell();
        let made = self.describe(&session, false).await?;
        Ok(Session { copied: copied.ok().flatten(), ..made })
    }

    /// The caller's sessions, newest first; an administrator can ask for everybody's.
    pub async fn sessions(&self, caller: &Caller, all: bool) -> Result<SessionList, ApiError> {
        if all && caller.role != Role::Admin {
            let problem = "only administrators see everybody's sessions";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem).with_field("all"));
        }
        let mut sessions = Vec::new();
        for session in self.inner().sessions.all() {
            if all || session.record().owner_uid == caller.uid {
                sessions.push(self.glance(&session));
            }
        }
        sessions.sort_by(|one, other| other.created_at.cmp(&one.created_at));
        Ok(SessionList { sessions })
    }

    /// One session, with what its workspace holds.
    pub async fn session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        let session = self.own_session(caller, id)?;
        self.describe(&session, true).await
    }

    /// The same without a look into its workspace.
    ///
    /// # Errors
    /// When there is none, or it is somebody else's.
    pub fn session_at_a_glance(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        self.own_session(caller, id).map(|session| self.glance(&session))
    }

    /// Moves a session's end. It can come sooner as well.
    pub async fn extend_session(
        &self,
        caller: &Caller,
        id: SessionId,
        request: ExtendSession,
    ) -> Result<Session, ApiError> {
        let time_to_live = time_to_live(request.time_to_live)?;
        let session = self.own_session(caller, id)?;
        self.note_stewardship(caller, &session.record(), "extend_session")?;
        if let Some(held) = session.record().held {
            let problem = "it holds an execution's changes for as long as the session they are for";
            return Err(ApiError::new(ErrorCode::Conflict, problem)
                .with_hint(format!("extend session {}", held.session)));
        }
        let guard = session.enter_to_keep()?;
        let changing = session.changing.lock().await;
        let record = Record { expires: from_now(time_to_live), time_to_live, ..session.record() };
        // What is refused is not in force, so it is on disk first.
        let recorded = self.inner().store.put_session(&record).await;
        recorded.map_err(|error| from_store(&error))?;
        session.change(record);
        drop(changing);
        fault::reach(Point::SessionExtended);
        self.inner().sessions.changed.notify_one();
        drop(guard);
        self.describe(&session, false).await
    }

    /// A session of the caller's own, to run in. Administrators see everybody's, and run nothing in them:
    /// what ran would be the owner's as much as theirs.
    ///
    /// # Errors
    /// When there is none, or it is somebody else's.
    pub(crate) fn session_to_run_in(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Arc<Kept>, ApiError> {
        let session = self.own_session(caller, id)?;
        if session.record().owner_uid == caller.uid {
            return Ok(session);
        }
        let problem = "the session is somebody else's, and only its owner runs in it";
        Err(ApiError::new(ErrorCode::PermissionDenied, problem)
            .with_field("session")
            .with_hint("make a session of your own"))
    }

    /// Records that an administrator does something to somebody else's session; without a record it
    /// doesn't.
    pub(crate) fn note_stewardship(
        &self,
        caller: &Caller,
        record: &Record,
        act: &str,
    ) -> Result<(), ApiError> {
        if caller.uid == record.owner_uid {
            return Ok(());
        }
        let act = Administration { act: act.to_owned(), by: Some(caller.uid), object: None };
        let uid = Some(record.owner_uid);
        let whom = Subject { session: Some(record.id), execution: None, uid };
        Ok(self.inner().audit.record(What::Administration(act).about(whom))?)
    }

    /// A session of the caller's own. Of an administrator who does this to somebody else's it is recorded once.
    pub(crate) fn own_session_for(
        &self,
        caller: &Caller,
        id: SessionId,
        act: &'static str,
    ) -> Result<Arc<Kept>, ApiError> {
        let session = self.own_session(caller, id)?;
        let record = session.record();
        if caller.uid != record.owner_uid {
            let note = || self.note_stewardship(caller, &record, act);
            session.administered(caller.uid, act, note)?;
        }
        Ok(session)
    }

    /// A session of the caller's own; an administrator's are everybody's.
    pub(crate) fn own_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<Arc<Kept>, ApiError> {
        let session = self.inner().sessions.get(id);
        session
            .filter(|found| caller.role == Role::Admin || found.record().owner_uid == caller.uid)
            .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such session"))
    }

    /// Uses a session's workspace.
    pub(super) async fn enter(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<(Use, Arc<Root>), ApiError> {
        let guard = self.own_session_for(caller, id, "files")?.enter()?;
        let granted = self.grant(guard.session()).await?;
        Ok((guard, granted))
    }

    /// Uses a session's workspace to change it.
    pub(super) async fn enter_to_change(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<(Use, Arc<Root>), ApiError> {
        let guard = self.own_session_for(caller, id, "change_files")?.enter_to_change()?;
        let granted = self.grant(guard.session()).await?;
        Ok((guard, granted))
    }

    pub(super) async fn grant(&self, session: &Kept) -> Result<Arc<Root>, ApiError> {
        let granted = self.granted(session).await?;
        if !workspace::is_shut(granted.as_fd()).map_err(internal)? {
            return Ok(granted);
        }
        let turn = self.files_turn(session).await?;
        let opened = spawn_blocking(move || {
            let opened = workspace::open_up(granted.as_fd());
            drop(turn);
            opened.map(|()| granted)
        });
        let opened = opened.await.map_err(internal)?;
        opened.map_err(|error| outcome::disk_failed(&error).unwrap_or_else(|| internal(error)))
    }

    async fn granted(&self, session: &Kept) -> Result<Arc<Root>, ApiError> {
        let mut opened = session.opened.lock().await;
        if let Some(root) = &*opened {
            return Ok(root.clone());
        }
        let (launcher, record) = (&self.inner().launcher, session.record());
        let granted = launcher.grant(record.id.bits(), record.owner_uid);
        match launcher.unless_silent(granted).await.flatten() {
            Ok(granted) => Ok(opened.insert(session.root(granted)).clone()),
            Err(LaunchError::Silent) => {
                Err(outcome::launcher_is_silent("the workspace can't be reached"))
            }
            Err(error) if outcome::is_missing(&error) => Err(outcome::workspace_missing()),
            Err(LaunchError::NoDescriptors) => Err(descriptors::refusal()),
            Err(error) => {
                let failed = outcome::workspaces_disk_failed(&error);
                Err(failed.unwrap_or_else(|| internal(error)))
            }
        }
    }

    /// What the caller sees of it. Usage is counted only where it is asked for: a workspace is attached
    /// for it.
    pub(super) async fn describe(
        &self,
        session: &Kept,
        counted: bool,
    ) -> Result<Session, ApiError> {
        let usage = if counted && session.is_made() && !session.is_closing() {
            let granted = self.grant(session).await?;
            let usage = spawn_blocking(move || workspace::usage(granted.as_fd())).await;
            usage.ok().and_then(Result::ok)
        } else {
            None
        };
        // A file system on disk counts what it needs itself; what is left of the limits is exact.
        let (bytes, inodes) = {
            let record = session.record();
            (record.workspace_bytes, record.workspace_inodes)
        };
        let usage = usage.map(|usage| SessionUsage {
            workspace_bytes: bytes.saturating_sub(usage.bytes_free),
            workspace_inodes: {
                // In memory its root is one of those that the limit counts.
                let root = usage.inodes.saturating_add(usage.inodes_free) == inodes;
                inodes.saturating_sub(usage.inodes_free).saturating_sub(u64::from(root))
            },
        });
        Ok(Session { usage, ..self.glance(session) })
    }

    /// What is known of it without a look into its workspace.
    pub(super) fn glance(&self, session: &Kept) -> Session {
        let record = self.inner().sessions.with_its_end(session.record());
        let generation = self.inner().settings.current();
        let policy =
            policy(&generation, &record.policy).map(|policy| generation.reference(&policy));
        let state = match clock::steady() {
            _ if session.is_closing() => SessionState::Closing,
            now if now >= record.notice() => SessionState::Expiring,
            _ => SessionState::Open,
        };
        Session {
            id: record.id,
            owner_uid: record.owner_uid,
            state,
            policy: policy.unwrap_or(supervisor_api::PolicyReference {
                name: record.policy,
                digest: String::new(), // it is no longer loaded; nothing runs until it is
            }),
            labels: record.labels,
            workspace_bytes: record.workspace_bytes,
            workspace_inodes: record.workspace_inodes,
            created_at: record.created_at,
            expires_at: clock::at(record.expires),
            executions: session.executions(),
            snapshot_of: record.snapshot_of,
            holds_changes_of: record.held.map(|held| held.execution),
            copied: None,
            usage: None,
        }
    }
}

/// A session's workspace as the launcher is asked for it.
fn kept(record: &Record) -> supervisor_launch::Kept {
    supervisor_launch::Kept {
        id: record.id.bits(),
        bytes: record.workspace_bytes,
        inodes: record.workspace_inodes.saturating_add(1), // its root
        owner: record.owner_uid,
    }
}

pub(super) fn time_to_live(seconds: u64) -> Result<u64, ApiError> {
    if (1..=MAX_TIME_TO_LIVE).contains(&seconds) {
        return Ok(seconds);
    }
    let problem = format!("a session lives for 1 to {MAX_TIME_TO_LIVE} seconds");
    Err(ApiError::invalid("time_to_live", problem).with_hint("extend it while it is needed"))
}

pub(super) fn from_now(seconds: u64) -> i64 {
    clock::steady().saturating_add_unsigned(seconds)
}
