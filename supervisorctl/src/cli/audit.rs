//! The options of `audit`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use supervisor_api::{AuditFilter, AuditTime, ExecutionId, PublicKey, SessionId, Verdict, kinds};

use crate::units;

/// The verdicts as the interface spells them.
const VERDICTS: [&str; 3] = ["allow", "deny", "ask"];

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Find every record that was changed, dropped, reordered, duplicated or cut off; without the daemon
    Verify(VerifyOptions),
    /// Show records, oldest first
    Query(Box<QueryOptions>),
    /// Print the public key that the log's checkpoints are checked with
    Key(KeyOptions),
}

/// Options of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyOptions {
    /// Files of one log, in any order
    #[arg(value_name = "FILE", conflicts_with = "state")]
    pub files: Vec<PathBuf>,
    /// State directory of the daemon [default: /var/lib/supervisord, where no file is named]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Public key, as `audit key` prints it; several where it was changed [default: the key.pub beside
    /// the log, which whoever can change the log can change]
    #[arg(long, value_name = "KEY")]
    pub key: Vec<PublicKey>,
}

/// Options of `audit query`.
#[derive(Debug, Args)]
pub struct QueryOptions {
    /// Search these files in place of the daemon's log
    #[arg(value_name = "FILE", conflicts_with = "state")]
    pub files: Vec<PathBuf>,
    /// Search the log in this state directory in place of asking the daemon
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Only about this session
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,
    /// Only about this execution
    #[arg(long, value_name = "ID")]
    pub execution: Option<ExecutionId>,
    /// Only about what this uid owns
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// Only of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(kinds()))]
    pub kind: Option<String>,
    /// Only with this verdict
    #[arg(long, value_parser = super::words::<Verdict>(&VERDICTS))]
    pub verdict: Option<Verdict>,
    /// Only by a rule whose text holds this, such as default.toml:12
    #[arg(long, value_name = "TEXT")]
    pub rule: Option<String>,
    /// Only about this host
    #[arg(long)]
    pub host: Option<String>,
    /// Only about this credential
    #[arg(long, value_name = "NAME")]
    pub credential: Option<String>,
    /// Not before this time: RFC 3339, or its beginning in UTC, or so long ago (2026-01-31, 90m)
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    pub since: Option<AuditTime>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = units::moment)]
    pub until: Option<AuditTime>,
    /// Records at the most
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub limit: usize,
    /// Only records after this number
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub after: u64,
}

/// Options of `audit key`.
#[derive(Debug, Args)]
pub struct KeyOptions {
    /// Read it from this state directory in place of asking the daemon
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

impl QueryOptions {
    /// What a record has to be.
    pub fn filter(&self) -> AuditFilter {
        AuditFilter {
            session: self.session,
            execution: self.execution,
            uid: self.uid,
            kind: self.kind.clone(),
            rule: self.rule.clone(),
            host: self.host.clone(),
            credential: self.credential.clone(),
            verdict: self.verdict,
            since: self.since.clone(),
            until: self.until.clone(),
        }
    }
}
