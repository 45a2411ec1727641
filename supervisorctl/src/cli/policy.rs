//! The options of `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What to do with policy files.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// List the policies that the daemon has in force
    List,
    /// Check policy files and run the examples in them
    Check(CheckOptions),
    /// Show what a policy decides
    Show(ShowOptions),
    /// Tell what a policy says to one request, which rule does, and what else was considered
    Explain(ExplainOptions),
    /// Run the examples in policy files and tell of each whether it holds
    Test(TestOptions),
    /// Show what becomes allowed and what becomes denied from one policy to another, in requests
    Diff(DiffOptions),
    /// Put the recorded decisions of real runs to a candidate: which verdicts change, in which
    /// sessions, and which rules are never used
    Replay(ReplayOptions),
    /// Write the smallest policy that would have let recorded, refused requests through
    Learn(LearnOptions),
    /// Ask the package clients of this host where they fetch from, for rules with `from`
    Hosts(HostsOptions),
    /// Print the JSON Schema of policy files
    Schema(SchemaOptions),
}

/// A policy to look at.
#[derive(Debug, Clone, Args)]
pub struct Subject {
    /// A policy file (a path with / or .toml in it), or the name of a policy
    #[arg(value_name = "NAME|FILE")]
    pub policy: String,
    /// Directory with the policies that are named and extended, and perhaps a floor.toml and a
    /// clients.toml [default: a name is looked up among the built-in policies, and so is what a file
    /// extends]
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

/// Options of `policy check`.
#[derive(Debug, Args)]
pub struct CheckOptions {
    /// Policy files or directories of them, checked together, so that one may extend another; files by
    /// themselves may extend built-in policies too; a floor.toml among them bounds the others in place of the built-in floor, a clients.toml (see
    /// `policy hosts`) says where package clients fetch from
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Fail if there are warnings: broad rules, rules that change nothing, unusable credentials
    #[arg(long)]
    pub deny_warnings: bool,
}

/// Options of `policy show`.
#[derive(Debug, Args)]
pub struct ShowOptions {
    /// What to show.
    #[command(flatten)]
    pub subject: Subject,
    /// As policy text, with the origin of every line
    #[arg(long)]
    pub resolved: bool,
}

/// Options of `policy explain`.
#[derive(Debug, Args)]
pub struct ExplainOptions {
    /// The policy.
    #[command(flatten)]
    pub subject: Subject,
    /// `GET https://host/path` (or http, wss, ws), `connect host:443`, `connect host:443 at 10.0.0.1`, `tcp host:22` or `dns host`
    pub request: String,
    /// Bytes of the request's body
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub body: u64,
    /// Show every rule, not only those that are about the host
    #[arg(long)]
    pub all: bool,
}

/// Options of `policy test`.
#[derive(Debug, Args)]
pub struct TestOptions {
    /// Policy files or directories of them, as for `policy check`
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Options of `policy diff`.
#[derive(Debug, Args)]
pub struct DiffOptions {
    /// The policy before: a file, or a name
    #[arg(value_name = "OLD")]
    pub old: String,
    /// The policy after: a file, or a name
    #[arg(value_name = "NEW")]
    pub new: String,
    /// Directory with the policies that OLD names or extends
    #[arg(long, value_name = "DIR")]
    pub old_directory: Option<PathBuf>,
    /// Directory with the policies that NEW names or extends
    #[arg(long, value_name = "DIR")]
    pub new_directory: Option<PathBuf>,
}

/// Options of `policy replay`.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// The candidate.
    #[command(flatten)]
    pub subject: Subject,
    /// The audit log's files, or - for standard input: JSON lines of the kinds egress and dns
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// Only decisions that were made under the policy of this name
    #[arg(long, value_name = "NAME")]
    pub under: Option<String>,
}

/// Options of `policy learn`.
#[derive(Debug, Args)]
pub struct LearnOptions {
    /// The policy that the new one extends. What it refuses is learnt.
    #[command(flatten)]
    pub subject: Subject,
    /// The audit log's files, or - for standard input: JSON lines of the kinds egress and dns
    #[arg(value_name = "LOG", required = true)]
    pub logs: Vec<PathBuf>,
    /// Name of the new policy
    #[arg(long, default_value = "learnt")]
    pub name: String,
    /// Only decisions of this session
    #[arg(long, value_name = "ID")]
    pub session: Option<String>,
    /// Only decisions of this execution
    #[arg(long, value_name = "ID")]
    pub execution: Option<String>,
}

/// Options of `policy hosts`.
#[derive(Debug, Args)]
pub struct HostsOptions {
    /// The clients to ask [default: all that are installed]
    #[arg(value_name = "CLIENT")]
    pub clients: Vec<PackageClient>,
}

/// A package client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PackageClient {
    /// Python's pip
    Pip,
    /// Node's npm
    Npm,
    /// Rust's cargo
    Cargo,
    /// Debian's apt
    Apt,
}

/// Options of `policy schema`.
#[derive(Debug, Args)]
pub struct SchemaOptions {
    /// The schema of floor.toml
    #[arg(long)]
    pub floor: bool,
}
