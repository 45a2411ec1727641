//! The questions on disk: one row each, which is what callers see of it.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use supervisor_api::{Approval, ApprovalId, ExecutionId};
use tokio::task::spawn_blocking;

use crate::table::{Cause, Table};

const TABLE: Table = Table {
    file: "approvals.db",
    name: "approval",
    schema: "CREATE TABLE approval (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID",
};

/// The questions can't be opened, or one of them not kept.
#[derive(Debug)]
pub struct KeptError {
    path: PathBuf,
    cause: Cause,
}

impl fmt::Display for KeptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't use the approvals in {}", self.path.display())
    }
}

impl KeptError {
    /// Whether there is no room on the disk.
    pub fn is_full(&self) -> bool {
        let cause = self.cause.downcast_ref::<rusqlite::Error>();
        cause.and_then(rusqlite::Error::sqlite_error_code) == Some(rusqlite::ErrorCode::DiskFull)
    }
}

impl std::error::Error for KeptError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

/// The database.
pub struct Kept {
    connection: Arc<Mutex<Connection>>,
    path: PathBuf,
}

impl Kept {
    /// Opens it and reads what is there, up to so many questions of one execution and of all. More of them
    /// nobody sees: they are removed, first those that wait, and whoever asks again is asked again.
    pub fn open(
        state: &Path,
        of_one: usize,
        of_all: usize,
    ) -> Result<(Self, Vec<Approval>), KeptError> {
        let failed = |cause| KeptError { path: state.to_owned(), cause };
        let connection = TABLE.open(state).map_err(failed)?;
        let approvals = read(&connection, of_one, of_all).map_err(failed)?;
        let path = state.join(TABLE.file);
        Ok((Self { connection: Arc::new(Mutex::new(connection)), path }, approvals))
    }

    /// Has a question on disk as it stands.
    pub async fn put(&mut self, approval: &Approval) -> Result<(), KeptError> {
        let id = approval.id.to_string();
        let record = serde_json::to_string(approval).map_err(|error| self.failed(error.into()))?;
        self.run(move |connection| {
            let text = "INSERT OR REPLACE INTO approval VALUES (?1, ?2)";
            connection.prepare_cached(text)?.execute([id, record])
        })
        .await
    }

    /// Removes questions, all at once or none.
    pub async fn remove(&mut self, ids: &[ApprovalId]) -> Result<(), KeptError> {
        let ids: Vec<String> = ids.iter().map(ApprovalId::to_string).collect();
        self.run(move |connection| {
            let transaction = connection.unchecked_transaction()?; // the lock keeps others out
            let mut remove = transaction.prepare_cached("DELETE FROM approval WHERE id = ?1")?;
            let removed = ids.iter().map(|id| remove.execute([id])).sum::<Result<_, _>>()?;
            drop(remove);
            transaction.commit()?;
            Ok(removed)
        })
        .await
    }

    #[cfg(test)]
    pub fn connection(&self) -> Arc<Mutex<Connection>> {
        self.connection.clone()
    }

    async fn run(
        &self,
        work: impl FnOnce(&Connection) -> Result<usize, rusqlite::Error> + Send + 'static,
    ) -> Result<(), KeptError> {
        let connection = self.connection.clone();
        let done = spawn_blocking(move || {
            work(&connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        match done.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.failed(error.into())),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn failed(&self, cause: Cause) -> KeptError {
        KeptError { path: self.path.clone(), cause }
    }
}

fn read(connection: &Connection, of_one: usize, of_all: usize) -> Result<Vec<Approval>, Cause> {
    let (mut approvals, mut more) = (Vec::new(), false);
    let mut of: HashMap<ExecutionId, usize> = HashMap::new();
    // What somebody has answered comes first, so that no denial is forgotten for what was left to wait.
    for order in ["IS NOT", "IS"] {
        let text =
            format!("SELECT record FROM approval WHERE record ->> '$.state' {order} 'waiting'");
        let mut select = connection.prepare(&text)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let approval: Approval = serde_json::from_str(row.get_ref(0)?.as_str()?)?;
            let own = of.entry(approval.execution).or_default();
            if *own >= of_one || approvals.len() >= of_all {
                more = true;
                continue;
            }
            *own += 1;
            approvals.push(approval);
        }
    }
    if more {
        let ids: Vec<String> = approvals.iter().map(|approval| approval.id.to_string()).collect();
        let text = "DELETE FROM approval WHERE id NOT IN (SELECT value FROM json_each(?1))";
        let removed = connection.execute(text, [serde_json::to_string(&ids)?])?;
        tracing::warn!(removed, "there were more questions than are kept");
    }
    Ok(approvals)
}
