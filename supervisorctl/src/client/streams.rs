//! The operations on what goes to a payload while it runs.

use std::time::Duration;

use supervisor_api::{ExecutionId, InputState, TerminalSize};

use super::{Client, get, post};
use crate::connection::{Call, Payload};
use crate::failure::Failure;

/// How long an answer may take for which the daemon waits for the payload.
const PATIENCE: Duration = Duration::from_secs(60);

impl Client {
    /// How far standard input has come; answered when the execution has started.
    pub async fn input(&self, id: ExecutionId) -> Result<InputState, Failure> {
        let call = get(format!("tell about the input of {id}"), stdin(id));
        self.json(Call { patience: PATIENCE, ..call }).await
    }

    /// Sends bytes, of which the first stands at `offset`: to be repeated as often as one likes.
    pub async fn send_input(
        &self,
        id: ExecutionId,
        offset: u64,
        bytes: Vec<u8>,
    ) -> Result<InputState, Failure> {
        let call = post(format!("send input to {id}"), format!("{}?offset={offset}", stdin(id)));
        self.json(Call { body: Payload::Bytes(bytes), patience: PATIENCE, ..call }).await
    }

    /// Ends standard input.
    pub async fn close_input(&self, id: ExecutionId) -> Result<InputState, Failure> {
        let call = post(format!("end the input of {id}"), format!("{}/close", stdin(id)));
        self.json(Call { patience: PATIENCE, ..call }).await
    }

    /// Sets the size of a payload's terminal.
    pub async fn resize_terminal(
        &self,
        id: ExecutionId,
        size: TerminalSize,
    ) -> Result<TerminalSize, Failure> {
        let operation = format!("resize the terminal of {id}");
        self.ask(operation, format!("/v1/executions/{id}/terminal"), &size, PATIENCE).await
    }
}

fn stdin(id: ExecutionId) -> String {
    format!("/v1/executions/{id}/stdin")
}
