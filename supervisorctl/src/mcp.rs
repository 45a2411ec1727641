//! `mcp`: the supervisor as a server of the Model Context Protocol, on standard input and output. It is a client
//! of the daemon like any other command here and has the rights of whoever started it.

mod arguments;
mod artifacts;
mod attended;
mod cells;
mod excerpt;
mod files;
mod long_runs;
mod refusals;
mod resources;
mod results;
mod runs;
mod schema;
mod server;
mod sessions;
mod tools;

use rmcp::ServiceExt as _;
use tokio::io;

use crate::cli::{GlobalOptions, McpOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::standalone::Standalone;

use self::server::Server;

/// `mcp`: serves until standard input ends, then ends what was being waited for.
pub async fn mcp(options: &McpOptions, global: &GlobalOptions) -> Result<(), Failure> {
    let mut interrupts = Interrupts::install()?;
    if !options.standalone.standalone {
        return serve(Client::new(global.socket.clone()), &mut interrupts).await;
    }
    let private = Standalone::start(options.standalone, None, &mut interrupts).await?;
    let served = serve(private.client().clone(), &mut interrupts).await;
    let ended = private.end().await;
    served.and(ended)
}

async fn serve(client: Client, interrupts: &mut Interrupts) -> Result<(), Failure> {
    let server = Server::new(client);
    let attended = server.attended();
    let serving = async {
        let running = server.serve((attended.input(), io::stdout())).await;
        let running = running.map_err(Failure::broken("begin to speak MCP"))?;
        running.waiting().await.map_err(Failure::broken("speak MCP"))?;
        Ok(())
    };
    let served = tokio::select! {
        served = serving => served,
        () = interrupts.next() => Ok(()),
    };
    attended.end_all().await;
    served
}
