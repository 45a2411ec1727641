//! `pause` and `resume`.

use supervisor_api::{Execution, ExecutionId, ExecutionList, SessionId};

use crate::cli::{GlobalOptions, PauseOptions, Which, WhichOption};
use crate::client::{Client, post};
use crate::console;
use crate::executions::{describe, show};
use crate::failure::Failure;

/// `pause`.
pub async fn pause(
    client: &Client,
    options: &PauseOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let act = format!("pause?reclaim={}", options.reclaim);
    change(client, options.which, ("pause", &act), global).await
}

/// `resume`.
pub async fn resume(
    client: &Client,
    options: &WhichOption,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    change(client, options.which, ("resume", "resume"), global).await
}

async fn change(
    client: &Client,
    which: Which,
    (verb, act): (&str, &str),
    global: &GlobalOptions,
) -> Result<(), Failure> {
    match which {
        Which::Execution(id) => show(&client.change_execution(id, verb, act).await?, global),
        Which::Session(id) => {
            let list = client.change_session(id, verb, act).await?;
            if global.json {
                return console::print_json(&list);
            }
            if global.quiet {
                let ids = list.executions.iter().map(|execution| format!("{}\n", execution.id));
                return console::print(&ids.collect::<String>());
            }
            console::print(&describe(&list.executions, false))
        }
    }
}

impl Client {
    async fn change_execution(
        &self,
        id: ExecutionId,
        verb: &str,
        act: &str,
    ) -> Result<Execution, Failure> {
        self.json(post(format!("{verb} {id}"), format!("/v1/executions/{id}/{act}"))).await
    }

    /// Pauses all that runs in a session, or lets it go on.
    pub(crate) async fn change_session(
        &self,
        id: SessionId,
        verb: &str,
        act: &str,
    ) -> Result<ExecutionList, Failure> {
        self.json(post(format!("{verb} {id}"), format!("/v1/sessions/{id}/{act}"))).await
    }
}
