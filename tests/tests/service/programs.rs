//! What people run: interpreters, compilers and tools of the host, through the whole jail. The image
//! is the host's /usr, so these need python3, node, gcc and git there. What pip installs is not here.

use supervisor_api::{ArtifactRequest, LimitsRequest, SubmitRequest};
use supervisor_tests::{AGENT, World, bash, node, python};

/// SY-14.
#[test]
fn python_runs_processes_databases_servers_and_loops() {
    let world = World::open();
    let ended = world.agent(AGENT).run(&python(include_str!("../payloads/compatible.py")));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "alarm\n4 compatible\n", "{}", ended.stderr);
}

#[test]
fn node_runs_servers_threads_and_children() {
    let world = World::open();
    let limits = LimitsRequest { memory_max: Some(1 << 30), ..LimitsRequest::default() };
    let request = node(include_str!("../payloads/compatible.js"));
    let ended = world.agent(AGENT).run(&SubmitRequest { limits, ..request });
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "served thread compatible\n", "{}", ended.stderr);
}

#[test]
fn bash_runs_pipelines_jobs_and_traps() {
    let world = World::open();
    let script = "
        set -euo pipefail
        trap 'echo bye' EXIT
        seq 1000 | sort -rn | awk '{ sum += $1 } END { print sum }'
        sleep 0 & wait $!
        diff <(echo same) <(echo same)
        mkdir -p a/b; echo x | tee a/b/c | xz | xzcat
        find a -type f -exec sha256sum {} + | cut -c1-8
        tar -cf t.tar a && tar -tf t.tar | tail -1
        printf '%s\\n' \"${BASH_VERSION:+bash}\"";
    let ended = world.agent(AGENT).run(&bash(script));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "500500\nx\n73cb3858\na/b/c\nbash\nbye\n", "{}", ended.stderr);
}

#[test]
fn a_c_program_is_compiled_and_run() {
    let world = World::open();
    let script = "
        cat >sum.c <<'END'
#include <pthread.h>
#include <stdio.h>
static long total;
static void *add(void *most) { for (long n = 0; n <= *(long *)most; n++) total += n; return 0; }
int main(void) {
    pthread_t thread;
    long most = 100;
    if (pthread_create(&thread, 0, add, &most) || pthread_join(thread, 0)) return 1;
    printf(\"%ld\\n\", total);
    return 0;
}
END
        gcc -O2 -Wall -pthread -o sum sum.c && ./sum && strip sum && ./sum && ls -l sum | cut -c1-4";
    let artifacts = ArtifactRequest { globs: vec!["sum".to_owned()] };
    let ended = world.agent(AGENT).run(&SubmitRequest { artifacts, ..bash(script) });
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "5050\n5050\n-rwx\n", "{}", ended.stderr);
    let kept = world.agent(AGENT).artifact(ended.execution.id, "sum").expect("kept");
    assert!(kept.starts_with(b"\x7fELF"));
}

#[test]
fn git_makes_clones_and_walks_a_history() {
    let world = World::open();
    let script = "
        set -e
        export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
        git init -q -b main here && cd here
        for number in $(seq 20); do
            echo $number >>log && git add log && git commit -q -m \"number $number\"
        done
        git checkout -q -b side HEAD~5 && echo x >other && git add other && git commit -q -m side
        git checkout -q main && git merge -q -m merged side
        cd .. && git clone -q here there && cd there
        git rev-list --count HEAD
        git log --format=%s --reverse | head -2
        git blame -s log | wc -l
        git gc -q && git fsck --strict 2>&1 | grep -c error || true";
    let ended = world.agent(AGENT).run(&bash(script));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "22\nnumber 1\nnumber 2\n20\n0\n", "{}", ended.stderr);
}
