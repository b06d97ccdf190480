//! What is answered to each of the protocol's requests.

use std::future::Future;

use http::request::Parts;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, DiscoverResult, ErrorCode, ErrorData,
    Extensions, GetPromptRequestParams, GetPromptResponse, Implementation, InitializeRequestParams,
    InitializeResult, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams, ReadResourceResponse,
    ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::context::{Face, Hints};
use super::tools::{self, Done};
use super::{Agent, Options, Outcome, Profile, as_result, prompts, resources};
use kenning_core::error::{Code, Error};
use kenning_tenants::Scope;

const INSTRUCTIONS: &str = "\
Kenning is a knowledge base of facts: short texts with metadata, found by meaning and by words. \
Search with search_facts before you answer from memory and before you store; store what will \
matter later with store_fact, one thing a fact, understandable on its own; correct a fact with \
update_fact instead of storing it again. An error is a JSON object that says in `what_to_do` what \
to do.";

const MEMORY_INSTRUCTIONS: &str = "\
Kenning keeps a memory of entities, observations about them and relations between them. Search \
with search_nodes before you answer from memory and before you create; keep what will matter \
later, one thing an observation, understandable on its own. An error is a JSON object that says in \
`what_to_do` what to do.";

/// What a client tells its model of the server.
fn instructions(options: Options) -> &'static str {
    match options.profile {
        Profile::Facts => INSTRUCTIONS,
        Profile::Memory => MEMORY_INSTRUCTIONS,
    }
}

/// The agent that asks. Every request comes through `crate::http`, which says so.
fn agent_of(extensions: &Extensions) -> Result<Agent, ErrorData> {
    let agent = extensions.get::<Parts>().and_then(|head| head.extensions.get::<Agent>());
    agent.cloned().ok_or_else(|| ErrorData::internal_error("nobody admitted this request", None))
}

/// Runs a call until it ends or its client cancels it.
async fn until_cancelled<T>(
    cancelled: &CancellationToken,
    agent: &Agent,
    call: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        result = call.instrument(agent.span.clone()) => result,
        () = cancelled.cancelled() => Err(Error::new(Code::Timeout, "the client cancelled it")),
    }
}

/// The error of a request that is no call of a tool.
fn refused(agent: &Agent, error: Error) -> ErrorData {
    let code = match error.code {
        Code::NotFound => ErrorCode::RESOURCE_NOT_FOUND,
        Code::InvalidRequest | Code::InvalidFilter | Code::TooLarge => ErrorCode::INVALID_PARAMS,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    let data = json!({ "code": error.code.as_str(), "details": error.details });
    let message = error.message.clone();
    agent.leave(Outcome::Failed(error));
    ErrorData::new(code, message, Some(data))
}

/// Facts are in what is answered, so it needs the scope for reading.
fn may_read(agent: &Agent, method: &str) -> Result<(), ErrorData> {
    agent.who.check(Scope::Read, method).map_err(|error| refused(agent, error))
}

impl ServerHandler for Face {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .build();
        let server = Implementation::new("kenning", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(server.with_title("Kenning"))
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let options = agent_of(&context.extensions)?.options;
        context.peer.set_peer_info(request.clone());
        let result = self.negotiate_initialize(&request)?;
        Ok(result.with_instructions(instructions(options)))
    }

    async fn discover(
        &self,
        context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let options = agent_of(&context.extensions)?.options;
        let versions = self.supported_protocol_versions().into_owned();
        let config = self.get_info().with_instructions(instructions(options));
        Ok(DiscoverResult::from_server_info(versions, config))
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        let may = |scope| agent.who.may(scope);
        Ok(ListToolsResult::with_all_items(tools::list(agent.options, may)))
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        let (hints, arguments) = (Hints::new(&context.meta), call.arguments.unwrap_or_default());
        let Some(tool) = tools::find(&call.name, agent.options) else {
            let message =
                format!("there is no tool `{}`; tools/list names those that there are", call.name);
            return Err(ErrorData::invalid_params(message, None));
        };
        let call = tools::call(self, tool, arguments, &agent, &hints);
        match until_cancelled(&context.ct, &agent, call).await {
            Ok(Done { value, served_by, revision }) => {
                agent.leave(Outcome::Served(served_by, revision));
                Ok(CallToolResult::structured(value).into())
            }
            Err(error) => {
                let result = as_result(&error);
                agent.leave(Outcome::Failed(error));
                Ok(result.into())
            }
        }
    }

    async fn list_resources(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        may_read(&agent, "resources/list")?;
        let cursor = page.and_then(|page| page.cursor);
        let listing = resources::list(self, cursor, &agent);
        until_cancelled(&context.ct, &agent, listing).await.map_err(|error| refused(&agent, error))
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        read: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        may_read(&agent, "resources/read")?;
        let reading = resources::read(self, &read.uri, &agent);
        match until_cancelled(&context.ct, &agent, reading).await {
            Ok(result) => Ok(result.into()),
            Err(error) => Err(refused(&agent, error)),
        }
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        Ok(ListPromptsResult::with_all_items(prompts::list(agent.options)))
    }

    async fn get_prompt(
        &self,
        prompt: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let agent = agent_of(&context.extensions)?;
        let arguments = prompt.arguments.unwrap_or_default();
        let making = prompts::get(self, &prompt.name, &arguments, &agent);
        match until_cancelled(&context.ct, &agent, making).await {
            Ok(result) => Ok(result.into()),
            Err(error) => Err(refused(&agent, error)),
        }
    }
}
