//! The command line: commands, options, help. Only shapes and parsers; what they do is elsewhere.

mod audit;
mod changes;
mod e2b;
mod egress;
mod image;
mod interpreter;
mod limits;
mod mcp;
mod pausing;
mod payload;
mod policy;
mod receipt;
mod report;
mod session;
mod stream;

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use serde::de::DeserializeOwned;
use supervisor_api::{ExecutionId, State};

pub use self::audit::{AuditCommand, KeyOptions, QueryOptions, VerifyOptions};
pub use self::changes::ChangesOptions;
pub use self::e2b::E2bOptions;
pub use self::egress::{
    ApprovalsCommand, BudgetsCommand, BudgetsOptions, CredentialName, CredentialsCommand,
};
pub use self::image::{ImageCommand, ImageImportOptions, OneImage, SomeImages};
pub use self::interpreter::{CellOptions, InterpreterCommand};
pub use self::mcp::McpOptions;
pub use self::pausing::{PauseOptions, Which, WhichOption};
pub use self::payload::{FileToSend, PayloadOptions};
pub use self::policy::{
    CheckOptions, DiffOptions, ExplainOptions, HostsOptions, LearnOptions, PackageClient,
    PolicyCommand, ReplayOptions, SchemaOptions, ShowOptions, Subject, TestOptions,
};
pub use self::receipt::{ReceiptCommand, VerifyReceipt};
pub use self::report::ReportOptions;
pub use self::session::{
    CreateOptions, FileGetOptions, FileWatchOptions, FilesCommand, SessionCommand,
};
pub use self::stream::{AttachOptions, ShellOptions};
use crate::{exit, units};

/// Executions a page may hold; the interface's own bound.
const PAGE_MAX: i64 = 200;

/// The states as the interface spells them, in the order of an execution's life.
const STATES: [&str; 6] = ["queued", "launching", "running", "paused", "collecting", "finished"];

/// Run untrusted programs in sandboxes of supervisord, and look after them
#[derive(Debug, Parser)]
#[command(name = "supervisorctl", version, after_help = exit::TABLE, max_term_width = 100)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of every command")]
pub struct GlobalOptions {
    /// Socket of supervisord
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        env = "SUPERVISORD_SOCKET",
        default_value = "/run/supervisord/api.sock"
    )]
    pub socket: PathBuf,
    /// Print JSON: one object, or one object a line for streams; errors as {"error": ...}
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only what was asked for: no summary, no notices, ids and paths in place of tables
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a program in a fresh sandbox, show its output live and exit as it exits
    Run(RunOptions),
    /// Run a login shell with a terminal in a fresh sandbox
    Shell(ShellOptions),
    /// Show the output of an execution that runs, pass our standard input on to it, and exit as it
    /// exits; Ctrl-C, or Ctrl-P Ctrl-Q in a terminal, leaves it running
    Attach(AttachOptions),
    /// Submit a program and print the id of its execution without waiting for it
    Submit(SubmitOptions),
    /// Show one execution
    Status(StatusOptions),
    /// List executions, newest first
    List(ListOptions),
    /// Print the output of an execution
    Output(OutputOptions),
    /// End an execution; done when nothing of it runs any more
    Cancel(IdOption),
    /// Remove a finished execution with all that is kept of it: record, output and artifacts
    Remove(IdOption),
    /// Freeze an execution, or all that run in a session, and stop its time
    Pause(PauseOptions),
    /// Let a paused execution go on, or all that are paused in a session
    Resume(WhichOption),
    /// List or fetch the files that an execution left
    #[command(subcommand)]
    Artifacts(ArtifactsCommand),
    /// Make, look at, extend and close sessions: workspaces that outlive their executions
    #[command(subcommand)]
    Session(SessionCommand),
    /// Read and write the files of a session's workspace
    #[command(subcommand)]
    Files(FilesCommand),
    /// Start, look at, interrupt and close interpreters, which keep variables from cell to cell
    #[command(subcommand)]
    Interpreter(InterpreterCommand),
    /// Run a cell in an interpreter of a session, show what it wrote and what it has to show
    Cell(CellOptions),
    /// Be a server of the Model Context Protocol on standard input and output, for agents
    Mcp(McpOptions),
    /// Be what the clients of E2B know as a service, on a port of loopback
    E2b(E2bOptions),
    /// Show how executions, sessions and requests that wait for a person stand, and every change to
    /// them as it comes
    Events,
    /// Show what runs and what it uses, live
    Top(TopOptions),
    /// Show which controls this host can enforce, and how to get the others
    Doctor(DoctorOptions),
    /// Have the daemon read its configuration and policies anew, all or nothing (administrators only)
    Reload,
    /// Say what was refused or cut in an execution, by which line of which policy, and what would have
    /// allowed it
    Why(IdOption),
    /// Show what an execution that was submitted with --changes changed in its workspace
    Changes(ChangesOptions),
    /// Write a page about an execution, or those of a session, that any browser shows: one file, no script
    Report(ReportOptions),
    /// Print or check the signed statement about an execution
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Show what is spent and left of budgets, or reset one
    Budgets(BudgetsOptions),
    /// List and answer requests that wait for a person
    #[command(subcommand)]
    Approvals(ApprovalsCommand),
    /// Search the audit log, or check that nobody touched it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List, rotate or revoke the credentials that policies bind (administrators only)
    #[command(subcommand)]
    Credentials(CredentialsCommand),
    /// Check, explain, compare or learn policy files, without the daemon, or list what it has
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Import, list, compare and remove images, which policies name; on the host itself, without the daemon
    #[command(subcommand)]
    Image(ImageCommand),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command
    Man {
        /// Directory for one file a command (made if missing); without it the page of
        /// supervisorctl goes to standard output
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// Options of `run`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = exit::RUN_TABLE,
    override_usage = "supervisorctl run [OPTIONS] [--] PROGRAM [ARGUMENTS]...\n       \
                      supervisorctl run [OPTIONS] --language LANGUAGE FILE|- [ARGUMENTS]...",
)]
pub struct RunOptions {
    /// Directory for the artifacts [default: ./artifacts-ID, made if there is an artifact]
    #[arg(long, value_name = "DIR")]
    pub artifacts_to: Option<PathBuf>,
    /// Overwrite existing files with artifacts
    #[arg(long)]
    pub force: bool,
    /// Pass the payload's bytes to a terminal unchanged, escape sequences included
    #[arg(long)]
    pub raw: bool,
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
    /// What to run; last, because the heading of the limits holds for all that follows.
    #[command(flatten)]
    pub payload: PayloadOptions,
}

/// Options of `submit`.
#[derive(Debug, Args)]
#[command(override_usage = "supervisorctl submit [OPTIONS] [--] PROGRAM [ARGUMENTS]...\n       \
                      supervisorctl submit [OPTIONS] --language LANGUAGE FILE|- [ARGUMENTS]...")]
pub struct SubmitOptions {
    /// What to run.
    #[command(flatten)]
    pub payload: PayloadOptions,
}

/// A private supervisor for one call.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct StandaloneOptions {
    /// Start a private supervisor for this one call (SUPERVISORD_BIN, else the supervisord beside
    /// this program); --socket is not used, and a policy for packages is told what `policy hosts` says
    #[arg(long)]
    pub standalone: bool,
    /// Have it refuse what this host can't enforce; without this it takes the nearest weaker control
    /// and says so
    #[arg(long, requires = "standalone")]
    pub strict: bool,
    /// Show what the private supervisor writes to its standard error
    #[arg(long, requires = "standalone")]
    pub verbose: bool,
}

/// Options of `status`.
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Id of the execution
    pub id: ExecutionId,
    /// Wait for the end, for so long at the most (units s, m, h; none means seconds)
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub wait: Option<u64>,
    /// Show what it used over time instead
    #[arg(long)]
    pub samples: bool,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListOptions {
    /// Executions on the page, 1 to 200
    #[arg(long, value_name = "NUMBER", default_value_t = 50,
          value_parser = clap::value_parser!(u16).range(1..=PAGE_MAX))]
    pub limit: u16,
    /// Last id of the page before
    #[arg(long, value_name = "ID")]
    pub after: Option<ExecutionId>,
    /// Only executions in this state
    #[arg(long, value_parser = words::<State>(&STATES))]
    pub state: Option<State>,
    /// Everybody's executions (administrators only)
    #[arg(long)]
    pub all: bool,
}

/// Options of `output`.
#[derive(Debug, Args)]
pub struct OutputOptions {
    /// Id of the execution
    pub id: ExecutionId,
    /// Go on until the execution has finished; goes on after a restart of the daemon, too
    #[arg(short, long)]
    pub follow: bool,
    /// Which stream
    #[arg(long, default_value = "both")]
    pub stream: Selection,
    /// Bytes to pass over, counted over the streams that are printed
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub offset: u64,
    /// Pass the payload's bytes to a terminal unchanged, escape sequences included
    #[arg(long)]
    pub raw: bool,
}

/// An execution and nothing else.
#[derive(Debug, Args)]
pub struct IdOption {
    /// Id of the execution
    pub id: ExecutionId,
}

/// What to do with artifacts.
#[derive(Debug, Subcommand)]
pub enum ArtifactsCommand {
    /// List the artifacts of a finished execution
    List(IdOption),
    /// Fetch artifacts, all of them if none is named, and check their digests
    Get(GetOptions),
}

/// Options of `artifacts get`.
#[derive(Debug, Args)]
pub struct GetOptions {
    /// Id of the execution
    pub id: ExecutionId,
    /// Paths as `artifacts list` shows them
    #[arg(value_name = "PATH")]
    pub paths: Vec<String>,
    /// Directory for them [default: ./artifacts-ID, which must not exist yet]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long)]
    pub force: bool,
}

/// Options of `top`.
#[derive(Debug, Args)]
pub struct TopOptions {
    /// Show it once and end; without a terminal that is all there is, except with --json
    #[arg(long)]
    pub once: bool,
    /// Time between two looks (units ms, s, m; none means seconds)
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = units::milliseconds)]
    pub interval: u64,
}

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorOptions {
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
}

/// Which output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// Both, in the order in which they were written.
    Both,
}

impl Selection {
    /// The name in a query.
    pub fn name(self) -> &'static str {
        match self {
            Selection::Stdout => "stdout",
            Selection::Stderr => "stderr",
            Selection::Both => "both",
        }
    }
}

impl ValueEnum for Selection {
    fn value_variants<'a>() -> &'a [Self] {
        &[Selection::Stdout, Selection::Stderr, Selection::Both]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

/// A parser for the words that the interface has for a type.
fn words<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words)
        .try_map(|word| serde_json::from_value(serde_json::Value::String(word)))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use supervisor_api::{Language, Limit};

    use super::*;

    fn run(line: &str) -> RunOptions {
        let words = ["supervisorctl", "run"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).expect("valid").command {
            Command::Run(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_description_of_the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_program_belongs_to_the_program() {
        let options = run("--time 30s python3 -c pass --json --time");
        assert_eq!(options.payload.argv, ["python3", "-c", "pass", "--json", "--time"]);
        let options = run("--stdin -- -odd --quiet");
        assert_eq!(options.payload.argv, ["-odd", "--quiet"]);
        assert!(options.payload.stdin);
    }

    #[test]
    fn a_mistyped_option_is_not_taken_for_a_program() {
        assert!(Cli::try_parse_from(["supervisorctl", "run", "--tiem", "3s", "ls"]).is_err());
        assert!(Cli::try_parse_from(["supervisorctl", "run", "--verbose", "ls"]).is_err());
        assert!(Cli::try_parse_from(["supervisorctl", "run"]).is_err());
    }

    #[test]
    fn a_long_line_as_a_reader_would_type_it_is_understood() {
        let options = run("--standalone --language python --file data.csv:in/data.csv \
            --artifact out/*.png --artifact report.csv --artifacts-to results --memory 512M \
            --cpus 0.5 --time 1m --env A=b --label run=nightly analysis.py --fast"
            .trim());
        assert_eq!(options.payload.language, Some(Language::Python));
        assert_eq!(options.payload.argv, ["analysis.py", "--fast"]);
        assert_eq!(options.payload.artifacts, ["out/*.png", "report.csv"]);
        let limits = options.payload.limits.request();
        assert_eq!(limits.get(Limit::MemoryMax), Some(512 << 20));
        assert_eq!(limits.get(Limit::CpuMax), Some(50));
        assert_eq!(limits.get(Limit::WallTime), Some(60_000));
    }

    /// Splits a line as a shell does, as far as single quotes.
    fn split(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for (part, quoted) in line.split('\'').zip([false, true].into_iter().cycle()) {
            let mut pieces =
                if quoted { vec![part] } else { part.split(' ').collect() }.into_iter();
            words.last_mut().expect("a word").push_str(pieces.next().expect("a piece"));
            words.extend(pieces.map(str::to_owned));
        }
        words.retain(|word| !word.is_empty());
        words
    }

    #[test]
    fn the_examples_in_the_help_text_are_understood() {
        let lines =
            exit::RUN_TABLE.lines().filter_map(|line| line.split_once("supervisorctl run "));
        let mut count = 0;
        for (_, arguments) in lines {
            let line =
                ["supervisorctl", "run"].map(str::to_owned).into_iter().chain(split(arguments));
            Cli::try_parse_from(line).expect(arguments);
            count += 1;
        }
        assert_eq!(count, 4);
    }

    #[test]
    fn every_limit_of_the_interface_has_an_option() {
        let options = run("--memory 1 --pids 2 --cpus 1 --cpu-time 1 --time 1 --open-files 1 \
            --disk 1 --inodes 1 --tmp 1 --tmp-inodes 1 --output-limit 1 --artifact-limit 1 \
            --artifact-count 1 --io-read-bps 0 --io-write-bps 0 --io-read-iops 0 \
            --io-write-iops 0 true");
        for limit in Limit::ALL {
            assert!(options.payload.limits.request().get(*limit).is_some(), "{limit}");
        }
    }

    #[test]
    fn every_state_can_be_asked_for() {
        for state in STATES {
            let line = ["supervisorctl", "list", "--state", state];
            assert!(Cli::try_parse_from(line).is_ok(), "{state}");
        }
    }
}
