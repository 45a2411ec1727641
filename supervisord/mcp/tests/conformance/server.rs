//! A server with the suite's fixtures, on the stack that the supervisor's own server is on.

use ring::hmac;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities,
    CompleteRequestParams, CompleteResult, ContentBlock, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, InputRequiredResult, InputResponses, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, Tool, UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Value, json};

use crate::fixtures::{self, Round, TEMPLATE, all, read};

/// What the state of a round is sealed with.
const KEY: &[u8] = b"of a test";

/// The server. Nothing of a client is kept from one request to the next.
#[derive(Debug, Clone)]
pub struct Fixture;

impl ServerHandler for Fixture {
    fn get_info(&self) -> ServerConfig {
        let capabilities = json!({
            "tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {},
        });
        ServerConfig::new(read(capabilities))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = all().tools.keys().filter_map(|name| all().tool(name));
        Ok(ListToolsResult::with_all_items(tools.collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        all().tool(name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        asked: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = all().tools.get(&*request.name) else {
            let words = format!("there is no tool {:?}", request.name);
            return Err(ErrorData::invalid_params(words, None));
        };
        let can = asked.meta.client_capabilities().unwrap_or_default();
        if let Some(needs) = &tool.needs
            && can.sampling.is_none()
        {
            return Err(ErrorData::missing_required_client_capability(read(needs.clone())));
        }
        let sealed = tool.seals.then_some(&*request.name);
        let answers = request.input_responses;
        if let Some(ask) = next(&tool.asks, sealed, answers, request.request_state, &can)? {
            return Ok(ask.into());
        }
        tell(tool, &asked).await;
        let result = match &tool.fails {
            Some(words) => CallToolResult::error(vec![ContentBlock::text(words)]),
            None => CallToolResult::success(read(json!(tool.says))),
        };
        Ok(result.into())
    }

    async fn list_prompts(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = all().prompts.iter().map(|(name, prompt)| {
            let argument = |name| json!({"name": name, "description": name, "required": true});
            let arguments: Vec<_> = prompt.arguments.iter().map(argument).collect();
            read(json!({"name": name, "description": prompt.about, "arguments": arguments}))
        });
        Ok(ListPromptsResult::with_all_items(prompts.collect()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        asked: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let Some(prompt) = all().prompts.get(&request.name) else {
            let words = format!("there is no prompt {:?}", request.name);
            return Err(ErrorData::invalid_params(words, None));
        };
        let can = asked.meta.client_capabilities().unwrap_or_default();
        let (answers, state) = (request.input_responses, request.request_state);
        if let Some(ask) = next(&prompt.asks, None, answers, state, &can)? {
            return Ok(ask.into());
        }
        let mut says = json!(prompt.says).to_string();
        for (name, value) in request.arguments.iter().flatten() {
            says = says.replace(&format!("{{{name}}}"), value.as_str().unwrap_or_default());
        }
        let says: Vec<Value> = serde_json::from_str(&says).expect("it was JSON");
        let message = |content| json!({"role": "user", "content": content});
        let messages: Vec<_> = says.into_iter().map(message).collect();
        Ok(GetPromptResult::new(read(json!(messages))).into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = all().resources.iter().map(|(uri, content)| {
            let about = "of the suite's";
            read(json!({"uri": uri, "name": uri, "description": about, "mimeType": content["mimeType"]}))
        });
        Ok(ListResourcesResult::with_all_items(resources.collect()))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let address = format!("{}{{id}}{}", TEMPLATE.0, TEMPLATE.1);
        let template =
            json!({"uriTemplate": address, "name": "template", "description": "of the suite's"});
        Ok(ListResourceTemplatesResult::with_all_items(vec![read(template)]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let Some(content) = all().resource(&request.uri) else {
            let words = "there is no such resource";
            return Err(ErrorData::invalid_params(words, Some(json!({"uri": request.uri}))));
        };
        Ok(ReadResourceResult::new(vec![read(content)]).into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Ok(CompleteResult::new(read(json!({"values": ["test"], "total": 1, "hasMore": false}))))
    }

    async fn set_level(
        &self,
        _: SetLevelRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(
        &self,
        _: SubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(
        &self,
        _: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }
}

/// Tells what comes before the answer. Whoever has gone hears nothing of it.
async fn tell(tool: &fixtures::Tool, asked: &RequestContext<RoleServer>) {
    // A client of the newest revision says with each request whether it wants to hear of it.
    let is_heard = asked.meta.client_capabilities().is_none() || asked.meta.log_level().is_some();
    for line in tool.logs.iter().filter(|_| is_heard) {
        let said = json!({"level": "info", "data": line});
        asked.peer.notify_logging_message(read::<LoggingMessageNotificationParam>(said)).await.ok();
    }
    let Some(token) = asked.meta.get_progress_token() else { return };
    for done in &tool.progress {
        let told = ProgressNotificationParam::new(token.clone(), *done).with_total(100.0);
        asked.peer.notify_progress(told).await.ok();
    }
}

/// What is to be asked of a client before there is an answer.
fn next(
    rounds: &[Round],
    sealed: Option<&str>,
    answers: Option<InputResponses>,
    state: Option<String>,
    can: &ClientCapabilities,
) -> Result<Option<InputRequiredResult>, ErrorData> {
    let number = match (sealed, &state) {
        (Some(name), Some(state)) => (0..=rounds.len())
            .find(|number| seal(name, *number) == *state)
            .ok_or_else(|| ErrorData::invalid_params("this state is not ours", None))?,
        _ => 0,
    };
    let answers = answers.unwrap_or_default();
    let answered = |round: &Round| {
        let answer = |name: &String| answers.get(name).is_some_and(Value::is_object);
        possible(round, can).all(|(name, _)| answer(name))
    };
    let number = match rounds.get(number) {
        Some(round) if answered(round) => number + 1,
        _ => number,
    };
    let Some(round) = rounds.get(number) else { return Ok(None) };
    let requests =
        possible(round, can).map(|(name, request)| (name.clone(), read(request.clone())));
    let state = sealed.map(|name| seal(name, number));
    Ok(Some(InputRequiredResult::new(Some(requests.collect()), state)))
}

/// What the client says that it can be asked.
fn possible<'a>(
    round: &'a Round,
    can: &'a ClientCapabilities,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    round.iter().filter(|(_, request)| match request["method"].as_str() {
        Some("elicitation/create") => can.elicitation.is_some(),
        Some("sampling/createMessage") => can.sampling.is_some(),
        _ => true,
    })
}

fn seal(name: &str, number: usize) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY);
    let tag = hmac::sign(&key, format!("{name} {number}").as_bytes());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
