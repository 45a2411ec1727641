//! The database behind the budgets, and the thread that writes it: everything that waits goes into one
//! transaction, and is told to the book when that is on disk.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, named_params};
use tokio::sync::oneshot;

use super::account::{Account, Meter};
use super::book::Book;
use crate::table::{Cause, Table};

/// `host` is empty for a sum, whose grant is `upto`; a host of its own row is one that was reached.
const TABLE: Table = Table {
    file: "budgets.db",
    name: "granted",
    schema: "CREATE TABLE granted (account TEXT NOT NULL, meter TEXT NOT NULL, \
    host TEXT NOT NULL, upto INTEGER NOT NULL, most INTEGER NOT NULL, since INTEGER NOT NULL, \
    period INTEGER, owner INTEGER, PRIMARY KEY (account, meter, host)) STRICT, WITHOUT ROWID",
};

const INSERT: &str = "INSERT INTO granted VALUES \
    (:account, :meter, :host, :upto, :most, :since, :period, :owner) \
    ON CONFLICT (account, meter, host) DO UPDATE SET upto = :upto, most = :most, since = :since, \
    period = :period, owner = :owner";

/// Words that are taken into one transaction at the most, besides those that could not be written before.
const BATCH: usize = 1024;

/// How long what could not be written waits for the next attempt: a full disk is neither asked all the time
/// nor seen to have room much later than it has.
const AGAIN: Duration = Duration::from_millis(500);

/// Words that wait in memory while nothing can be written. No more grants are asked then, so that these are
/// accounts to forget, a hundred bytes each, of more sessions than there can be.
const MOST_UNWRITTEN: usize = 65_536;

/// Something that an account may spend from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Whose.
    pub account: Account,
    /// What is counted.
    pub meter: Meter,
    /// Up to what sum, where it is one.
    pub upto: u64,
    /// The host, where it is one.
    pub host: Option<String>,
    /// The beginning of the window that it is for.
    pub since: u64,
    /// Who may look at it.
    pub owner: Option<u32>,
    /// Length of the window.
    pub window: Option<u64>,
    /// The limit at the time.
    pub limit: u64,
    /// The era of the book in which its account began; it isn't kept, as a start begins at none.
    pub era: u64,
}

/// What the thread is told.
#[derive(Debug)]
pub enum Word {
    /// Grant this.
    Grant(Grant),
    /// Forget all that was granted to an account.
    Forget(Account),
    /// Write these in place of what was granted, and end.
    Close(Vec<Grant>, oneshot::Sender<()>),
}

/// The budgets can't be opened.
#[derive(Debug)]
pub struct BudgetError {
    path: PathBuf,
    cause: Cause,
}

/// What the thread owns.
pub struct Keeper {
    connection: Connection,
    /// What it heard and has not written, in its order.
    unwritten: Vec<Word>,
    /// When to try again, if the last attempt failed.
    again: Option<Instant>,
}

impl BudgetError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self { path: path.to_owned(), cause: source.into() }
    }
}

impl fmt::Display for BudgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't open the budgets in {}", self.path.display())
    }
}

impl std::error::Error for BudgetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.cause.as_ref())
    }
}

impl Keeper {
    /// Opens the database and reads all of it, as it counts now.
    pub fn open(state: &Path, now: u64) -> Result<(Self, Book), BudgetError> {
        let failed = |cause| BudgetError { path: state.to_owned(), cause };
        let connection = TABLE.open(state).map_err(failed)?;
        let book = read(&connection, now).map_err(failed)?;
        Ok((Self { connection, unwritten: Vec::new(), again: None }, book))
    }

    /// Writes what it hears until it is told to end, again and again where that fails. `tell` changes the
    /// book.
    pub fn run(mut self, words: &Receiver<Word>, tell: impl Fn(Box<dyn FnOnce(&mut Book)>)) {
        while let Some(heard) = self.hear(words) {
            let (mut closing, mut lost) = (None, 0);
            for word in heard {
                match word {
                    Word::Close(spent, reply) => closing = Some((spent, reply)),
                    Word::Forget(_) if self.unwritten.len() >= MOST_UNWRITTEN => lost += 1,
                    word => self.unwritten.push(word),
                }
            }
            if lost > 0 {
                tracing::error!(
                    lost,
                    "accounts are not forgotten: after a restart what they were granted counts as spent"
                );
            }
            if let Some((spent, reply)) = closing {
                let written = self.write(&spent);
                if let Err(error) = &written {
                    tracing::error!(%error, "can't keep the budgets");
                }
                if written.is_err() || reply.send(()).is_err() {
                    tracing::debug!("nobody waits for the budgets to close");
                }
                return;
            }
            if self.again.is_none_or(|again| again <= Instant::now()) {
                self.write_and_tell(&tell);
            }
        }
    }

    /// What comes next, or nothing where it is time to try again; none when nobody is left.
    fn hear(&self, words: &Receiver<Word>) -> Option<Vec<Word>> {
        let first = match self.again {
            None => words.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(again) => words.recv_timeout(again.saturating_duration_since(Instant::now())),
        };
        match first {
            Ok(first) => Some([first].into_iter().chain(words.try_iter().take(BATCH)).collect()),
            Err(RecvTimeoutError::Timeout) => Some(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn write_and_tell(&mut self, tell: &impl Fn(Box<dyn FnOnce(&mut Book)>)) {
        let failed_before = self.again.take().is_some();
        if let Err(error) = self.write(&[]) {
            self.again = Some(Instant::now() + AGAIN);
            if !failed_before {
                tracing::error!(%error, "can't keep the budgets; it is tried again");
                tell(Box::new(Book::unkept));
            }
            return;
        }
        if failed_before {
            tracing::info!("the budgets are kept again");
        }
        let written = std::mem::take(&mut self.unwritten);
        tell(Box::new(move |book| {
            book.kept();
            for word in &written {
                if let Word::Grant(grant) = word {
                    book.granted(grant);
                }
            }
        }));
    }

    /// Writes what is not written yet, and after it what was spent.
    fn write(&mut self, spent: &[Grant]) -> Result<(), rusqlite::Error> {
        let transaction = self.connection.transaction()?;
        for word in &self.unwritten {
            match word {
                Word::Grant(grant) => insert(&transaction, grant)?,
                Word::Forget(account) => {
                    transaction
                        .prepare_cached("DELETE FROM granted WHERE account = ?1")?
                        .execute([account.to_string()])?;
                }
                Word::Close(..) => {} // it is never among these
            }
        }
        spent.iter().try_for_each(|grant| insert(&transaction, grant))?;
        transaction.commit()
    }
}

fn insert(connection: &Connection, grant: &Grant) -> Result<(), rusqlite::Error> {
    let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    connection.prepare_cached(INSERT)?.execute(named_params! {
        ":account": grant.account.to_string(),
        ":meter": grant.meter.name(),
        ":host": grant.host.as_deref().unwrap_or_default(),
        ":upto": number(grant.upto),
        ":most": number(grant.limit),
        ":since": number(grant.since),
        ":period": grant.window.map(number),
        ":owner": grant.owner,
    })?;
    Ok(())
}

fn read(connection: &Connection, now: u64) -> Result<Book, Cause> {
    let mut book = Book::default();
    let mut select = connection.prepare("SELECT * FROM granted")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (account, meter, host): (String, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let damaged = |()| format!("{} is damaged: {account}", TABLE.file);
        let number =
            |column| row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or(0));
        let (upto, limit, since) = (number(3)?, number(4)?, number(5)?);
        let window = row.get::<_, Option<i64>>(6)?.and_then(|value| u64::try_from(value).ok());
        let grant = Grant {
            account: account.parse().map_err(damaged)?,
            meter: meter.parse().map_err(damaged)?,
            upto,
            host: Some(host).filter(|host| !host.is_empty()),
            since,
            owner: row.get(7)?,
            window,
            limit,
            era: 0,
        };
        book.restore(grant, now);
    }
    Ok(book)
}
