//! Whether the state and the launcher's workspaces belong together. A disk that is not mounted, another directory
//! and a state from a backup all look like sessions that have lost their workspaces, or like workspaces that nobody
//! knows; what a start tidied away then would be gone when the right disk is back.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use supervisor_api::{SessionId, Subject};

use super::record::Record;
use crate::audit;
use crate::recovery::Failure;
use crate::supervisor::Inner;

/// The file by which an administrator has one start take things as they are.
const SETTLE: &str = "settle-workspaces";

/// What an administrator may have asked this start for.
#[derive(Debug)]
pub struct Settling {
    asked: bool,
    file: PathBuf,
}

impl Settling {
    /// Looks for the file in the state directory.
    pub fn look(state: &Path) -> io::Result<Self> {
        let file = state.join(SETTLE);
        Ok(Self { asked: fs::exists(&file)?, file })
    }

    /// Whether sessions without a workspace are closed, and workspaces without a session removed.
    pub fn is_asked(&self) -> bool {
        self.asked
    }

    /// Asked for once, it is done once.
    fn take(&self) -> io::Result<()> {
        fs::remove_file(&self.file)?;
        self.file.parent().map_or(Ok(()), |state| File::open(state)?.sync_all())
    }
}

/// What there is on both sides, but for what was on its way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sides {
    /// Sessions that have their workspace.
    whole: usize,
    /// Sessions that have none.
    missing: usize,
    /// Workspaces that no session has.
    unknown: usize,
}

impl Sides {
    fn of(records: &[Record], listed: &HashSet<SessionId>, moving: &HashSet<SessionId>) -> Self {
        let recorded: HashSet<SessionId> = records.iter().map(|record| record.id).collect();
        let still = |set: &HashSet<SessionId>, other: &HashSet<SessionId>| {
            set.iter().filter(|id| !other.contains(id) && !moving.contains(id)).count()
        };
        Self {
            whole: recorded.intersection(listed).count(),
            missing: still(&recorded, listed),
            unknown: still(listed, &recorded),
        }
    }

    /// Why they are not two sides of one thing. One session that is whole shows that they are.
    fn disagreement(&self) -> Option<Disagreement> {
        match *self {
            Self { whole: 0, missing: 0, unknown: 0 } => None,
            Self { whole: 0, missing, unknown } => Some(Disagreement { missing, unknown }),
            _ => None,
        }
    }
}

/// State and workspaces do not belong together.
#[derive(Debug)]
struct Disagreement {
    missing: usize,
    unknown: usize,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, unknown } = self;
        let sessions =
            format!("none of the sessions in the state directory ({missing}) has its workspace");
        let workspaces =
            format!("none of the workspaces that the launcher keeps ({unknown}) has its session");
        match (missing, unknown) {
            (0, _) => write!(f, "{workspaces} in the state directory")?,
            (_, 0) => write!(f, "{sessions} with the launcher")?,
            _ => write!(f, "{sessions}, and {workspaces}")?,
        }
        write!(
            f,
            "; see that the right disks are mounted and the right directories named (`state` here, --workspaces of the \
             launcher, whose journal says where it can keep none), and start both again; to close those sessions and \
             remove those workspaces for good, make a file {SETTLE} in the state directory first"
        )
    }
}

impl std::error::Error for Disagreement {}

/// Refuses a start on two sides that don't belong together, before anything is removed from either.
pub async fn agree(inner: &Arc<Inner>) -> Result<(), Failure> {
    if inner.settling.is_asked() {
        let cause = "an administrator asked for it: sessions without a workspace are closed, and workspaces \
                     without a session are removed";
        inner.audit.write(audit::recovery(Subject::default(), "settled", Some(cause))).await?;
        inner.settling.take()?;
        return Ok(());
    }
    let listed = inner.launcher.workspaces().await?;
    let listed = listed.into_iter().map(|kept| SessionId::from_bits(kept.id)).collect();
    let sides = Sides::of(&inner.store.sessions().await?, &listed, &inner.moving.all()?);
    let Some(disagreement) = sides.disagreement() else { return Ok(()) };
    let cause = disagreement.to_string();
    let refusal = audit::recovery(Subject::default(), "refused", Some(&cause));
    if let Err(error) = inner.audit.write(refusal).await {
        tracing::error!(%error, "a refused start could not be recorded");
    }
    Err(disagreement.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_at_all_and_one_session_that_is_whole_agree() {
        for (whole, missing, unknown, agrees) in [
            (0, 0, 0, true),
            (1, 0, 0, true),
            (1, 5, 5, true),
            (0, 1, 0, false),
            (0, 0, 1, false),
            (0, 3, 3, false),
        ] {
            let sides = Sides { whole, missing, unknown };
            assert_eq!(sides.disagreement().is_none(), agrees, "{sides:?}");
        }
    }

    #[test]
    fn what_was_on_its_way_says_nothing() {
        let ids = |bits: &[u128]| bits.iter().map(|bits| SessionId::from_bits(*bits)).collect();
        let sides = Sides::of(&[], &ids(&[1, 2]), &ids(&[2, 3]));
        assert_eq!(sides, Sides { whole: 0, missing: 0, unknown: 1 });
    }
}
