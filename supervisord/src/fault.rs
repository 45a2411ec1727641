//! Moments at which a test has the daemon die, as if somebody had killed it just there.
//!
//! Where the compiler keeps debug assertions, `SUPERVISORD_FAULT=POINT:N` in the environment of a service
//! ends the process by SIGKILL when it comes to a point for the Nth time, and `supervisord --fault-points`
//! lists the points. A release build has neither the variable nor the names: [`reach`] is empty there, and
//! the environment is not looked at. Nor could a debug build be harmed by it: a service's environment is
//! its unit's, which is root's word, and all that the word can do is what `kill -9` does. The same goes for
//! `SUPERVISORD_CLOCK=FILE`, by which a test turns the clock.

/// The points, each named after what has been done when it is reached.
macro_rules! points {
    ($($point:ident)*) => {
        /// A point in the daemon's work, named after what has been done when it is reached.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "a name says all there is to say")]
        pub enum Point {
            $($point),*
        }

        /// The names of all points.
        #[cfg(debug_assertions)]
        pub const NAMES: &[&str] = &[$(stringify!($point)),*];
    };
}

points! {
    SubmissionAccepted
    SubmissionAudited
    SubmissionRecorded
    UntoldRecorded
    PlaceMade
    InputOwed
    TurnTaken
    SandboxMade
    WorkspaceSeen
    FilesWritten
    BeginRecorded
    PayloadStarted
    InputGiven
    StartRecorded
    OutputMade
    OutputKept
    OutputCut
    OrderWritten
    ReasonKept
    SandboxKilled
    EndSeen
    OutputDrained
    ArtifactsBegun
    ArtifactKept
    ArtifactsKept
    ChangesKept
    EndKept
    SandboxRemoved
    OutputSynced
    EndWritten
    EndAudited
    EndRecorded
    EndForgotten
    EndTold
    StoreApplied
    StoreCommitted
    StoreCounted
    AuditSealed
    AuditWritten
    AuditSynced
    CheckpointWritten
    HeadWritten
    WorkspaceMade
    SessionRecorded
    SessionExtended
    SessionUnused
    WorkspaceRemoved
    SessionForgotten
    UploadBegun
    UploadWritten
    UploadFinished
    EntryUnpacked
    ArchiveUnpacked
    ChangesStaged
    ApplyingNoted
    ChangePlaced
    ChangesCommitted
    ChangesSettled
    SessionsRecovered
    StrangersDestroyed
    ExecutionAdopted
    ExecutionWrittenOff
    ExecutionQueuedAgain
    EndResumed
    FilesSwept
}

#[cfg(debug_assertions)]
mod armed {
    use std::ffi::OsString;
    use std::fs;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    use super::{NAMES, Point};

    const VARIABLE: &str = "SUPERVISORD_FAULT";

    /// The point at which to die, and how often it has yet to be reached for that.
    static ARMED: OnceLock<(&str, AtomicU32)> = OnceLock::new();

    /// The variable with the name of a file that says how many seconds the clock is off.
    const CLOCK: &str = "SUPERVISORD_CLOCK";

    /// How many seconds the clock is off; none where nobody turns it.
    pub fn clock_is_off() -> i64 {
        static FILE: OnceLock<Option<OsString>> = OnceLock::new();
        let file = FILE.get_or_init(|| std::env::var_os(CLOCK)).as_ref();
        let text = file.and_then(|file| fs::read_to_string(file).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// Reads the variable, if there is one.
    ///
    /// # Errors
    /// When it names no point, or no number.
    pub fn arm() -> Result<(), String> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
        let text = text.to_string_lossy();
        let parsed = text.split_once(':').and_then(|(name, count)| {
            let point = NAMES.iter().find(|each| **each == name)?;
            Some((*point, AtomicU32::new(count.parse().ok()?)))
        });
        let armed = parsed.ok_or_else(|| format!("{VARIABLE} is {text:?}, which is no POINT:N"))?;
        tracing::warn!(point = armed.0, "this daemon dies where a test wants it to");
        ARMED.set(armed).map_err(|_| format!("{VARIABLE} was read twice"))
    }

    /// Dies here, if this is where.
    pub fn reach(point: Point) {
        let Some((name, left)) = ARMED.get() else { return };
        let is_here = NAMES.get(point as usize) == Some(name);
        if is_here && left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // The filter of system calls lets a process signal itself, and nobody else.
            if let Err(error) = raise(Signal::SIGKILL) {
                tracing::error!(%error, "can't die where a test wants it");
            }
        }
    }
}

#[cfg(debug_assertions)]
pub use armed::{arm, clock_is_off, reach};

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
pub const fn reach(_point: Point) {}
