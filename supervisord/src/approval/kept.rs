//! The questions on disk: one row each, which is what callers see of it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use supervisor_api::{Approval, ApprovalId};
use tokio::task::spawn_blocking;

const DATABASE: &str = "approvals.db";

/// The form of the table (`PRAGMA user_version`).
const VERSION: i32 = 1;

const SCHEMA: &str =
    "CREATE TABLE approval (id TEXT PRIMARY KEY, record TEXT NOT NULL) STRICT, WITHOUT ROWID";

type Cause = Box<dyn std::error::Error + Send + Sync>;

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
    /// Opens it and reads all of it.
    pub fn open(state: &Path) -> Result<(Self, Vec<Approval>), KeptError> {
        let failed = |cause| KeptError { path: state.to_owned(), cause };
        // SQLite is told to follow no symbolic link, so those on the way here are resolved now.
        let directory = state.canonicalize().map_err(|error| failed(error.into()))?;
        let path = directory.join(DATABASE);
        let connection = connect(&path).map_err(|error| failed(error.into()))?;
        let approvals = read(&connection).map_err(failed)?;
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

    /// Removes a question.
    pub async fn remove(&mut self, id: ApprovalId) -> Result<(), KeptError> {
        let text = "DELETE FROM approval WHERE id = ?1";
        self.run(move |connection| connection.prepare_cached(text)?.execute([id.to_string()])).await
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

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF; \
         PRAGMA cell_size_check = ON;",
    )?;
    let version: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        connection
            .execute_batch(&format!("BEGIN; {SCHEMA}; PRAGMA user_version = {VERSION}; COMMIT;"))?;
    }
    Ok(connection)
}

fn read(connection: &Connection) -> Result<Vec<Approval>, Cause> {
    let text: Option<String> = connection.query_row(
        "SELECT max(sql) FROM sqlite_schema WHERE name = 'approval'",
        [],
        |row| row.get(0),
    )?;
    if text.as_deref() != Some(SCHEMA) {
        return Err(format!("{DATABASE} has another form than this version knows").into());
    }
    let mut select = connection.prepare("SELECT record FROM approval")?;
    let rows = select.query_map([], |row| row.get::<_, String>(0))?;
    rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
}
