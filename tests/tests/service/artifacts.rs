//! What is kept of a workspace, and that nothing but the payload's own files ever is.

use sha2::{Digest, Sha256};
use supervisor_api::{
    ArtifactRequest, AuditRecord, Content, ErrorCode, InputFile, LimitsRequest, Outcome,
    SubmitRequest, What,
};
use supervisor_tests::{AGENT, Ended, World, argv, attack, bash, milliseconds, python, until};

fn keeping(request: SubmitRequest, globs: &[&str]) -> SubmitRequest {
    let globs = globs.iter().map(|&glob| glob.to_owned()).collect();
    SubmitRequest { artifacts: ArtifactRequest { globs }, ..request }
}

#[test]
fn artifacts_are_kept_with_size_digest_and_media_type() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import os, struct, zlib
os.makedirs('out/deep/er')
chunk = lambda kind, data: (struct.pack('>I', len(data)) + kind + data
                            + struct.pack('>I', zlib.crc32(kind + data)))
picture = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 1, 1, 8, 0, 0, 0, 0))
picture += chunk(b'IDAT', zlib.compress(b'\\0\\0')) + chunk(b'IEND', b'')
open('out/picture.png', 'wb').write(picture)
open('out/table.csv', 'w').write('a,b\\n1,2\\n')
open('out/deep/er/a name with spaces, ü and %2f', 'w').write('x')
open('out/empty', 'w')
open('left out', 'w').write('x')
";
    let ended = agent.run(&keeping(python(source), &["out/**"]));
    ended.expect_exit(0);
    let list = agent.artifacts(ended.execution.id).expect("it has finished");
    assert_eq!((list.artifacts.len(), list.truncated), (4, false), "{list:?}");
    assert_eq!((ended.execution.artifact_count, ended.execution.artifacts_truncated), (4, false));
    for artifact in &list.artifacts {
        let path = artifact.path.replace('%', "%25").replace(' ', "%20").replace('ü', "%C3%BC");
        let bytes = agent.artifact(ended.execution.id, &path).expect(&path);
        let digest: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((artifact.size, &artifact.sha256), (bytes.len() as u64, &digest), "{path}");
    }
    let media_type = |path| {
        let found = list.artifacts.iter().find(|each| each.path == path).expect(path);
        found.media_type.as_str()
    };
    assert_eq!(media_type("out/picture.png"), "image/png");
    assert!(media_type("out/table.csv").starts_with("text/csv"));
}

/// AR-01.
#[test]
fn no_link_is_ever_followed() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let links = attack(include_str!("../payloads/links.py"));
    let ended = agent.run(&keeping(links, &["out/**", "out/directory/*", "out/sub/up/*"]));
    ended.expect_exit(0);
    assert_eq!(agent.kept(ended.execution.id), ["out/honest", "out/sub/deep"]);
    let refused = agent.refused(ended.execution.id);
    assert!(refused.len() >= 10, "{refused:?}");
    for (path, reason) in &refused {
        let expected = ["symbolic_link", "not_regular_file"].contains(&reason.as_str());
        assert!(expected, "{path}: {reason}");
    }
    for path in [
        "out/absolute",
        "out/chain",
        "out/honest-link",
        "out/directory/canary",
        "out/sub/up/canary",
        "out/../out/honest",
        "out//honest",
        "/etc/passwd",
        "..%2f..%2fpasswd",
        "out%2fabsolute",
        "out/own-directory/deep",
        "",
        "out",
        "out/",
    ] {
        let error = agent.artifact(ended.execution.id, path).expect_err(path);
        assert!([400, 404].contains(&error.status), "{path}: {error:?}");
    }
    assert_eq!(agent.artifact(ended.execution.id, "out/honest").expect("kept"), b"honest");
}

/// AR-02. Nothing is collected before every process is dead, so whatever stood there at that moment
/// is what is kept; and there is nothing to be had while it runs.
#[test]
fn a_payload_that_swaps_files_for_links_does_it_in_vain() {
    let world = World::open();
    let agent = world.agent(AGENT);
    for _ in 0..5 {
        let swap = attack(include_str!("../payloads/swap.py"));
        let id = agent.start(&keeping(swap, &["out/**"]));
        let ended = agent.ended(id);
        ended.expect_exit(0);
        for path in ["out/a", "out/b", "out/d/canary", "out/e/canary"] {
            match agent.artifact(id, path) {
                Ok(bytes) => assert_eq!(bytes, b"benign", "{path}"),
                Err(error) => assert_eq!(error.code, ErrorCode::NotFound, "{path}"),
            }
        }
        let whole = agent.kept(ended.execution.id);
        assert_eq!(whole.len(), 2, "one of each pair is a file: {whole:?}");
    }
    let id = agent.start(&keeping(bash("echo x >a; echo up; exec sleep 300"), &["a"]));
    agent.wait_for_words(id, "up");
    let early = agent.artifacts(id).expect_err("it runs");
    assert_eq!(early.code, ErrorCode::Conflict);
    assert_eq!(agent.artifact(id, "a").expect_err("it runs").code, ErrorCode::Conflict);
}

/// AR-03. A name of a FIFO holds nobody up, whatever is at its other end.
#[test]
fn only_plain_files_with_one_name_are_kept() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let kinds = attack(include_str!("../payloads/kinds.py"));
    let ended = agent.run(&keeping(kinds, &["out/**"]));
    let attempts = ended.attempts();
    attempts.expect_denied("link", &["EXDEV", "EPERM", "EACCES", "EROFS"]);
    attempts.expect_denied("device", &["EPERM"]);
    let refused = agent.refused(ended.execution.id);
    for (path, reason) in
        [("out/one", "hard_link"), ("out/two", "hard_link"), ("out/fifo", "not_regular_file")]
    {
        assert_eq!(refused.get(path).map(String::as_str), Some(reason), "{refused:?}");
    }
    let kept = agent.kept(ended.execution.id);
    assert!(kept.contains(&"out/plain".to_owned()), "{kept:?}");
    assert!(!kept.contains(&"out/socket".to_owned()), "{kept:?}");
}

/// AR-04. What is refused is refused by its size, before a byte of it is read.
#[test]
fn sparse_and_large_files_cost_their_limit_at_the_most() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
os.makedirs('out')
open('out/sparse', 'wb').truncate(1 << 40)
open('out/half', 'wb').write(b'x' * (3 << 20))
open('out/second-half', 'wb').write(b'x' * (3 << 20))
for number in range(10):
    open(f'out/z{number}', 'w').write('small')
";
    let limits = LimitsRequest {
        artifact_bytes: Some(4 << 20),
        artifact_count: Some(5),
        ..LimitsRequest::default()
    };
    let ended = agent.run(&SubmitRequest { limits, ..keeping(attack(source), &["out/*"]) });
    ended.expect_exit(0);
    let list = agent.artifacts(ended.execution.id).expect("it has finished");
    assert!(list.truncated && ended.execution.artifacts_truncated);
    let sum: u64 = list.artifacts.iter().map(|each| each.size).sum();
    assert!(sum <= 4 << 20 && list.artifacts.len() == 5, "{list:?}");
    let refused = agent.refused(ended.execution.id);
    assert_eq!(refused.get("out/sparse").map(String::as_str), Some("artifact_bytes"));
    let counted = refused.values().filter(|reason| *reason == "artifact_count").count();
    assert!(counted >= 5, "{refused:?}");
    assert_eq!(limits_hit(&world, &ended), ["artifact_bytes", "artifact_count"]);
}

/// AR-04. What no limit of the policy is the reason of is not said to be one's, for a larger one would not help.
#[test]
fn what_is_too_deep_to_be_kept_is_recorded_as_that() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "os.makedirs('d/' * 100); open('plain', 'w').write('x')";
    let ended = agent.run(&keeping(attack(source), &["**"]));
    ended.expect_exit(0);
    assert!(ended.execution.artifacts_truncated);
    assert_eq!(agent.kept(ended.execution.id), ["main.py", "plain"]);
    assert_eq!(limits_hit(&world, &ended), ["too_deep"]);
}

/// The limits that the audit log says it reached.
fn limits_hit(world: &World, ended: &Ended) -> Vec<String> {
    let id = ended.execution.id;
    let records = until("its end is in the log", || {
        let page = world.root().audit(&format!("execution={id}")).ok()?;
        let is_end = |record: &AuditRecord| matches!(record.event.what, What::Outcome(_));
        page.records.iter().any(is_end).then_some(page.records)
    });
    let limits = records.into_iter().filter_map(|record| match record.event.what {
        What::Limit(hit) => Some(hit.limit),
        _ => None,
    });
    let mut limits: Vec<_> = limits.collect();
    limits.sort();
    limits
}

/// What a payload leaves is kept however it ended.
#[test]
fn artifacts_of_a_payload_that_failed_are_kept_too() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let failed = agent.run(&keeping(bash("echo x >a; exit 9"), &["a"]));
    failed.expect_exit(9);
    assert_eq!(agent.kept(failed.execution.id), ["a"]);
    let limits = LimitsRequest { wall_time: Some(milliseconds(3000)), ..LimitsRequest::default() };
    let late = SubmitRequest { limits, ..keeping(bash("echo x >a; sleep 300"), &["a"]) };
    let late = agent.run(&late);
    late.expect(&Outcome::TimedOut);
    assert_eq!(agent.kept(late.execution.id), ["a"]);
}

fn upload(name: &str) -> SubmitRequest {
    let content = Content(b"data".to_vec());
    let file = InputFile { path: name.to_owned(), content, executable: false };
    let list = argv(&["find", ".", "-type", "f", "-printf", "%P\\n"]);
    SubmitRequest { files: vec![file], ..list }
}

/// AR-08. A name that is taken is kept exactly as it is spelt.
#[test]
fn a_file_that_is_handed_in_lands_where_it_says_beneath_the_workspace() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let (long, deep) = ("a".repeat(4096), format!("{}b", "a/".repeat(2000)));
    for name in [
        "../x",
        "/abs",
        "a/../../x",
        "a/./b",
        "./a",
        "a//b",
        "",
        ".",
        "..",
        "a\0b",
        "a\nb",
        "a/",
        "out/../../../../root/x",
        &long,
        &deep,
    ] {
        let error = agent.submit(&upload(name)).expect_err(name);
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{name:?}");
        assert!(error.field.is_some_and(|field| field.starts_with("files[0]")), "{name:?}");
    }
    for name in ["\\..\\x", "C:\\x", "~/x", "%2e%2e/x", "proc/1/mem", ".hidden/x", "\u{2025}/x"] {
        let ended = agent.run(&upload(name));
        assert_eq!(ended.stdout, format!("{name}\n"), "{name:?}");
    }
    let both = |first: &str, second: &str| {
        let mut request = upload(first);
        request.files.extend(upload(second).files);
        request
    };
    for (first, second) in [("a", "a"), ("a", "a/b"), ("a/b/c", "a/b")] {
        assert!(agent.submit(&both(first, second)).is_err(), "{first} and {second}");
    }
}

/// What can't be handed in whole is not handed in by half.
#[test]
fn files_past_the_workspaces_limit_fail_the_start_by_name() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let limits = LimitsRequest { workspace_bytes: Some(1 << 20), ..LimitsRequest::default() };
    let content = Content(vec![b'x'; 2 << 20]);
    let file = InputFile { path: "large".to_owned(), content, executable: false };
    let request = SubmitRequest { limits, files: vec![file], ..bash("echo ran") };
    let ended = agent.run(&request);
    let Some(Outcome::SetupFailed { step, reason }) = &ended.execution.outcome else {
        panic!("{ended:?}");
    };
    assert!(step == "write_files" && reason.contains("workspace_bytes"), "{step}: {reason}");
    assert_eq!(ended.stdout, "");
}
