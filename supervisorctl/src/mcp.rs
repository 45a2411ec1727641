//! `mcp`: the supervisor as a server of the Model Context Protocol, on standard input and output or for clients
//! that know only TCP. It is a client of the daemon like any other command here and has the rights of whoever
//! started it.

mod listener;

use std::path::PathBuf;
use std::sync::Arc;

use supervisor_mcp::{Asking, Door, Question, Sent};
use tokio::io;

use crate::cli::{GlobalOptions, McpOptions};
use crate::client::{Client, hidden};
use crate::connection::{Call, Payload};
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::policy::clients;
use crate::standalone::Standalone;

/// `mcp`: serves until standard input ends, then ends what was being waited for; a listener until it is told to
/// end.
pub async fn mcp(options: &McpOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let mut interrupts = Interrupts::install()?;
    if !options.standalone.standalone {
        return serve(global.socket.clone(), options, global, &mut interrupts).await;
    }
    // Any of the built-in policies may be asked for.
    let clients = clients::of_builtins()?;
    let private = Standalone::start(options.standalone, clients, &mut interrupts).await?;
    let socket = private.client().socket().to_owned();
    let served = serve(socket, options, global, &mut interrupts).await;
    let ended = private.end().await;
    served.and(ended)
}

async fn serve(
    socket: PathBuf,
    options: &McpOptions,
    global: &GlobalOptions,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    if let Some(address) = options.listen {
        return listener::serve(address, socket, global, interrupts).await;
    }
    let door = Arc::new(Socket(Client::new(socket)));
    let served = supervisor_mcp::serve(door, io::stdin(), io::stdout(), interrupts.next()).await;
    served.map_err(Failure::broken("serve a client"))
}

/// The way to a daemon's operations by its socket.
#[derive(Debug)]
struct Socket(Client);

impl Door for Socket {
    fn ask(&self, question: Question) -> Asking<'_> {
        let Question { operation, method, target, body, range, patience, most } = question;
        let body = match body {
            Sent::Nothing => Payload::Nothing,
            Sent::Json(bytes) => Payload::Json(bytes),
            Sent::Bytes(bytes) => Payload::Bytes(bytes),
        };
        let call = Call { operation, method, target, body, range, patience, bar: hidden() };
        Box::pin(async move { self.0.bytes(call, most as u64).await.map_err(said) })
    }
}

fn said(failure: Failure) -> supervisor_mcp::Failure {
    match failure {
        Failure::Refused { operation, error } => {
            supervisor_mcp::Failure::Refused { operation, error }
        }
        other => supervisor_mcp::Failure::Unanswered {
            code: other.kind(),
            words: other.chain(),
            remedy: other.remedy(),
            transient: supervisor_mcp::Passing::is_transient(&other),
        },
    }
}
