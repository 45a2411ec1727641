//! What about a change deserves a look, by its path and by what stands there. Words only: a name that is not
//! among these is not thereby harmless.
//!
//! Names are compared without regard to case: on other systems, where the files may go, `.GIT` is `.git`.

use std::collections::{HashMap, HashSet};

use supervisor_api::{FileFacts, FileKind, Hazard};

/// Files that a shell runs when it starts, or when it enters a directory.
const SHELL: &[&str] = &[
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".login",
    ".logout",
    ".cshrc",
    ".tcshrc",
    ".kshrc",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".zlogout",
    ".xprofile",
    ".xinitrc",
    ".inputrc",
    ".envrc",
    "config.fish",
];

/// Files that pin what is installed.
const LOCKS: &[&str] = &[
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "bun.lockb",
    "deno.lock",
    "cargo.lock",
    "poetry.lock",
    "pdm.lock",
    "uv.lock",
    "pipfile.lock",
    "conda-lock.yml",
    "go.sum",
    "gemfile.lock",
    "composer.lock",
    "mix.lock",
    "pubspec.lock",
    "packages.lock.json",
    "gradle.lockfile",
    "flake.lock",
];

/// Files that a service for continuous integration runs.
const CI: &[&str] = &[
    ".gitlab-ci.yml",
    ".gitlab-ci.yaml",
    ".travis.yml",
    ".drone.yml",
    ".cirrus.yml",
    ".woodpecker.yml",
    "appveyor.yml",
    "azure-pipelines.yml",
    "bitbucket-pipelines.yml",
    "cloudbuild.yaml",
    "jenkinsfile",
];

/// Directories of such files; of two names, the second one stands in the first.
const CI_DIRECTORIES: &[(&str, &str)] = &[
    (".github", "workflows"),
    (".github", "actions"),
    (".forgejo", "workflows"),
    (".gitea", "workflows"),
    (".circleci", ""),
    (".buildkite", ""),
    (".woodpecker", ""),
    (".ci", ""),
];

/// Files out of which package tools, build tools and interpreters run something.
const SCRIPTS: &[&str] = &[
    "package.json",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    ".pnpmfile.cjs",
    "binding.gyp",
    "setup.py",
    "setup.cfg",
    "pyproject.toml",
    "conftest.py",
    "noxfile.py",
    "sitecustomize.py",
    "usercustomize.py",
    "pip.conf",
    "tox.ini",
    "build.rs",
    "makefile",
    "gnumakefile",
    "cmakelists.txt",
    "justfile",
    "rakefile",
    "gemfile",
    "composer.json",
    "build.gradle",
    "build.gradle.kts",
    "pom.xml",
    "dockerfile",
    ".pre-commit-config.yaml",
    ".gdbinit",
    ".vimrc",
    ".exrc",
];

/// Files and directories that editors and agents act on.
const TOOLS: &[&str] = &[
    ".vscode",
    ".idea",
    ".devcontainer",
    ".cursor",
    ".cursorrules",
    ".claude",
    ".codex",
    ".mcp.json",
    "mcp.json",
    "agents.md",
    "claude.md",
    ".editorconfig",
];

/// Files of `.git`, or at the top of a tree, from which git takes what it runs.
const GIT_FILES: &[&str] = &[".gitmodules", ".gitattributes", ".gitconfig"];

/// What is in a directory of git's from which git takes what it runs, or where to find that.
const GIT_RUNS: &[&str] =
    &["hooks", "config", "config.worktree", "info", "modules", "commondir", "worktrees"];

/// All hazards of a change, each once, in their order.
pub fn hazards(
    path: &str,
    before: Option<&FileFacts>,
    after: Option<&FileFacts>,
    links: u64,
) -> Vec<Hazard> {
    let mut found = Vec::new();
    if let Some(after) = after {
        by_facts(path, before, after, links, &mut found);
    }
    by_name(&path.to_ascii_lowercase(), &mut found);
    found.sort_unstable();
    found.dedup();
    found
}

fn by_facts(
    path: &str,
    before: Option<&FileFacts>,
    after: &FileFacts,
    links: u64,
    found: &mut Vec<Hazard>,
) {
    let runs = |facts: &FileFacts| facts.kind == FileKind::File && facts.mode & 0o111 != 0;
    // Other bytes in a file that could be executed before are as good as a new program.
    let same_bytes = before.is_some_and(|before| {
        runs(before) && before.sha256.is_some() && before.sha256 == after.sha256
    });
    if runs(after) && !same_bytes {
        found.push(Hazard::Executable);
    }
    if after.mode & 0o6000 != 0 && after.kind != FileKind::Directory {
        found.push(Hazard::SetId);
    }
    match after.kind {
        FileKind::SymbolicLink => {
            found.push(Hazard::SymbolicLink);
            let target = after.target.as_deref().unwrap_or("/");
            if leads_out(path, target) {
                found.push(Hazard::LinkLeadsOut);
            }
        }
        FileKind::File if links > 1 => found.push(Hazard::HardLink),
        FileKind::Other => found.push(Hazard::SpecialFile),
        FileKind::File | FileKind::Directory => {}
    }
}

fn by_name(path: &str, found: &mut Vec<Hazard>) {
    let components: Vec<&str> = path.split('/').collect();
    let Some((name, parents)) = components.split_last() else { return };
    let among = |directory: &str| parents.contains(&directory);
    if in_git(&components) || GIT_FILES.contains(name) {
        found.push(Hazard::GitHook);
    }
    if SHELL.contains(name) {
        found.push(Hazard::ShellStartUp);
    }
    if LOCKS.contains(name) {
        found.push(Hazard::LockFile);
    }
    let in_ci = CI_DIRECTORIES.iter().any(|(outer, inner)| {
        let mut pairs = components.iter().zip(components.iter().skip(1));
        if inner.is_empty() {
            among(outer)
        } else {
            pairs.any(|(one, two)| one == outer && two == inner)
        }
    });
    if CI.contains(name) || in_ci {
        found.push(Hazard::Ci);
    }
    if components.contains(&".ssh") {
        found.push(Hazard::Ssh);
    }
    if SCRIPTS.contains(name) || name.ends_with(".pth") {
        found.push(Hazard::PackageScript);
    }
    if components.iter().any(|component| TOOLS.contains(component)) {
        found.push(Hazard::ToolSettings);
    }
}

/// In `.git`, or in a directory that git takes for one by its name: hooks, and what its settings name. Such a
/// directory may stand in another one.
fn in_git(components: &[&str]) -> bool {
    components.iter().enumerate().any(|(place, component)| {
        component.ends_with(".git")
            // The directory itself, or a file that names another one.
            && components.get(place + 1).is_none_or(|first| GIT_RUNS.contains(first))
    })
}

/// Directories that git takes for repositories whatever they are called, for of what is in them: what runs there runs as
/// soon as somebody who stands there calls git.
pub struct Repositories(HashSet<String>);

impl Repositories {
    /// Those among all paths of a workspace.
    pub fn among<'p>(paths: impl Iterator<Item = &'p String>) -> Self {
        let mut found: HashMap<String, (bool, bool)> = HashMap::new();
        for path in paths {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let is = |names: &[&str]| names.iter().any(|each| name.eq_ignore_ascii_case(each));
            // Settings of its own, or where to find them.
            let (head, settings) = (is(&["head"]), is(&["config", "commondir"]));
            if head || settings {
                let seen = found.entry(parent.to_ascii_lowercase()).or_default();
                seen.0 |= head;
                seen.1 |= settings;
            }
        }
        let whole = found.into_iter().filter(|(_, seen)| *seen == (true, true));
        Self(whole.map(|(path, _)| path).collect())
    }

    /// Whether git takes what it runs from this path.
    pub fn run_something_at(&self, path: &str) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let path = path.to_ascii_lowercase();
        let mut ends = path.match_indices('/').map(|(at, _)| at);
        let inner = |rest: &str| {
            let first = rest.split('/').next().unwrap_or_default();
            first == "head" || GIT_RUNS.contains(&first)
        };
        (self.0.contains("") && inner(&path))
            || ends.any(|at| {
                path.split_at_checked(at).is_some_and(|(directory, rest)| {
                    self.0.contains(directory) && inner(rest.trim_start_matches('/'))
                })
            })
    }
}

/// Whether the words of a link lead out of the workspace, or may: a name on its way may itself be a link to somewhere
/// higher up, so that what goes up again after it is not counted on.
fn leads_out(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    climbs_out(path.matches('/').count(), target)
}

/// Whether a relative link's words, from a directory so deep, go up further than that, or go up after a name.
pub fn climbs_out(mut depth: usize, target: &str) -> bool {
    let mut named = false;
    for component in target.split('/') {
        match component {
            "" | "." => {}
            ".." if named => return true,
            ".." => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            _ => named = true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(kind: FileKind, mode: u32, target: Option<&str>) -> FileFacts {
        FileFacts {
            kind,
            size: 0,
            mode,
            modified_at: String::new(),
            inode: 1,
            target: target.map(str::to_owned),
            sha256: Some("00".to_owned()),
        }
    }

    fn of(path: &str) -> Vec<Hazard> {
        hazards(path, None, Some(&facts(FileKind::File, 0o644, None)), 1)
    }

    #[test]
    fn names_that_something_acts_on_are_told_wherever_they_stand() {
        for (path, hazard) in [
            (".git/hooks/pre-commit", Hazard::GitHook),
            ("a/b/.GIT/Hooks/post-checkout", Hazard::GitHook),
            ("sub/.git", Hazard::GitHook),
            ("bare.git/hooks/update", Hazard::GitHook),
            (".git/config", Hazard::GitHook),
            (".gitmodules", Hazard::GitHook),
            (".bashrc", Hazard::ShellStartUp),
            ("x/.envrc", Hazard::ShellStartUp),
            ("package-lock.json", Hazard::LockFile),
            ("web/Cargo.lock", Hazard::LockFile),
            (".github/workflows/x.yml", Hazard::Ci),
            ("a/.GitHub/Workflows/x.yml", Hazard::Ci),
            (".circleci/config.yml", Hazard::Ci),
            ("Jenkinsfile", Hazard::Ci),
            (".ssh/authorized_keys", Hazard::Ssh),
            (".ssh", Hazard::Ssh),
            ("x.git/y/.git/config", Hazard::GitHook),
            (".git/objects/.git/hooks/x", Hazard::GitHook),
            (".git/commondir", Hazard::GitHook),
            (".git/worktrees/x/config.worktree", Hazard::GitHook),
            ("package.json", Hazard::PackageScript),
            ("lib/evil.pth", Hazard::PackageScript),
            (".vscode/tasks.json", Hazard::ToolSettings),
        ] {
            assert!(of(path).contains(&hazard), "{path}: {:?}", of(path));
        }
        for path in ["a", "src/main.rs", ".git/objects/ab/cd", "hooks/pre-commit", "sshd", "ci/x"] {
            assert_eq!(of(path), [], "{path}");
        }
    }

    #[test]
    fn what_stands_there_is_told_besides() {
        let told = |path, kind, mode, target, links| {
            hazards(path, None, Some(&facts(kind, mode, target)), links)
        };
        assert_eq!(told("a", FileKind::File, 0o755, None, 1), [Hazard::Executable]);
        assert_eq!(told("a", FileKind::File, 0o4644, None, 2), [Hazard::SetId, Hazard::HardLink]);
        assert_eq!(told("a", FileKind::Directory, 0o2755, None, 3), []);
        assert_eq!(told("a", FileKind::Other, 0o644, None, 1), [Hazard::SpecialFile]);
        let link = |path, target| told(path, FileKind::SymbolicLink, 0o777, Some(target), 1);
        assert_eq!(link("a/b", "../c"), [Hazard::SymbolicLink]);
        for target in ["/etc/passwd", "../../c", "x/../../../c", "s/s/../../etc/x", "s/../c"] {
            assert_eq!(
                link("a/b", target),
                [Hazard::SymbolicLink, Hazard::LinkLeadsOut],
                "{target}"
            );
        }
        // What could be executed before, with the same bytes, is nothing new.
        let before = facts(FileKind::File, 0o755, None);
        assert_eq!(hazards("a", Some(&before), Some(&before), 1), []);
    }

    #[test]
    fn what_is_gone_is_told_by_its_name() {
        let before = facts(FileKind::File, 0o755, None);
        assert_eq!(hazards("Cargo.lock", Some(&before), None, 1), [Hazard::LockFile]);
    }
}
