//! What is kept in files of a submission before it is recorded: what a daemon that comes next needs of it. All of it is
//! done on threads for that, for the state's disk may stand still.

use std::sync::Arc;

use supervisor_api::{ApiError, Execution, ExecutionId};
use tokio::task::spawn_blocking;

use super::{Supervisor, internal, storage};
use crate::elsewhere::Elsewhere;
use crate::fault::{self, Point};
use crate::interpreter::{self, Interpreter};
use crate::places::Places;
use crate::plan::Plan;

/// The files of a submission, from when there may be some. Dropped before [`Unkept::keep`], they go again; while they are
/// made, who makes them has this, so that none comes behind their removal.
pub(super) struct Unkept {
    places: Arc<Places>,
    owner: u32,
    id: Option<ExecutionId>,
}

/// Files that go.
struct Going(Arc<Places>, ExecutionId);

impl Drop for Going {
    fn drop(&mut self) {
        let Self(places, id) = self;
        if let Err(error) = places.remove(*id) {
            tracing::warn!(%error, execution_id = %id, "can't remove what was kept of a refused submission");
        }
    }
}

impl Unkept {
    /// None yet.
    pub(super) fn none(places: Arc<Places>, owner: u32) -> Self {
        Self { places, owner, id: None }
    }

    /// There may be some of this id from now on.
    pub(super) fn are_made(&mut self, id: ExecutionId) {
        self.id = Some(id);
    }

    /// The submission was accepted: whoever records it sees to its files.
    pub(super) fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Unkept {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            drop(Elsewhere::new(self.owner, Going(self.places.clone(), id)));
        }
    }
}

impl Supervisor {
    /// Keeps what is needed of a submission that is in line.
    pub(super) async fn lay_out(
        &self,
        plan: &mut Plan,
        execution: &Execution,
        globs: Vec<String>,
        interpreter: Option<interpreter::Kept>,
        mut unkept: Unkept,
    ) -> Result<(Option<Arc<Interpreter>>, Unkept), ApiError> {
        let owes_input = plan.owes_input();
        let has_files = !globs.is_empty() || owes_input;
        if !has_files && plan.way.is_none() && interpreter.is_none() {
            return Ok((None, unkept));
        }
        let (inner, execution, way) = (self.inner.clone(), execution.clone(), plan.way.take());
        let turn = inner.threads.note(execution.owner_uid).await?;
        unkept.are_made(execution.id);
        let laid_out = spawn_blocking(move || {
            let (places, id, owner) = (&inner.places, execution.id, execution.owner_uid);
            let keep = || -> Result<_, ApiError> {
                if has_files {
                    places.make(id, &globs).map_err(storage)?;
                    fault::reach(Point::PlaceMade);
                }
                if owes_input {
                    places.owe_input(id).map_err(storage)?;
                    fault::reach(Point::InputOwed);
                }
                if let Some(way) = &way {
                    let made = places.make(id, &[]);
                    made.and_then(|_| way.keep(places, id)).map_err(storage)?;
                }
                let Some(kept) = interpreter else { return Ok(None) };
                let made = interpreter::lay_out(places, &inner.interpreters, &execution, kept)?;
                if inner.admission.position(owner, id).is_some() {
                    // It may have its turn after a loss of power.
                    places.sync_interpreter(id).map_err(storage)?;
                }
                Ok(Some(made))
            };
            let kept = keep();
            drop(turn);
            (way, kept, unkept)
        });
        let (way, kept, unkept) = laid_out.await.map_err(internal)?;
        plan.way = way;
        Ok((kept?, unkept))
    }

    /// Removes what was kept of a submission that is refused.
    pub(super) async fn forget_place(&self, id: ExecutionId, owner: u32) {
        Elsewhere::new(owner, Going(self.inner.places.clone(), id)).gone().await;
    }
}
