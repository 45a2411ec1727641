//! The operations of the daemon, one function each. Every call has a connection of its own, so
//! there is no state between two calls that a restart of the daemon could spoil.

mod changes;
mod interpreters;
mod pieces;
mod sessions;
mod streams;

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use indicatif::ProgressBar;
use serde::de::DeserializeOwned;
use supervisor_api::{
    AnswerRequest, Approval, ApprovalId, ApprovalList, ArtifactList, AuditFilter, AuditKey,
    AuditPage, Budget, BudgetList, Credential, CredentialList, Doctor, Envelope, Execution,
    ExecutionId, ExecutionList, PolicyList, Reloaded, SampleList, State, SubmitRequest, Top,
};

use crate::cli::Selection;
use crate::connection::{Answer, Call, Payload};
use crate::failure::Failure;
use crate::{paths, progress, terminal, units};

/// Seconds that one request may wait for the end of an execution; the interface's own bound.
pub const WAIT_MAX: u64 = 60;

/// How long the head of an answer may take when there is nothing to wait for: the daemon answers
/// within milliseconds, a loaded host within seconds. Longer than the daemon waits for its launcher, of which it tells.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long a submission may take: the daemon gives a body half a minute and a queue as much.
const SUBMIT_PATIENCE: Duration = Duration::from_secs(120);

/// Bytes of a submission: the daemon's own bound on a request, told before they are sent.
const SUBMISSION_MAX: usize = 32 << 20;

/// The daemon behind a socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Which executions to list.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// How many at the most.
    pub limit: u16,
    /// The last id of the page before.
    pub after: Option<ExecutionId>,
    /// Only those in this state.
    pub state: Option<State>,
    /// Everybody's.
    pub all: bool,
}

impl Client {
    /// The daemon behind this socket; nothing is connected yet.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Submits; the answer comes at once or, as the request says, at the end. Not to be repeated
    /// after a failure, because it may have been accepted.
    pub async fn submit(
        &self,
        request: &SubmitRequest,
        show_progress: bool,
    ) -> Result<Execution, Failure> {
        let operation = "run this";
        let body = serde_json::to_vec(request).map_err(Failure::misunderstood(operation))?;
        if body.len() > SUBMISSION_MAX {
            let words = format!(
                "this makes a request of {} and {} is the most; files that are not text take a \
                 third more than their size",
                units::show_size(body.len() as u64),
                units::show_size(SUBMISSION_MAX as u64),
            );
            return Err(Failure::Usage(words));
        }
        let bar = progress::bar("uploading", body.len() as u64, show_progress);
        let call = Call {
            body: Payload::Json(body),
            patience: SUBMIT_PATIENCE,
            bar: bar.clone(),
            ..post(operation.to_owned(), "/v1/executions".to_owned())
        };
        let answer = call.send(&self.socket).await;
        bar.finish_and_clear();
        answer?.json().await
    }

    /// One execution, once it has finished or after so many seconds.
    pub async fn status(&self, id: ExecutionId, wait: u64) -> Result<Execution, Failure> {
        let wait = wait.min(WAIT_MAX);
        let patience = PATIENCE + Duration::from_secs(wait);
        let call = get(format!("tell about {id}"), format!("/v1/executions/{id}?wait={wait}"));
        self.json(Call { patience, ..call }).await
    }

    /// A page of executions, newest first.
    pub async fn list(&self, page: Page) -> Result<ExecutionList, Failure> {
        let mut target = format!("/v1/executions?limit={}", page.limit);
        if let Some(id) = page.after {
            target.push_str(&format!("&after={id}"));
        }
        if let Some(state) = page.state {
            target.push_str(&format!("&state={}", state.name()));
        }
        if page.all {
            target.push_str("&all=true");
        }
        self.json(get("list executions".to_owned(), target)).await
    }

    /// Output from an offset, to the present end or, with `follow`, to the end of the execution.
    pub async fn output(
        &self,
        id: ExecutionId,
        selection: Selection,
        offset: u64,
        follow: bool,
    ) -> Result<Answer, Failure> {
        let stream = selection.name();
        let target =
            format!("/v1/executions/{id}/output?stream={stream}&offset={offset}&follow={follow}");
        get(format!("read the output of {id}"), target).send(&self.socket).await
    }

    /// Ends an execution; the answer comes when nothing of it runs any more.
    pub async fn cancel(&self, id: ExecutionId) -> Result<Execution, Failure> {
        self.json(post(format!("cancel {id}"), format!("/v1/executions/{id}/cancel"))).await
    }

    /// Removes a finished execution.
    pub async fn remove(&self, id: ExecutionId) -> Result<Execution, Failure> {
        self.json(sessions::delete(format!("remove {id}"), format!("/v1/executions/{id}"))).await
    }

    /// The artifacts of a finished execution.
    pub async fn artifacts(&self, id: ExecutionId) -> Result<ArtifactList, Failure> {
        let target = format!("/v1/executions/{id}/artifacts");
        self.json(get(format!("list the artifacts of {id}"), target)).await
    }

    /// The bytes of one artifact.
    pub async fn artifact(&self, id: ExecutionId, path: &str) -> Result<Answer, Failure> {
        let target = format!("/v1/executions/{id}/artifacts/{}", paths::percent_encoded(path));
        get(format!("fetch {} of {id}", terminal::name(path)), target).send(&self.socket).await
    }

    /// The daemon's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Failure> {
        call.send(&self.socket).await
    }

    /// What was decided about an execution: records after this number.
    pub async fn decisions(&self, id: ExecutionId, after: u64) -> Result<AuditPage, Failure> {
        let target = format!("/v1/executions/{id}/decisions?after={after}");
        self.json(get(format!("tell what was decided about {id}"), target)).await
    }

    /// What an execution has used over time.
    pub async fn samples(&self, id: ExecutionId) -> Result<SampleList, Failure> {
        let target = format!("/v1/executions/{id}/samples");
        self.json(get(format!("tell what {id} used over time"), target)).await
    }

    /// The signed statement about a finished execution.
    pub async fn receipt(&self, id: ExecutionId) -> Result<Envelope, Failure> {
        self.json(get(format!("get the receipt of {id}"), format!("/v1/executions/{id}/receipt")))
            .await
    }

    /// Records of the audit log that match: those after this number, so many at the most.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, Failure> {
        let mut target = format!("/v1/audit?after={after}&limit={limit}");
        let verdict = filter.verdict.map(|verdict| format!("{verdict:?}").to_lowercase());
        for (name, value) in [
            ("session", filter.session.map(|id| id.to_string())),
            ("execution", filter.execution.map(|id| id.to_string())),
            ("uid", filter.uid.map(|uid| uid.to_string())),
            ("kind", filter.kind.clone()),
            ("rule", filter.rule.clone()),
            ("host", filter.host.clone()),
            ("credential", filter.credential.clone()),
            ("verdict", verdict),
            ("since", filter.since.as_ref().map(ToString::to_string)),
            ("until", filter.until.as_ref().map(ToString::to_string)),
        ] {
            if let Some(value) = value {
                target.push_str(&format!("&{name}={}", paths::percent_encoded(&value)));
            }
        }
        self.json(get("search the audit log".to_owned(), target)).await
    }

    /// The key that the audit log's checkpoints are checked with.
    pub async fn audit_key(&self) -> Result<AuditKey, Failure> {
        self.json(get("tell the audit log's key".to_owned(), "/v1/audit/key".to_owned())).await
    }

    /// The policies that a submission may name.
    pub async fn policies(&self) -> Result<PolicyList, Failure> {
        self.json(get("list the policies".to_owned(), "/v1/policies".to_owned())).await
    }

    /// What is left of budgets.
    pub async fn budgets(&self, all: bool) -> Result<BudgetList, Failure> {
        self.json(get("show budgets".to_owned(), format!("/v1/budgets?all={all}"))).await
    }

    /// Lets a budget begin anew.
    pub async fn reset_budget(&self, account: &str) -> Result<Budget, Failure> {
        let path =
            format!("/v1/budgets/{}/reset", paths::percent_encoded(account).replace('/', "%2F"));
        self.json(post(format!("reset the budget of {account}"), path)).await
    }

    /// Questions to a person.
    pub async fn approvals(&self) -> Result<ApprovalList, Failure> {
        self.json(get("list approvals".to_owned(), "/v1/approvals".to_owned())).await
    }

    /// The same and then every change, one a line.
    pub async fn approval_changes(&self) -> Result<Answer, Failure> {
        get("follow approvals".to_owned(), "/v1/approvals/events".to_owned())
            .send(&self.socket)
            .await
    }

    /// How everything stands, and then every change, one a line.
    pub async fn events(&self) -> Result<Answer, Failure> {
        get("follow events".to_owned(), "/v1/events".to_owned()).send(&self.socket).await
    }

    /// One question.
    pub async fn approval(&self, id: ApprovalId) -> Result<Approval, Failure> {
        self.json(get(format!("show {id}"), format!("/v1/approvals/{id}"))).await
    }

    /// Answers a question.
    pub async fn answer(&self, id: ApprovalId, answer: AnswerRequest) -> Result<Approval, Failure> {
        let operation = format!("answer {id}");
        let body = serde_json::to_vec(&answer).map_err(Failure::misunderstood(&operation))?;
        let call = post(operation, format!("/v1/approvals/{id}/answer"));
        self.json(Call { body: Payload::Json(body), ..call }).await
    }

    /// What the host can enforce.
    pub async fn doctor(&self) -> Result<Doctor, Failure> {
        self.json(get("examine the host".to_owned(), "/v1/doctor".to_owned())).await
    }

    /// What runs just now and what it uses.
    pub async fn top(&self) -> Result<Top, Failure> {
        self.json(get("tell what runs".to_owned(), "/v1/top".to_owned())).await
    }

    /// Has the daemon read its configuration and policies anew.
    pub async fn reload(&self) -> Result<Reloaded, Failure> {
        self.json(post("reload".to_owned(), "/v1/reload".to_owned())).await
    }

    /// All credentials.
    pub async fn credentials(&self) -> Result<CredentialList, Failure> {
        self.json(get("list credentials".to_owned(), "/v1/credentials".to_owned())).await
    }

    /// Has the daemon read one credential's value anew.
    pub async fn rotate_credential(&self, name: &str) -> Result<Credential, Failure> {
        self.json(credential("rotate", name)).await
    }

    /// Has the daemon give a credential to no request any more.
    pub async fn revoke_credential(&self, name: &str) -> Result<Credential, Failure> {
        self.json(credential("revoke", name)).await
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T, Failure> {
        call.send(&self.socket).await?.json().await
    }
}

/// No bar.
pub(crate) fn hidden() -> ProgressBar {
    ProgressBar::hidden()
}

pub(crate) fn get(operation: String, target: String) -> Call {
    let (body, bar) = (Payload::Nothing, hidden());
    Call { operation, method: Method::GET, target, body, range: None, patience: PATIENCE, bar }
}

fn credential(act: &str, name: &str) -> Call {
    // A slash would name another path.
    let escaped = paths::percent_encoded(name).replace('/', "%2F");
    let target = format!("/v1/credentials/{escaped}/{act}");
    post(format!("{act} the credential {}", terminal::name(name)), target)
}

pub(crate) fn post(operation: String, target: String) -> Call {
    Call { method: Method::POST, ..get(operation, target) }
}
