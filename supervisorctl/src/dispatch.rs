//! From the arguments to the command that does it, and from what came of it to the exit status.

use std::io::{self, Write as _};

use clap::{CommandFactory, Parser};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::attach;
use crate::cli::{
    ApprovalsCommand, ArtifactsCommand, AuditCommand, Cli, Command, CredentialsCommand,
    ReceiptCommand,
};
use crate::client::Client;
use crate::failure::Failure;
use crate::{
    approvals, artifacts, audit, budgets, changes, console, credentials, doctor, e2b, events,
    executions, exit, files, generate, image, interpreters, mcp, output, page, pausing, policy,
    receipt, reload, run, sessions, top, why,
};

/// Does what the arguments of this process say; tells its exit status.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let doing = "cannot start the runtime".to_owned();
            return say(&Failure::Local { doing, source }, &cli);
        }
    };
    let result = runtime.block_on(execute(&cli));
    // A write to a terminal or pipe that nobody empties must not keep this process.
    runtime.shutdown_background();
    result.unwrap_or_else(|failure| say(&failure, &cli))
}

async fn execute(cli: &Cli) -> Result<u8, Failure> {
    // Whoever started us may ignore SIGCHLD, and then nobody's end can be waited for (wait(2), ECHILD).
    // Taken once, it is taken for as long as this process lives.
    drop(signal(SignalKind::child()).map_err(Failure::local("cannot take signals"))?);
    let global = &cli.global;
    let client = Client::new(global.socket.clone());
    let done = match &cli.command {
        Command::Run(options) => return run::run(options, global).await,
        Command::Shell(options) => return attach::shell(options, global).await,
        Command::Attach(options) => return attach::attach(&client, options, global).await,
        Command::Cell(options) => return interpreters::cell(&client, options, global).await,
        Command::Doctor(options) => return doctor::doctor(options, global).await,
        Command::Artifacts(ArtifactsCommand::Get(options)) => {
            return artifacts::get(&client, options, global).await;
        }
        Command::Policy(command) => return policy::policy(&client, command, global).await,
        Command::Receipt(ReceiptCommand::Verify(options)) => {
            return receipt::verify(options, global);
        }
        Command::Receipt(ReceiptCommand::Get { id }) => receipt::get(&client, *id).await,
        Command::Audit(AuditCommand::Verify(options)) => return audit::verify(options, global),
        Command::Audit(AuditCommand::Query(options)) => {
            audit::query(&client, options, global).await
        }
        Command::Audit(AuditCommand::Key(options)) => audit::key(&client, options, global).await,
        Command::Budgets(options) => budgets::budgets(&client, options, global).await,
        Command::Approvals(ApprovalsCommand::List(options)) => {
            approvals::list(&client, options.follow, global).await
        }
        Command::Approvals(ApprovalsCommand::Show { id }) => {
            approvals::show(&client, *id, global).await
        }
        Command::Approvals(ApprovalsCommand::Approve { id, times }) => {
            approvals::answer(&client, *id, Some(*times), global).await
        }
        Command::Approvals(ApprovalsCommand::Deny { id }) => {
            approvals::answer(&client, *id, None, global).await
        }
        Command::Mcp(options) => mcp::mcp(options, global).await,
        Command::E2b(options) => e2b::e2b(options, global).await,
        Command::Report(options) => page::report(&client, options, global).await,
        Command::Events => events::events(&client, global).await,
        Command::Why(options) => why::why(&client, options.id, global).await,
        Command::Changes(options) => changes::changes(&client, options, global).await,
        Command::Submit(options) => executions::submit(&client, options, global).await,
        Command::Status(options) => executions::status(&client, options, global).await,
        Command::List(options) => executions::list(&client, options, global).await,
        Command::Output(options) => output::output(&client, options, global).await,
        Command::Cancel(options) => executions::cancel(&client, options, global).await,
        Command::Remove(options) => executions::remove(&client, options, global).await,
        Command::Pause(options) => pausing::pause(&client, options, global).await,
        Command::Resume(options) => pausing::resume(&client, options, global).await,
        Command::Artifacts(ArtifactsCommand::List(options)) => {
            artifacts::list(&client, options, global).await
        }
        Command::Top(options) => top::top(&client, options, global).await,
        Command::Reload => reload::reload(&client, global).await,
        Command::Session(command) => sessions::session(&client, command, global).await,
        Command::Interpreter(command) => interpreters::interpreter(&client, command, global).await,
        Command::Files(command) => files::files(&client, command, global).await,
        Command::Credentials(CredentialsCommand::List) => credentials::list(&client, global).await,
        Command::Credentials(CredentialsCommand::Rotate(options)) => {
            credentials::rotate(&client, options, global).await
        }
        Command::Credentials(CredentialsCommand::Revoke(options)) => {
            credentials::revoke(&client, options, global).await
        }
        Command::Image(command) => image::image(command, global),
        Command::Completions { shell } => generate::completions(*shell),
        Command::Man { to } => generate::man(to.as_deref()),
    };
    done.map(|()| exit::SUCCESS)
}

/// Says why it failed, once, and tells the exit status.
fn say(failure: &Failure, cli: &Cli) -> u8 {
    let status = match cli.command {
        Command::Run(_) | Command::Shell(_) | Command::Attach(_) => failure.exit_status_of_run(),
        _ => failure.exit_status(),
    };
    match failure {
        Failure::OutputClosed => return status,
        Failure::Detached(words) => {
            if !cli.global.quiet {
                console::notice(&format!("{words}\n"));
            }
            return status;
        }
        _ => {}
    }
    console::failure(failure);
    let unwritten =
        cli.global.json.then(|| console::print_json(&failure.to_json()).err()).flatten();
    unwritten.map_or(status, |unwritten| unsaid(&unwritten, status))
}

/// The status where an answer itself could not be written: this one, with the reason on standard error, unless
/// nobody reads any more.
fn unsaid(unwritten: &Failure, status: u8) -> u8 {
    if matches!(unwritten, Failure::OutputClosed) {
        return exit::OUTPUT_CLOSED;
    }
    console::failure(unwritten);
    status
}

/// Help and version are answers; the rest is bad usage, which `run`, `shell` and `attach` report with a status of their own.
fn usage(error: &clap::Error) -> u8 {
    let printed = error.print().and_then(|()| io::stdout().flush());
    if !error.use_stderr() {
        let unwritten = printed.map_err(Failure::writing).err();
        return unwritten.map_or(exit::SUCCESS, |unwritten| unsaid(&unwritten, exit::FAILED));
    }
    // The exit status tells it where the words can't be written.
    let recovered = Cli::command().ignore_errors(true).try_get_matches();
    let status = match recovered.as_ref().ok().and_then(|matches| matches.subcommand_name()) {
        Some("run" | "shell" | "attach") => exit::OURS,
        _ => exit::USAGE,
    };
    // What stands behind two dashes is the payload's.
    let mut ours = std::env::args_os().take_while(|word| word != "--");
    let failure = Failure::Usage(error.render().to_string().trim_end().to_owned());
    let unwritten =
        ours.any(|word| word == "--json").then(|| console::print_json(&failure.to_json()).err());
    unwritten.flatten().map_or(status, |unwritten| unsaid(&unwritten, status))
}
