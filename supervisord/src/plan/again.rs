//! A plan as a submission again, for a daemon that comes after one under which it waited.

use supervisor_api::{
    ArtifactRequest, ChangesMode, Content, Execution, LimitsRequest, SubmitRequest, UniqueMap,
};

use super::Plan;

/// What a submission asked for, where its plan has it in another form.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) env: UniqueMap,
    cwd: Option<String>,
    limits: LimitsRequest,
    globs: Vec<String>,
    changes: Option<ChangesMode>,
    is_in_session: bool,
}

impl Asked {
    pub(super) fn of(request: &SubmitRequest) -> Self {
        Self {
            env: request.env.clone(),
            cwd: request.cwd.clone(),
            limits: request.limits,
            globs: request.artifacts.globs.clone(),
            changes: request.changes,
            is_in_session: request.session.is_some(),
        }
    }
}

impl Plan {
    /// A submission of which the same plan is made, with all that its start needs. What the daemon adds of
    /// its own at a start, placeholders and certificates, is not in it.
    pub fn submission(&self, execution: &Execution) -> SubmitRequest {
        SubmitRequest {
            argv: self.argv.clone(), // source is a file by now
            env: self.asked.env.clone(),
            cwd: self.asked.cwd.clone(),
            stdin: (!self.stdin.is_empty()).then(|| Content(self.stdin.clone())),
            stdin_open: self.stdin_open,
            terminal: self.terminal,
            files: self.files.clone(),
            limits: self.asked.limits,
            artifacts: ArtifactRequest { globs: self.asked.globs.clone() },
            session: self.asked.is_in_session.then_some(execution.session),
            image: execution.image.as_ref().map(|image| image.name.clone()),
            changes: self.asked.changes,
            policy: Some(execution.policy.name.clone()),
            ..SubmitRequest::default()
        }
    }
}
