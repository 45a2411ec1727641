//! An execution of which something is damaged that only it has: it is ended, and the daemon starts for all others.

use std::io;
use std::sync::Arc;

use supervisor_api::{Execution, Outcome};

use super::{Failure, live_of};
use crate::audit;
use crate::capture::Capture;
use crate::driver::{self, End};
use crate::supervisor::Inner;

/// Ends an execution that can't be taken over, as `lost`, and says why.
///
/// # Errors
/// What kept it from being taken over, where that is not its own: a lack of descriptors, memory or room, or a
/// failing store, passes, and then it goes on.
pub fn give_up(
    inner: &Arc<Inner>,
    execution: Execution,
    lives: bool,
    error: Failure,
) -> Result<(), Failure> {
    let id = execution.id;
    match error.downcast_ref::<io::Error>() {
        None => return Err(error),
        Some(error) if !is_its_own(error) => {
            return Err(format!("can't take over {id}: {error}").into());
        }
        Some(_) => {}
    }
    tracing::error!(%error, execution_id = %id, "an execution can't be taken over");
    inner.live.remove(id); // it may have come as far as this
    inner.interpreters.remove(id);
    let reason = format!("what was kept of it is damaged: {error}");
    inner.audit.note(audit::recovery(audit::subject(&execution), "written_off", Some(&reason)));
    let nothing = Capture::nothing(execution.limits.output_bytes);
    let live = live_of(inner, execution, None, nothing);
    inner.live.insert(id, live.clone());
    live.is_found();
    let end = End::without_sandbox(Outcome::Lost { reason });
    tokio::spawn(driver::resume_end(inner.clone(), live, end, lives));
    Ok(())
}

/// Whether an error is about a file of the execution: it is of another kind, or damaged.
fn is_its_own(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, Other};
    matches!(error.kind(), InvalidData | IsADirectory | NotADirectory | Other)
}
