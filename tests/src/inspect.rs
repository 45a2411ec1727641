//! Processes of the host, as /proc tells of them. Whatever ends meanwhile is passed over.

use std::fs;
use std::path::Path;

use supervisor_api::ExecutionId;

/// Every process.
pub fn process_ids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process, those that have ended and were not waited for included.
pub fn children(pid: u32) -> Vec<u32> {
    process_ids().into_iter().filter(|each| parent(*each) == Some(pid)).collect()
}

/// Its parent.
pub(crate) fn parent(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/status");
    status_field(Path::new(&path), "PPid")?.parse().ok()
}

/// Its real uid.
pub fn owner_uid(pid: u32) -> Option<u32> {
    let path = format!("/proc/{pid}/status");
    status_field(Path::new(&path), "Uid")?.split_whitespace().next()?.parse().ok()
}

/// A field of a status file, such as that of a thread.
pub fn status_field(file: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// Its words, each ended by NUL; empty where there is no such process.
pub fn command_line(pid: u32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}

/// Its namespace of this kind.
#[track_caller]
pub fn namespace(pid: u32, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}"));
    link.unwrap_or_else(|error| panic!("{kind} of {pid}: {error}")).display().to_string()
}

/// Its resident set in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let file = format!("/proc/{pid}/status");
    let text = status_field(file.as_ref(), "VmRSS").unwrap_or_default();
    text.trim_end_matches(" kB").parse().map_or(0, |kilobytes: u64| kilobytes * 1024)
}

/// Its cgroups.
pub(crate) fn cgroups(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default()
}

/// Its open descriptors, as far as they are what a leak would be. Namespaces are left out: the
/// launcher keeps one for every range of ids that it has ever used.
pub fn descriptors(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .map(|target| target.display().to_string())
        .filter(|target| !target.starts_with("user:["))
        .collect()
}

/// The processes of an execution, by the cgroup that is named after it.
pub(crate) fn processes_of(id: ExecutionId) -> Vec<u32> {
    let name = format!("/ex-{:032x}", id.bits());
    let mut found = process_ids();
    found.retain(|pid| cgroups(*pid).contains(&name));
    found
}
