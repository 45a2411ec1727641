//! Options on what goes out: budgets, credentials, and requests that wait for a person.

use clap::{Args, Subcommand};
use supervisor_api::ApprovalId;

/// How often an approved request may be made; the interface's own bound.
const APPROVALS_MAX: i64 = 1000;

/// Options of `budgets`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BudgetsOptions {
    /// Everybody's, and those of credentials (administrators only)
    #[arg(long)]
    pub all: bool,
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<BudgetsCommand>,
}

/// What to do with budgets.
#[derive(Debug, Subcommand)]
pub enum BudgetsCommand {
    /// Let one begin anew, before its time (administrators only)
    Reset {
        /// Account as `budgets --all` shows it, such as uid:1000
        account: String,
    },
}

/// What to do with requests that wait for a person.
#[derive(Debug, Subcommand)]
pub enum ApprovalsCommand {
    /// List them, and what was answered, of executions that have not finished
    List(FollowOption),
    /// Show one, with the exact request
    Show {
        /// Id of the question
        id: ApprovalId,
    },
    /// Let the request be made (administrators and operators)
    Approve {
        /// Id of the question
        id: ApprovalId,
        /// How often the same request may be made
        #[arg(long, value_name = "NUMBER", default_value_t = 1,
              value_parser = clap::value_parser!(u32).range(1..=APPROVALS_MAX))]
        times: u32,
    },
    /// Refuse the request, or take back an approval that is not spent (administrators and operators)
    Deny {
        /// Id of the question
        id: ApprovalId,
    },
}

/// Options of `approvals list`.
#[derive(Debug, Args)]
pub struct FollowOption {
    /// Go on with every change, until interrupted
    #[arg(short, long)]
    pub follow: bool,
}

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialsCommand {
    /// List all credentials: names, kinds and states, never values
    List,
    /// Read the value of one anew, also if it was revoked; requests use it from then on
    Rotate(CredentialName),
    /// Refuse all requests that need it, from the next one on, until it is rotated
    Revoke(CredentialName),
}

/// A credential.
#[derive(Debug, Args)]
pub struct CredentialName {
    /// Name of the credential
    pub name: String,
}
