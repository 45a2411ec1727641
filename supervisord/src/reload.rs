//! Reading configuration and policies anew, for whichever front end was asked.

use supervisor_api::{Administration, ApiError, ErrorCode, Reloaded, What};
use tokio::task::spawn_blocking;

use crate::journal;
use crate::keeping;
use crate::supervisor::{Caller, Role, Supervisor};
use crate::systemd;

impl Supervisor {
    /// Reads configuration and policies anew. Either all of it is in force afterwards, for every
    /// submission from then on, or none of it. Executions keep what they were submitted under;
    /// connections keep the role that they were accepted with.
    ///
    /// # Errors
    /// For callers who are no administrators, and when any of the files can't be used.
    pub async fn reload(&self, caller: &Caller) -> Result<Reloaded, ApiError> {
        if caller.role != Role::Admin {
            let problem = "only administrators reload configuration and policies";
            return Err(ApiError::new(ErrorCode::PermissionDenied, problem));
        }
        self.inner().audit.admit()?;
        self.read_anew(Some(caller.uid)).await
    }

    /// The same for this caller, or on SIGHUP, of which the kernel tells nobody here who has sent it.
    /// Either is recorded, and so is one that changes nothing.
    pub async fn read_anew(&self, by: Option<u32>) -> Result<Reloaded, ApiError> {
        let note = |act: &str, generation: u64| {
            let (act, object) = (act.to_owned(), Some(format!("generation {generation}")));
            let act = Administration { act, by, object };
            self.inner().audit.note(What::Administration(act).about_nobody());
        };
        let inner = self.inner().clone();
        let reloaded = spawn_blocking(move || {
            inner.settings.reload(
                |credentials| inner.credentials.replace(credentials),
                |generation| {
                    inner.roles.replace(&generation.admin_uids, &generation.admin_gids);
                    inner.admission.bound(generation.bounds);
                    inner.room.leave(generation.state_free_bytes);
                    inner.budgets.limit_uids(generation.uid_budgets.clone());
                },
            )
        });
        let in_force = self.inner().settings.current().number;
        match reloaded.await {
            Ok(Ok(generation)) => {
                journal::reloaded(&generation);
                systemd::status(&format!("serving, generation {}", generation.number));
                let (number, mode) = (generation.number, generation.mode);
                note("reload", number);
                let inner = self.inner().clone();
                tokio::spawn(async move {
                    if let Err(error) = keeping::retire(&inner).await {
                        tracing::error!(%error, "can't retire old records");
                    }
                });
                Ok(Reloaded { generation: number, mode, policies: generation.policy_names() })
            }
            Ok(Err(error)) => {
                let words = error.in_full();
                journal::not_reloaded(in_force, &words);
                note("reload_failed", in_force);
                systemd::status(&format!(
                    "serving, generation {in_force}; a reload failed: {}",
                    words.lines().next().unwrap_or_default()
                ));
                let problem = format!("generation {in_force} stays in force: {words}");
                Err(ApiError::new(ErrorCode::Conflict, problem)
                    .with_hint("correct the file and reload again"))
            }
            Err(_) => Err(ApiError::new(ErrorCode::Unavailable, "the daemon is ending")),
        }
    }
}
