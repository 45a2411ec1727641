//! `e2b`: the supervisor as E2B's clients know a service. It listens on loopback, is a client of the daemon like
//! any other command here, and has the rights of whoever started it. A sandbox is a session, a command an
//! execution in it, a code context an interpreter. What it can't do it refuses with a sentence.

mod answer;
mod body;
mod cells;
mod connect;
mod contexts;
mod control;
mod endpoint;
mod entries;
mod events;
mod files;
mod filesystem;
mod input;
mod keys;
mod metrics;
mod paths;
mod processes;
mod request;
mod routes;
mod server;
mod snapshots;
mod start;
mod upload;
mod watching;

use serde_json::json;
use tokio::net::TcpListener;

use crate::cli::{E2bOptions, GlobalOptions};
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::interrupts::Interrupts;
use crate::standalone::Standalone;

use self::endpoint::Endpoint;
use self::keys::Keys;

/// `e2b`: serves until it is interrupted.
pub async fn e2b(options: &E2bOptions, global: &GlobalOptions) -> Result<(), Failure> {
    if !options.listen.ip().is_loopback() {
        let words = format!("{} is not a loopback address, such as 127.0.0.1", options.listen.ip());
        return Err(Failure::Usage(words));
    }
    let keys = Keys::of(options.key_file.as_deref())?;
    let mut interrupts = Interrupts::install()?;
    if !options.standalone.standalone {
        let client = Client::new(global.socket.clone());
        return serve(client, keys, options, global, &mut interrupts).await;
    }
    let private = Standalone::start(options.standalone, None, &mut interrupts).await?;
    let client = private.client().clone();
    let served = serve(client, keys, options, global, &mut interrupts).await;
    let ended = private.end().await;
    served.and(ended)
}

async fn serve(
    client: Client,
    keys: Keys,
    options: &E2bOptions,
    global: &GlobalOptions,
    interrupts: &mut Interrupts,
) -> Result<(), Failure> {
    let listening = || Failure::local(format!("cannot listen on {}", options.listen));
    let listener = TcpListener::bind(options.listen).await.map_err(listening())?;
    let address = listener.local_addr().map_err(listening())?;
    let url = format!("http://{address}");
    say(&url, &keys, options, global)?;
    let endpoint = Endpoint::new(client, keys, options, address.port());
    tokio::select! {
        never = server::serve(listener, endpoint) => match never {},
        () = interrupts.next() => Ok(()),
    }
}

/// Tells what clients have to be told. A key that stands in a file stays there.
fn say(
    url: &str,
    keys: &Keys,
    options: &E2bOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let made = options.key_file.is_none().then(|| keys.shown());
    if global.json {
        let told = json!({"api_url": url, "sandbox_url": url, "api_key": made});
        return console::print_json(&told);
    }
    let mut lines = format!("export E2B_API_URL={url}\nexport E2B_SANDBOX_URL={url}\n");
    if let Some(key) = made {
        lines.push_str(&format!("export E2B_API_KEY={key}\n"));
    }
    console::print(&lines)
}
