//! What this host can enforce, found by making a sandbox and asking what was applied to it: the
//! only probe that can't be wrong.

use supervisor_api::{ControlReport, ControlStatus, Doctor, Limits, Mode};
use supervisor_launch::seccomp::Profile;
use supervisor_launch::{
    Applied, Descriptor, Image, Input, Prepare, Report, Step, Storage, Workspace,
};
use supervisor_policy::WorkspacePlace;

use crate::controls::{self, Held};
use crate::hard_limits;
use crate::launcher::{LaunchError, Launcher};
use crate::outcome::{is_short_limit, setup_failed};
use crate::plan::sandbox_limits;
use crate::reports::Reports;

/// Limits of the sandbox that is made to see whether one can be made. Nothing runs in it.
const PROBE: Limits = Limits {
    memory_max: 64 << 20,
    pids_max: 8,
    cpu_max: 100,
    cpu_time: 10_000,
    wall_time: 10_000,
    open_files: 64,
    workspace_bytes: 1 << 20,
    workspace_inodes: 16,
    tmp_bytes: 1 << 20,
    tmp_inodes: 16,
    output_bytes: 1,
    artifact_bytes: 1,
    artifact_count: 1,
    io_read_bps: 0,
    io_write_bps: 0,
    io_read_iops: 0,
    io_write_iops: 0,
};

/// What was found.
#[derive(Debug, Clone)]
pub struct Host {
    kernel: String,
    /// Where dumps go.
    core_pattern: String,
    /// Whether the launcher shows images; one of an older version can't say.
    images: Option<bool>,
    found: Result<(Applied, u8), Unable>,
}

/// No sandbox can be made here.
#[derive(Debug, Clone)]
pub struct Unable {
    /// Where it failed.
    pub reason: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Host {
    /// Makes a sandbox, waits until its init reports that it is finished, and ends it.
    pub async fn probe(launcher: &Launcher, execution: u128) -> Self {
        let found = probe(launcher, execution).await;
        // No name has this key: whether it is looked up is the answer.
        let images = match launcher.find_image([0; 32]).await {
            Err(LaunchError::Failed { step: Step::FindImage, errno }) => Some(errno != 0),
            Err(_) => None,
            Ok(_) => Some(true),
        };
        if let Err(error) = launcher.destroy(execution).await {
            tracing::debug!(%error, "the probe's sandbox was not there to end");
        }
        let read = |name: &str| {
            let text = std::fs::read_to_string(format!("/proc/sys/kernel/{name}"));
            text.unwrap_or_default().trim().to_owned()
        };
        Self { kernel: read("osrelease"), core_pattern: read("core_pattern"), images, found }
    }

    /// Why no sandbox can be made, if none can.
    pub fn unable(&self) -> Option<&Unable> {
        self.found.as_ref().err()
    }

    /// The Landlock ABI that init could apply.
    pub fn landlock(&self) -> u8 {
        self.found.as_ref().map_or(0, |(_, landlock)| *landlock)
    }

    /// What would hold a workspace on disk; memory if there can be none.
    pub fn disk(&self) -> Storage {
        self.found.as_ref().map_or(Storage::Memory, |(applied, _)| applied.disk)
    }

    /// How the controls would hold a sandbox.
    pub fn matrix(
        &self,
        profile: Profile,
        place: WorkspacePlace,
        limits: &Limits,
    ) -> Vec<ControlReport> {
        match &self.found {
            Ok((applied, landlock)) => {
                let mut applied = *applied;
                if place == WorkspacePlace::Disk {
                    applied.workspace = applied.disk;
                }
                let held = Held { applied, landlock: *landlock, profile, place };
                controls::matrix(&held, limits)
            }
            Err(unable) => controls::nothing(&unable.reason, unable.remedy),
        }
    }

    /// How the ceilings of each uid hold, over all that it runs.
    fn uid_ceilings(&self) -> ControlReport {
        match &self.found {
            Ok((applied, _)) => controls::uid_ceilings(applied),
            Err(unable) => controls::without_ceilings(&unable.reason, unable.remedy),
        }
    }

    /// The matrix of this host, with every limit asked for.
    pub fn doctor(&self, mode: Mode) -> Doctor {
        let io = Limits { io_read_bps: 1 << 20, ..PROBE };
        // The profile that wants the most of the kernel: what is enforced here is so for every policy.
        let mut controls = self.matrix(Profile::NoNetwork, WorkspacePlace::Memory, &io);
        controls.push(self.uid_ceilings());
        if let Ok((applied, _)) = &self.found {
            controls.push(controls::core_dumps(applied, &self.core_pattern));
            controls.push(controls::session_keyring(applied));
        }
        controls.extend(self.images.map(controls::images));
        Doctor {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            mode,
            kernel: self.kernel.clone(),
            healthy: controls.iter().all(|line| line.status == ControlStatus::Enforced),
            controls,
        }
    }
}

/// The least that a sandbox can be.
pub fn simplest(execution: u128) -> Prepare {
    Prepare {
        execution,
        image: Image::Default,
        profile: Profile::Default,
        exec: true,
        landlock: 0,
        limits: sandbox_limits(&PROBE),
        listeners: None,
        owner: None,
        workspace: Workspace::Memory,
        channel: false,
        input: Input::Given,
        writable_root: false,
        pseudo_terminals: false,
    }
}

async fn probe(launcher: &Launcher, execution: u128) -> Result<(Applied, u8), Unable> {
    let request = simplest(execution);
    let mut sandbox = launcher.prepare(request).await.map_err(|error| match error {
        LaunchError::Failed { step, errno } => unable(step, errno),
        LaunchError::Old | LaunchError::NoDescriptors | LaunchError::Silent | LaunchError::Gone => {
            Unable { reason: error.to_string(), remedy: "see its journal" }
        }
    })?;
    let report = sandbox.take(Descriptor::Report).and_then(|pipe| Reports::new(pipe).ok());
    let silent = || Unable {
        reason: "init ended without a report".to_owned(),
        remedy: "see the kernel's log",
    };
    let reports = report.ok_or_else(silent)?;
    match reports.next().await {
        Ok(Some(Report::Ready { landlock })) => Ok((sandbox.applied, landlock)),
        Ok(Some(Report::Failed { step, errno })) => Err(unable(step, errno)),
        _ => Err(silent()),
    }
}

fn unable(step: Step, errno: i32) -> Unable {
    if is_short_limit(step, errno) {
        let reason = hard_limits::short(&PROBE).problem;
        return Unable { reason, remedy: remedy(step) };
    }
    let reason = match setup_failed(step, errno) {
        supervisor_api::Outcome::SetupFailed { step, reason } => format!("step {step}: {reason}"),
        other => format!("{other:?}"),
    };
    Unable { reason, remedy: remedy(step) }
}

/// What usually stands behind a step that fails on a healthy machine.
fn remedy(step: Step) -> &'static str {
    match step {
        Step::Clone | Step::MapIds | Step::Unshare | Step::BecomePayload => {
            "allow user namespaces: sysctl user.max_user_namespaces, \
             kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns"
        }
        Step::GrantWorkspace => {
            "boot Linux 6.3 or newer, whose tmpfs can be id-mapped, or give the launcher a directory \
             for workspaces on disk (--workspaces)"
        }
        Step::MakeDisk | Step::MountDisk => {
            "install e2fsprogs, and let the launcher have the loop devices (systemd: DeviceAllow=)"
        }
        Step::MountProc => {
            "take mounts off /proc in the launcher's mount namespace (systemd: \
             ProtectKernelTunables=, ProtectKernelLogs=, ProcSubset=)"
        }
        Step::Landlock => "boot a kernel with Landlock and name it in lsm=",
        Step::Seccomp => "boot a kernel with CONFIG_SECCOMP_FILTER",
        Step::CountLocks => {
            "with EBUSY, take the supervisor out of a container whose manager has itself asked about system calls \
             (seccomp listeners; LXD: security.syscalls.intercept.*), which there can be one of; else boot a kernel \
             with CONFIG_SECCOMP_FILTER and CONFIG_FILE_LOCKING"
        }
        Step::CountListeners => {
            "boot a kernel with CONFIG_INET and CONFIG_PROC_FS, and leave /proc/net as it is"
        }
        Step::MakeNetwork => "allow network namespaces: sysctl user.max_net_namespaces",
        Step::MakeCgroup | Step::WriteLimits => {
            "give the launcher a cgroup v2 of its own (systemd: Delegate=)"
        }
        Step::SetRlimits => {
            "raise the hard limit there to what executions are to have, which is more than this probe has (shell: \
             ulimit -H; systemd: LimitCPU= and the like)"
        }
        _ => "see the journal of the launcher and the kernel's log",
    }
}
