//! What a client of the protocol asks for, and who does it.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CancelTaskParams, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetTaskParams, GetTaskResult, Implementation, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};

use crate::client::Client;
use crate::door::Door;

use crate::attended::Attended;
use crate::{long_runs, resources, tools};

/// What a model should know before it uses any of this.
const INSTRUCTIONS: &str = "Runs code that nobody trusts in sandboxes of this host. `run` is for one program; for \
    work in several steps open a session with `create_session`, whose files stay, and use `run` with `session` or \
    `run_cell`, which keeps variables. Nothing leaves a sandbox unless its policy says so. A refusal names the \
    rule and what would allow it: limits can be asked for up to the policy's maximum; what a policy denies stays \
    denied until a person changes the policy.";

/// One client's server.
#[derive(Debug, Clone)]
pub struct Server {
    /// The daemon.
    pub client: Client,
    attended: Attended,
}

impl Server {
    /// A server in front of what is behind this door.
    pub fn new(door: Arc<dyn Door>) -> Self {
        let client = Client::new(door);
        let attended = Attended::new(client.clone());
        Self { client, attended }
    }

    /// What is being waited for.
    pub fn attended(&self) -> Attended {
        self.attended.clone()
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts() // there are none, and whoever asks is told so
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("supervisord", env!("CARGO_PKG_VERSION"))
                    .with_title("supervisord: sandboxes for untrusted code"),
            )
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        asked: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        tools::call(self, &request.name, arguments, &asked).await.ok_or_else(|| {
            ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None)
        })
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        resources::list(&self.client, request.and_then(|page| page.cursor)).await
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&self.client, &request.uri).await.map(Into::into)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        Err(ErrorData::invalid_params(format!("there is no prompt {:?}", request.name), None))
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        long_runs::get(&self.client, &request.task_id).await
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        // Nothing of ours asks for input, so there is nothing to take it for.
        long_runs::get(&self.client, &request.task_id).await.map(|_| ())
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        long_runs::cancel(&self.client, &request.task_id).await
    }
}
