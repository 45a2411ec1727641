//! What a sandbox is parked for, and what can have one.

use supervisor_api::{ChangesMode, Language, PolicyReference, SessionId, SubmitRequest};
use supervisor_launch::{Listeners, Prepare, Workspace};
use supervisor_policy::{Resolved, RootAccess};

use crate::admission::Need;

/// Modules that are imported ahead where the policy names none: what small programs most often use of the
/// standard library. Each makes the end of every program longer, which takes it apart, so what costs more than
/// it is used (asyncio, ssl, hashlib, argparse, subprocess, concurrent.futures) is left to the program.
const MODULES: [&str; 26] = [
    "base64",
    "bisect",
    "collections.abc",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "glob",
    "heapq",
    "io",
    "itertools",
    "json",
    "math",
    "operator",
    "pathlib",
    "random",
    "re",
    "string",
    "struct",
    "textwrap",
    "time",
    "traceback",
    "typing",
];

/// Modules that are imported ahead besides those where the policy lets something leave: most programs do that by HTTPS.
const MODULES_OF_A_WAY_OUT: [&str; 4] = ["http.client", "socket", "ssl", "urllib.request"];

/// Beginnings of variables that an interpreter, its loader, its C library or a module reads when it starts.
const ACT_AT_START: [&str; 14] = [
    "PYTHON", "LD_", "LC_", "LANG", "GLIBC_", "MALLOC_", "GCONV_", "LOCPATH", "NLSPATH", "TZ",
    "PATH", "HOME", "TMPDIR", "OPENSSL_",
];

/// Whether a variable would have to be there when the interpreter starts.
pub fn acts_at_start(name: &str) -> bool {
    ACT_AT_START.iter().any(|beginning| name.starts_with(beginning))
}

/// The interpreter that an execution could find parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    /// Modules that it has imported.
    pub modules: Vec<String>,
}

impl Interpreter {
    /// Whether a submission could find its interpreter parked: source in Python that runs in the workspace's
    /// root, with streams that are pipes and no variable that acts when an interpreter starts, under a policy
    /// that does not refuse it.
    ///
    /// In a session what is there when it is parked may be other when it is claimed: no module of a policy's own
    /// is imported then, which may look, and a root that can be written is one execution's at a time.
    pub fn could_run(request: &SubmitRequest, policy: &Resolved, in_session: bool) -> bool {
        let is_source = request.language == Some(Language::Python) && request.source.is_some();
        let at_root =
            request.cwd.as_deref().is_none_or(|cwd| matches!(cwd, "" | "." | "/workspace"));
        let fixed = |name: &str| name.starts_with("PYTHON") || name == "HOME";
        let mut placeholders =
            policy.egress().bindings().iter().filter_map(|binding| binding.placeholder());
        let fixed = policy.environment().any(|(name, _)| fixed(name)) || placeholders.any(fixed);
        let acts = request.env.0.keys().any(|name| acts_at_start(name));
        let plain = !request.stdin_open && request.terminal.is_none();
        // What a module of the policy's own reads when it is imported is not known.
        let own = policy.warm_modules().is_some() && !request.env.0.is_empty();
        let may_in_session = policy.warm_modules().is_none()
            && policy.root() == RootAccess::ReadOnly
            && request.changes != Some(ChangesMode::Hold);
        policy.warm_starts()
            && (may_in_session || !in_session)
            && is_source
            && at_root
            && plain
            && !fixed
            && !acts
            && !own
    }

    /// One with the policy's modules.
    pub fn new(policy: &Resolved) -> Self {
        let of_way: &[&str] = if policy.egress().is_empty() { &[] } else { &MODULES_OF_A_WAY_OUT };
        let usual = || MODULES.iter().chain(of_way).map(|&name| name.to_owned()).collect();
        Self { modules: policy.warm_modules().map_or_else(usual, <[String]>::to_vec) }
    }
}

/// Everything that is settled about an execution before anybody submits it. Two of them that are equal
/// can't be told apart by what runs in their sandboxes, but for the placeholders and the authority of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    prepare: Prepare,
    policy: PolicyReference,
    /// The reading of the settings that it is of.
    generation: u64,
    interpreter: Interpreter,
}

impl Recipe {
    /// The recipe for executions that are launched like this one; the request's execution does not count.
    pub fn new(
        prepare: Prepare,
        policy: PolicyReference,
        generation: u64,
        interpreter: Interpreter,
    ) -> Self {
        Self { prepare: Prepare { execution: 0, ..prepare }, policy, generation, interpreter }
    }

    /// The launch request of one such sandbox.
    pub fn prepare(&self, execution: u128) -> Prepare {
        Prepare { execution, ..self.prepare }
    }

    /// The sockets that it is to have, if its policy lets anything leave.
    pub fn listeners(&self) -> Option<Listeners> {
        self.prepare.listeners
    }

    /// The session in whose workspace it is, if it is in one.
    pub fn session(&self) -> Option<SessionId> {
        match self.prepare.workspace {
            Workspace::Kept(id) => Some(SessionId::from_bits(id)),
            Workspace::Memory | Workspace::Disk => None,
        }
    }

    /// The uid on whose behalf it is.
    pub fn owner(&self) -> u32 {
        self.prepare.owner.unwrap_or_default()
    }

    /// The policy's name.
    pub fn policy(&self) -> &str {
        &self.policy.name
    }

    /// The reading of the settings that it is of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The interpreter in it.
    pub fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// What one takes of its owner's ceilings.
    pub fn need(&self) -> Need {
        let limits = &self.prepare.limits;
        // A session's workspace counts as long as that lives.
        let workspace = if self.session().is_some() { 0 } else { limits.workspace_bytes };
        Need { memory: limits.memory_max, workspace, submission: 0 }
    }
}
