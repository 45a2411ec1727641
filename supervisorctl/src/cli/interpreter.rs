//! The commands on interpreters and their cells.

use clap::{ArgGroup, Args, Subcommand};
use supervisor_api::{ExecutionId, Language, SessionId};

use super::limits::LimitOptions;
use super::payload::LANGUAGES;
use crate::units;

/// What to do with interpreters.
#[derive(Debug, Subcommand)]
pub enum InterpreterCommand {
    /// Start an interpreter in a session and print its id; it keeps variables from cell to cell
    Create(Box<InterpreterCreateOptions>),
    /// List the interpreters of a session, oldest first
    List(InterpreterListOptions),
    /// Show one interpreter
    Show(InterpreterOption),
    /// List the last cells of an interpreter, oldest first
    Cells(InterpreterOption),
    /// Interrupt the cell that runs; variables stay
    Interrupt(InterpreterOption),
    /// End an interpreter; done when nothing of it runs any more
    Close(InterpreterOption),
}

/// Options of `interpreter create`.
#[derive(Debug, Args)]
pub struct InterpreterCreateOptions {
    /// Id of the session
    pub session: SessionId,
    /// Its language
    #[arg(long, value_parser = super::words::<Language>(&LANGUAGES), default_value = "python")]
    pub language: Language,
    /// Set a variable (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = super::payload::pair)]
    pub env: Vec<(String, String)>,
    /// Time without a cell after which it is ended (units s, m, h; none means seconds) [default: 30m]
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub idle_timeout: Option<u64>,
    /// Mark its execution for lists (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = super::payload::pair)]
    pub labels: Vec<(String, String)>,
    /// Limits of its execution; wall time, CPU time and output are the policy's maximum if left out.
    #[command(flatten)]
    pub limits: LimitOptions,
}

/// Options of `interpreter list`.
#[derive(Debug, Args)]
pub struct InterpreterListOptions {
    /// Id of the session
    pub session: SessionId,
}

/// An interpreter and nothing else.
#[derive(Debug, Args)]
pub struct InterpreterOption {
    /// Id of the session
    pub session: SessionId,
    /// Id of the interpreter
    pub id: ExecutionId,
}

/// Options of `cell`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("text").required(true))]
pub struct CellOptions {
    /// Id of the session
    pub session: SessionId,
    /// Run this text
    #[arg(short, long, value_name = "TEXT", group = "text")]
    pub code: Option<String>,
    /// Run the text of this file, or of standard input for -
    #[arg(value_name = "FILE", group = "text")]
    pub file: Option<String>,
    /// Language of the interpreter: the session's one that lives, or a new one
    #[arg(long, value_parser = super::words::<Language>(&LANGUAGES), default_value = "python")]
    pub language: Language,
    /// Id of the interpreter, where the session has several of the language
    #[arg(long, value_name = "ID", conflicts_with = "language")]
    pub interpreter: Option<ExecutionId>,
    /// Time that the cell may take (units ms, s, m, h, d; none means seconds) [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = units::milliseconds)]
    pub time: Option<u64>,
}
