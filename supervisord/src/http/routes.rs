//! From a request to the operation it asks for. The routes are made of the table of operations, so
//! there is none that the OpenAPI document doesn't have, but for `/mcp`, which leads to the same ones.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{Extension, RawPathParams, State};
use axum::http::{HeaderValue, Request, Response, header};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, Router, any, delete, get, post, put};
use hyper::body::Incoming;
use supervisor_api::{ApiError, ErrorCode, Method, OPERATIONS, Operation, openapi_document};
use tokio::sync::Semaphore;
use tower::Service;

use super::answer::{Answer, Problem, finish};
use super::body;
use super::bounds::{ADMIN_BODIES, BODIES, BODIES_PER_UID, Bounds, READERS};
use super::calls::{self, Call};
use super::interpreters;
use super::mcp::Agents;
use super::operations::Operations;
use super::parameters::Rules;
use super::writing::{Refusable, Writing};
use super::{changes, pausing, samples, sessions, streams, workspaces};
use crate::pool::Pool;
use crate::supervisor::Caller;

/// What all requests share.
pub struct Front<O> {
    /// Does the work.
    pub operations: Arc<O>,
    /// Bytes for large bodies.
    pub bodies: Arc<Pool>,
    /// Permits to read large bodies.
    pub readers: Arc<Semaphore>,
    /// What long answers take.
    pub writing: Writing,
    /// The deadlines.
    pub bounds: Bounds,
    /// The OpenAPI document.
    pub document: Bytes,
    /// Whether requests are counted here, and not by whoever hands them in.
    counts: bool,
}

/// Answers requests.
#[derive(Clone)]
pub struct Routes {
    router: Router,
    /// Where agents ask for operations by the Model Context Protocol.
    agents: Option<Agents>,
}

impl Routes {
    /// The routes to these operations, as far as the table has them.
    pub fn new<O: Operations>(
        operations: Arc<O>,
        bounds: Bounds,
        table: impl Iterator<Item = &'static Operation>,
    ) -> Self {
        Self::counted(operations, bounds, table, true)
    }

    /// Routes to all operations for another front end, which has requests made of what it is asked, and
    /// counts them itself.
    pub fn within<O: Operations>(operations: Arc<O>) -> Self {
        Self::counted(operations, Bounds::default(), OPERATIONS.iter(), false)
    }

    fn counted<O: Operations>(
        operations: Arc<O>,
        bounds: Bounds,
        table: impl Iterator<Item = &'static Operation>,
        counts: bool,
    ) -> Self {
        let front = Front {
            operations,
            bodies: Pool::new(BODIES, BODIES_PER_UID, ADMIN_BODIES),
            readers: Arc::new(Semaphore::new(READERS)),
            writing: Writing::default(),
            bounds,
            document: openapi_document(env!("CARGO_PKG_VERSION")).to_string().into(),
            counts,
        };
        let mut router = Router::new();
        for operation in table {
            if let Some(route) = route_of::<O>(operation) {
                router = router.route(operation.path, route);
            }
        }
        let router = router.fallback(unknown_path).method_not_allowed_fallback(unknown_method);
        Self { router: router.with_state(Arc::new(front)), agents: None }
    }

    /// The same, and `/mcp`.
    pub fn with_mcp(self, bounds: Bounds) -> Self {
        let agents = Agents::new(self.router.clone(), bounds);
        let shared = agents.clone();
        let answer = async move |Extension(caller): Extension<Caller>, request: Request<Body>| {
            shared.answer(caller, request).await
        };
        Self { router: self.router.route("/mcp", any(answer)), agents: Some(agents) }
    }

    /// The server ends, and who goes away from now on does not want to.
    pub fn close(&self) {
        if let Some(agents) = &self.agents {
            agents.close();
        }
    }

    /// Answers a request that another front end has made, which says as whom in [`Caller`] among its
    /// extensions.
    pub async fn ask(&self, request: Request<Body>) -> Response<Body> {
        let mut router = self.router.clone();
        let Ok(response) = Service::call(&mut router, request).await;
        response
    }

    /// Answers one request of this caller.
    pub async fn answer(&self, caller: Caller, request: Request<Incoming>) -> Response<Body> {
        let mut request = request.map(Body::new);
        let sent_body = body::has_body(request.headers());
        request.extensions_mut().insert(caller);
        let mut router = self.router.clone();
        let Ok(mut response) = Service::call(&mut router, request).await;
        if sent_body && !response.status().is_success() {
            // Part of the body may still be under way, and it is no request.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        finish(response)
    }
}

fn route_of<O: Operations>(operation: &Operation) -> Option<MethodRouter<Arc<Front<O>>>> {
    Some(match operation.id {
        "submit" => route(operation, calls::submit),
        "list" => route(operation, calls::list),
        "status" => route(operation, calls::status),
        "output" => route(operation, calls::output),
        "cancel" => route(operation, calls::cancel),
        "remove" => route(operation, calls::remove),
        "pause" => route(operation, pausing::pause),
        "resume" => route(operation, pausing::resume),
        "pause_session" => route(operation, pausing::pause_session),
        "resume_session" => route(operation, pausing::resume_session),
        "samples" => route(operation, samples::samples),
        "receipt" => route(operation, calls::receipt),
        "artifacts" => route(operation, calls::artifacts),
        "artifact" => route(operation, calls::artifact),
        "input" => route(operation, streams::input),
        "send_input" => route(operation, streams::send),
        "close_input" => route(operation, streams::close),
        "resize_terminal" => route(operation, streams::resize),
        "create_session" => route(operation, sessions::create),
        "list_sessions" => route(operation, sessions::list),
        "session" => route(operation, sessions::show),
        "extend_session" => route(operation, sessions::extend),
        "close_session" => route(operation, sessions::close),
        "list_root" | "list_directory" => route(operation, sessions::tree),
        "stat_file" => route(operation, sessions::stat),
        "read_file" => route(operation, sessions::read_file),
        "write_file" => route(operation, sessions::write_file),
        "remove_file" => route(operation, sessions::remove_file),
        "make_directory" => route(operation, sessions::make_directory),
        "move_file" => route(operation, sessions::move_file),
        "download_archive" => route(operation, sessions::pack),
        "upload_archive" => route(operation, sessions::unpack),
        "create_interpreter" => route(operation, interpreters::create),
        "list_interpreters" => route(operation, interpreters::list),
        "interpreter" => route(operation, interpreters::show),
        "close_interpreter" => route(operation, interpreters::close),
        "interrupt_interpreter" => route(operation, interpreters::interrupt),
        "run_cell" => route(operation, interpreters::run),
        "list_cells" => route(operation, interpreters::cells),
        "cell" => route(operation, interpreters::cell),
        "changes" => route(operation, changes::changes),
        "apply_changes" => route(operation, changes::apply),
        "discard_changes" => route(operation, changes::discard),
        "watch_files" => route(operation, workspaces::watch),
        "create_snapshot" => route(operation, workspaces::snapshot),
        "list_snapshots" => route(operation, workspaces::snapshots),
        "decisions" => route(operation, calls::decisions),
        "audit" => route(operation, calls::audit),
        "audit_key" => route(operation, calls::audit_key),
        "budgets" => route(operation, calls::budgets),
        "reset_budget" => route(operation, calls::reset_budget),
        "approvals" => route(operation, calls::approvals),
        "approvals_follow" => route(operation, calls::approvals_follow),
        "events" => route(operation, calls::events),
        "approval" => route(operation, calls::approval),
        "answer" => route(operation, calls::answer),
        "doctor" => route(operation, calls::doctor),
        "top" => route(operation, calls::top),
        "metrics" => route(operation, calls::metrics),
        "reload" => route(operation, calls::reload),
        "credentials" => route(operation, calls::credentials),
        "rotate_credential" => route(operation, calls::rotate_credential),
        "revoke_credential" => route(operation, calls::revoke_credential),
        "policies" => route(operation, calls::policies),
        "openapi" => route(operation, calls::openapi),
        _ => return None,
    })
}

/// The route of an operation: what the table says of it is checked before it is called.
fn route<O, F, T>(operation: &Operation, act: F) -> MethodRouter<Arc<Front<O>>>
where
    O: Operations,
    F: Fn(Call<O>) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = Result<Answer, Problem>> + Send + 'static,
{
    let rules = Rules::of(operation);
    let (id, takes_body) = (operation.id, operation.request.is_some());
    let refusable = match operation.method {
        Method::Get => Refusable::Yes,
        Method::Post | Method::Put | Method::Delete => Refusable::No,
    };
    let answer = async move |State(front): State<Arc<Front<O>>>,
                             Extension(caller): Extension<Caller>,
                             path: Result<RawPathParams, RawPathParamsRejection>,
                             request: Request<Body>|
                -> Result<Response<Body>, Problem> {
        let shared = front.clone();
        let answered = async {
            let query = rules.read(request.uri().query())?;
            if !takes_body {
                body::expect_none(request.headers())?;
            }
            let path = path.map_err(|_| not_found())?;
            let path =
                path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let answer = act(Call { front, caller, path, query, request }).await?;
            answer.whole(&caller, &shared.writing, refusable).await
        };
        let answered = answered.await;
        if shared.counts {
            shared.operations.note(id, answered.as_ref().err().map(|problem| problem.0.code));
        }
        answered
    };
    match operation.method {
        Method::Get => get(answer),
        Method::Post => post(answer),
        Method::Put => put(answer),
        Method::Delete => delete(answer),
    }
}

async fn unknown_path() -> Problem {
    Problem(not_found())
}

async fn unknown_method() -> Response<Body> {
    let error = ApiError::new(ErrorCode::MethodNotAllowed, "this path has no such method")
        .with_hint("the Allow header field names those that it has");
    Problem(error).into_response()
}

fn not_found() -> ApiError {
    ApiError::new(ErrorCode::NotFound, "there is nothing at this path")
        .with_hint("/v1/openapi.json describes every path")
}
