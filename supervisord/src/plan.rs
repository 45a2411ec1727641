//! From what was asked to what will be launched. Pure: a submission and a policy in, a plan or a
//! refusal out.

mod again;
pub mod streams;

use std::collections::BTreeMap;

use supervisor_api::TerminalSize;
use supervisor_api::{
    ApiError, ErrorCode, Execution, InputFile, Inputs, Language, Limit, Limits, LimitsRequest,
    SubmitRequest, UniqueMap,
};
use supervisor_launch::Input;
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{Image, Listeners, Prepare, SandboxLimits, Start, Storage, Workspace};
use supervisor_policy::{
    LimitsAsked, Refusal, RefusalReason, Resolved, RootAccess, WorkspacePlace,
    check_environment_name, check_environment_value,
};

use crate::admission::Need;
use crate::plan::again::Asked;
use crate::session::Record as Session;
use crate::traffic::Way;
use crate::warm::Interpreter;
use crate::workspace::{GlobSelection, WorkingDirectory, check_files};

/// Labels of an execution at the most, and the bytes of their names and values: they are for lists.
const MAX_LABELS: usize = 32;
const MAX_LABEL_NAME: usize = 64;
const MAX_LABEL_VALUE: usize = 256;

/// Variables at the most; the bytes are bounded with the arguments'.
const MAX_VARIABLES: usize = 1024;

/// What comes before the names of files in the workspace's root.
const WORKSPACE: &str = "/workspace/";

/// Where programs are looked for.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What every payload finds in its environment, unless its policy or submission says otherwise.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("HOME", "/workspace"),
    ("LANG", "C.UTF-8"),
    ("LOGNAME", "sandbox"),
    ("PATH", PATH),
    ("SHELL", "/bin/bash"),
    ("TMPDIR", "/tmp"),
    ("USER", "sandbox"),
];

/// What will be launched.
#[derive(Debug)]
pub struct Plan {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The limits in force.
    pub limits: Limits,
    /// The start message.
    pub start: Vec<u8>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Whether more of it may come while it runs.
    pub stdin_open: bool,
    /// The size of the terminal that its streams are to be.
    pub terminal: Option<TerminalSize>,
    /// Files that stand in the workspace at the start.
    pub files: Vec<InputFile>,
    /// What it was given, by digest.
    pub inputs: Inputs,
    /// Which files to keep.
    pub globs: GlobSelection,
    /// Which system calls the payload may make.
    pub profile: Profile,
    /// Whether files of the workspace and /tmp may be executed.
    pub exec: bool,
    /// The sockets of its way out, if it is to have one.
    pub listeners: Option<Listeners>,
    /// Its way out, once it was given it. What its sandbox's sockets take without one nobody hears.
    pub way: Option<Way>,
    /// What its root is.
    pub image: Image,
    /// Whether what it is can be written.
    pub root: RootAccess,
    /// Whether the payload can make pseudo-terminals.
    pub pseudo_terminals: bool,
    /// Where the workspace is to be.
    pub workspace: WorkspacePlace,
    /// The session's workspace, by number; without a session it is a new one.
    pub kept: Option<u128>,
    /// Whether it is an interpreter, which speaks with us.
    pub channel: bool,
    /// The interpreter that could be found parked for it.
    pub interpreter: Option<Interpreter>,
    /// What was asked for, where the plan has it in another form.
    asked: Asked,
    /// The working directory, absolute.
    cwd: String,
}

impl Plan {
    /// Checks a submission against its policy. In a session its source has the name of a file that it was given
    /// there. With sockets it still has to be given its way out.
    pub fn new(
        request: SubmitRequest,
        policy: &Resolved,
        (session, source): (Option<&Session>, Option<&str>),
        listeners: Option<Listeners>,
    ) -> Result<Self, ApiError> {
        check_labels(&request.labels)?;
        let limits = match session {
            Some(session) => limits_in(session, &request.limits, policy)?,
            None => limits(&request.limits, policy)?,
        };
        let usual = request.language.map(source_name);
        let source = source.or(usual).unwrap_or_default().to_owned();
        // What is parked has the usual name on its command line.
        let could =
            usual == Some(&source) && Interpreter::could_run(&request, policy, session.is_some());
        let asked = Asked::of(&request);
        let mut files = request.files;
        let argv = match (request.language, request.source) {
            (Some(language), Some(text)) if request.argv.is_empty() => {
                let (argv, file) = interpret(language, &source, text, request.args);
                files.push(file);
                argv
            }
            (None, None) if !request.argv.is_empty() && request.args.is_empty() => request.argv,
            _ => {
                let problem = "exactly one of argv and language with source must be given";
                return Err(ApiError::invalid("argv", problem)
                    .with_hint("args go with source; with argv they are part of it"));
            }
        };
        if let Err(problem) = check_files(&files) {
            return Err(ApiError::invalid(problem.field(), problem.to_string()));
        }
        let cwd = request.cwd.as_deref().unwrap_or_default();
        let cwd = WorkingDirectory::try_from(cwd)
            .map_err(|problem| ApiError::invalid("cwd", problem.to_string()))?;
        let globs = GlobSelection::new(&request.artifacts.globs).map_err(|problem| {
            ApiError::invalid(format!("artifacts.globs[{}]", problem.index), problem.to_string())
        })?;
        let streams::Given { stdin, stdin_open } =
            streams::given(request.stdin, request.stdin_open, request.terminal)?;
        let inputs = Inputs::of(&files, &stdin, &request.env);
        let terminal = request.terminal.is_some();
        let environment = environment_of(policy, &[], terminal, &request.env.0)?;
        let cwd = cwd.absolute();
        let start = start(&argv, &environment, &cwd, "")?;
        let profile = Profile::parse(policy.profile().as_str()).ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "a profile that launches don't know")
        })?;
        Ok(Self {
            argv,
            limits,
            start,
            stdin,
            stdin_open,
            terminal: request.terminal,
            files,
            inputs,
            globs,
            profile,
            exec: policy.exec(),
            listeners,
            way: None,
            image: Image::Default,
            root: policy.root(),
            pseudo_terminals: policy.pseudo_terminals(),
            workspace: match session {
                Some(_) => WorkspacePlace::Disk,
                None => policy.workspace(),
            },
            kept: session.map(|session| session.id.bits()),
            channel: false,
            interpreter: could.then(|| Interpreter::new(policy)),
            asked,
            cwd,
        })
    }

    /// Gives it its way out, with the variables and the certificate by which its program finds that.
    pub fn give(&mut self, way: Way, policy: &Resolved) -> Result<(), ApiError> {
        let (terminal, asked) = (self.terminal.is_some(), &self.asked.env.0);
        let environment = environment_of(policy, way.environment(), terminal, asked)?;
        self.start = start(&self.argv, &environment, &self.cwd, &way.certificate())?;
        self.way = Some(way);
        Ok(())
    }

    /// Whether it has yet to be given standard input that only we have once it runs. Input that stays open
    /// is in the launcher's hands before that.
    pub fn owes_input(&self) -> bool {
        !self.stdin.is_empty() && !self.stdin_open
    }

    /// What it takes of its owner's ceilings.
    pub fn need(&self) -> Need {
        let need = Need { submission: self.bytes(), ..need(&self.limits) };
        match self.kept {
            // Its workspace counts as long as its session lives.
            Some(_) => Need { workspace: 0, ..need },
            None => need,
        }
    }

    /// What it takes of memory, nearly.
    fn bytes(&self) -> u64 {
        let files = self.files.iter().map(|file| file.path.len() + file.content.0.len());
        (files.sum::<usize>() + self.stdin.len() + self.start.len()) as u64
    }

    /// The launch request. Where the host has no workspaces on disk, it is for one in memory: in strict
    /// mode no such submission gets here, and in best-effort mode the result says it.
    pub fn prepare(&self, execution: u128, owner: u32, landlock: u8, disk: Storage) -> Prepare {
        let workspace = match (self.kept, self.workspace) {
            (Some(id), _) => Workspace::Kept(id),
            (None, WorkspacePlace::Disk) if disk != Storage::Memory => Workspace::Disk,
            (None, _) => Workspace::Memory,
        };
        Prepare {
            execution,
            image: self.image,
            profile: self.profile,
            exec: self.exec,
            landlock,
            limits: sandbox_limits(&self.limits),
            listeners: self.listeners,
            owner: Some(owner),
            workspace,
            channel: self.channel,
            input: match self.terminal {
                Some(TerminalSize { rows, columns }) => Input::Terminal { rows, columns },
                None if self.stdin_open => Input::Open,
                None => Input::Given,
            },
            writable_root: self.root == RootAccess::Writable,
            pseudo_terminals: self.pseudo_terminals,
        }
    }
}

/// What an execution with these limits, of which there is no plan, takes of its owner's ceilings.
pub fn need(limits: &Limits) -> Need {
    Need { memory: limits.memory_max, workspace: limits.workspace_bytes, submission: 0 }
}

/// The part of the limits that the launcher and init apply.
pub fn sandbox_limits(limits: &Limits) -> SandboxLimits {
    SandboxLimits {
        memory_max: limits.memory_max,
        pids_max: limits.pids_max,
        cpu_max: limits.cpu_max,
        cpu_time: limits.cpu_time,
        open_files: limits.open_files,
        workspace_bytes: limits.workspace_bytes,
        // The root directory is one of them.
        workspace_inodes: limits.workspace_inodes.saturating_add(1),
        tmp_bytes: limits.tmp_bytes,
        tmp_inodes: limits.tmp_inodes,
        io_read_bps: limits.io_read_bps,
        io_write_bps: limits.io_write_bps,
        io_read_iops: limits.io_read_iops,
        io_write_iops: limits.io_write_iops,
    }
}

pub(crate) fn check_labels(labels: &UniqueMap) -> Result<(), ApiError> {
    let labels = &labels.0;
    if labels.len() > MAX_LABELS {
        return Err(ApiError::invalid("labels", format!("at most {MAX_LABELS} labels")));
    }
    for (name, value) in labels {
        let sizes = name.len() > MAX_LABEL_NAME || value.len() > MAX_LABEL_VALUE;
        if name.is_empty() || sizes || name.chars().chain(value.chars()).any(char::is_control) {
            let problem = format!(
                "a label's name has 1–{MAX_LABEL_NAME} bytes, its value at most \
                 {MAX_LABEL_VALUE}, and neither has control characters"
            );
            return Err(ApiError::invalid("labels", problem));
        }
    }
    Ok(())
}

/// The limits of an execution in a session, whose workspace has its own already.
fn limits_in(
    session: &Session,
    asked: &LimitsRequest,
    policy: &Resolved,
) -> Result<Limits, ApiError> {
    let held = [
        (Limit::WorkspaceBytes, session.workspace_bytes),
        (Limit::WorkspaceInodes, session.workspace_inodes),
    ];
    for (limit, value) in held {
        if asked.get(limit).is_some_and(|asked| asked != value) {
            let problem = format!("the session's workspace has {value} for {limit}");
            let field = format!("limits.{}", limit.name());
            return Err(ApiError::invalid(field, problem).with_hint("leave it out"));
        }
    }
    // What the session was given once is not held against the policy of this moment again.
    let others = LimitsRequest { workspace_bytes: None, workspace_inodes: None, ..*asked };
    let mut granted = limits(&others, policy)?;
    for (limit, value) in held {
        granted.set(limit, value);
    }
    Ok(granted)
}

pub(crate) fn limits(asked: &LimitsRequest, policy: &Resolved) -> Result<Limits, ApiError> {
    let mut translated = LimitsAsked::default();
    for limit in Limit::ALL {
        if let (Some(value), Some(known)) = (asked.get(*limit), theirs(*limit)) {
            translated.set(known, value);
        }
    }
    let granted = policy.limits(&translated).map_err(|refusal| refuse(&refusal))?;
    let mut limits = NONE;
    for limit in Limit::ALL {
        let known = theirs(*limit).ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, format!("policies don't know the limit {limit}"))
        })?;
        limits.set(*limit, granted.get(known));
    }
    Ok(limits)
}

pub(crate) const NONE: Limits = Limits {
    memory_max: 0,
    pids_max: 0,
    cpu_max: 0,
    cpu_time: 0,
    wall_time: 0,
    open_files: 0,
    workspace_bytes: 0,
    workspace_inodes: 0,
    tmp_bytes: 0,
    tmp_inodes: 0,
    output_bytes: 0,
    artifact_bytes: 0,
    artifact_count: 0,
    io_read_bps: 0,
    io_write_bps: 0,
    io_read_iops: 0,
    io_write_iops: 0,
};

/// The same limits in the policy's terms.
pub fn to_policy(limits: &Limits) -> supervisor_policy::Limits {
    supervisor_policy::PerLimit::from_fn(|known| {
        let ours = Limit::ALL.iter().find(|limit| limit.name() == known.name());
        ours.map_or(0, |limit| limits.get(*limit))
    })
}

pub(crate) fn theirs(limit: Limit) -> Option<supervisor_policy::Limit> {
    supervisor_policy::Limit::from_name(limit.name())
}

fn refuse(refusal: &Refusal) -> ApiError {
    let code = match refusal.reason {
        RefusalReason::AboveMaximum => ErrorCode::PolicyDenied,
        RefusalReason::BelowLeast | RefusalReason::Zero => ErrorCode::InvalidArgument,
    };
    ApiError::new(code, refusal.to_string())
        .with_field(format!("limits.{}", refusal.limit.name()))
        .with_hint(refusal.remedy.clone())
}

/// Source becomes a file of the workspace, so that tracebacks name lines and modules beside it can
/// be imported.
fn interpret(
    language: Language,
    name: &str,
    text: String,
    args: Vec<String>,
) -> (Vec<String>, InputFile) {
    let content = supervisor_api::Content(text.into_bytes());
    let file = InputFile { path: name.to_owned(), content, executable: false };
    let words = interpreter_of(language).iter().map(|&word| word.to_owned());
    let argv = words.chain([format!("{WORKSPACE}{name}")]).chain(args).collect();
    (argv, file)
}

/// What source is interpreted by.
const fn interpreter_of(language: Language) -> &'static [&'static str] {
    match language {
        Language::Python => &["python3", "-u"], // unbuffered: output is seen live
        Language::Bash => &["bash"],
        Language::Node => &["node"],
    }
}

/// The file that source becomes, unless another one in its session has that name.
pub const fn source_name(language: Language) -> &'static str {
    match language {
        Language::Python => "main.py",
        Language::Bash => "main.sh",
        Language::Node => "main.js",
    }
}

/// The file that the source of an execution has become.
pub fn source_of(execution: &Execution) -> Option<&str> {
    let words = interpreter_of(execution.language?);
    let (program, rest) = execution.argv.split_at_checked(words.len())?;
    let name = rest.first()?.strip_prefix(WORKSPACE)?;
    (program == words && name.starts_with("main")).then_some(name)
}

/// `NAME=value` entries that a program finds if its submission adds none. `way` are those of its way out.
pub fn usual_environment(
    policy: &Resolved,
    way: &[(String, String)],
) -> Result<Vec<Vec<u8>>, ApiError> {
    environment_of(policy, way, false, &BTreeMap::new()).map(|environment| entries(&environment))
}

fn environment_of(
    policy: &Resolved,
    way: &[(String, String)],
    terminal: bool,
    asked: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ApiError> {
    let mut merged: BTreeMap<String, String> = BTreeMap::new();
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    merged.extend(ENVIRONMENT.into_iter().map(own));
    merged.extend(terminal.then_some(streams::TERMINAL).map(own));
    merged.extend(way.iter().cloned());
    merged.extend(policy.environment().map(own));
    for (name, value) in asked {
        let field = || format!("env.{name}");
        check_environment_name(name)
            .map_err(|problem| ApiError::invalid("env", problem.to_string()))?;
        check_environment_value(value)
            .map_err(|problem| ApiError::invalid(field(), problem.to_string()))?;
        merged.insert(name.clone(), value.clone());
    }
    if merged.len() > MAX_VARIABLES {
        return Err(ApiError::invalid("env", format!("at most {MAX_VARIABLES} variables")));
    }
    Ok(merged)
}

fn entries(environment: &BTreeMap<String, String>) -> Vec<Vec<u8>> {
    let entry = |(name, value): (&String, &String)| format!("{name}={value}").into_bytes();
    environment.iter().map(entry).collect()
}

fn start(
    argv: &[String],
    environment: &BTreeMap<String, String>,
    cwd: &str,
    authority: &str,
) -> Result<Vec<u8>, ApiError> {
    if let Some(index) = argv.iter().position(|word| word.contains('\0')) {
        return Err(ApiError::invalid(format!("argv[{index}]"), "an argument can't hold NUL"));
    }
    if argv.first().is_some_and(String::is_empty) {
        return Err(ApiError::invalid("argv[0]", "a program has a name"));
    }
    let start = Start {
        cwd: cwd.as_bytes().to_vec(),
        argv: argv.iter().map(|word| word.clone().into_bytes()).collect(),
        environment: entries(environment),
        authority: authority.as_bytes().to_vec(),
        parks: None,
    };
    start.encode().map_err(|_| {
        let most = supervisor_launch::MAX_START;
        ApiError::invalid("argv", format!("arguments and environment are at most {most} bytes"))
            .with_hint("hand large data in as a file or on standard input")
    })
}
