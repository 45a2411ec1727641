//! Output is kept to a limit, can be read from any offset while it is made and afterwards, and never
//! costs an execution its result.

use supervisor_api::{Content, ErrorCode, LimitsRequest, State, Stream, SubmitRequest};
use supervisor_tests::{
    AGENT, Selection, World, argv, bash, milliseconds, python, resident_bytes, slowness,
};

fn with_output_limit(request: SubmitRequest, bytes: u64) -> SubmitRequest {
    let limits = LimitsRequest { output_bytes: Some(bytes), ..request.limits };
    SubmitRequest { limits, ..request }
}

/// RS-12. A limit of a megabyte, half a gigabyte on each stream: the payload is never held up, and
/// what was cut is counted to the byte.
#[test]
fn a_flood_of_output_is_cut_counted_and_holds_nobody_up() {
    const KEPT: u64 = 1 << 20;
    let flood = 200_000_000 / u64::from(slowness()).pow(2);
    let world = World::alone();
    let agent = world.agent(AGENT);
    let script =
        format!("yes AAAAAAA | head -c {flood}; yes EEEEEEE | head -c {flood} >&2; exit 5");
    let before = resident_bytes(world.daemon_pid());
    let execution = agent.finished(agent.start(&with_output_limit(bash(&script), KEPT)));
    let grown = resident_bytes(world.daemon_pid()).saturating_sub(before);
    assert!(grown < 16 << 20, "the daemon grew by {grown} bytes");
    assert_eq!(execution.outcome, Some(supervisor_api::Outcome::Exited { code: 5 }));
    for summary in [execution.output.stdout, execution.output.stderr] {
        assert_eq!((summary.kept, summary.cut), (KEPT, flood - KEPT));
    }
    for (selection, letter) in [(Selection::Stdout, b'A'), (Selection::Stderr, b'E')] {
        let bytes = agent.output(execution.id, selection, 0).expect("kept");
        let (kept, marker) = bytes.split_at(KEPT as usize);
        assert!(kept.iter().all(|byte| [letter, b'\n'].contains(byte)));
        let marker = String::from_utf8_lossy(marker);
        let said = format!("{} bytes cut, limit output_bytes = {KEPT}]", flood - KEPT);
        assert!(marker.contains(&said), "{marker}");
    }
    let stored = disk_usage(&world.state().join("executions").join(execution.id.to_string()));
    assert!(stored < 4 << 20, "{stored} bytes are stored for two megabytes");
}

/// RS-13.
#[test]
fn a_child_that_keeps_standard_output_open_does_not_keep_the_result() {
    let world = World::open();
    let script = "(sleep 300 >&1 2>&1 &); (exec 3>&1; sleep 300 1>/dev/null 3>&3 &); echo done";
    let ended = world.agent(AGENT).run(&bash(script));
    ended.expect_exit(0);
    assert_eq!(ended.stdout, "done\n");
    assert!(ended.execution.usage.wall_ms < milliseconds(30_000), "they were waited for");
}

/// Whoever follows gets the bytes while they are made: the payload waits for a byte of the answer to
/// its first line before it says the second.
#[test]
fn output_is_seen_while_the_payload_runs() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo first; sleep 300; echo second"));
    let mut follow = agent.follow(id, Selection::Stdout, 0).expect("it can be followed");
    follow.until_it_says("first\n");
    assert_eq!(agent.status(id, 0).expect("it is ours").state, State::Running);
    agent.cancel(id).expect("it is ours");
    assert_eq!(follow.to_the_end().expect("an end"), b"");
}

/// A reader that is cut off at any byte goes on from there and has everything once.
#[test]
fn a_reader_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let source = "
import sys, time
for number in range(4000):
    (sys.stdout if number % 3 else sys.stderr).write(f'{number}\\n')
    if number % 100 == 0:
        sys.stdout.flush()
        sys.stderr.flush()
        time.sleep(0.002)
";
    let id = agent.start(&python(source));
    let (mut offset, mut stdout, mut stderr) = (0, Vec::new(), Vec::new());
    // Every connection is left in the middle, after one chunk; the last one ends by itself.
    loop {
        let mut follow = agent.follow(id, Selection::Both, offset).expect("it can be followed");
        let Some(chunk) = follow.chunk().expect("a chunk") else { break };
        assert_eq!(chunk.offset, offset);
        offset += chunk.data.0.len() as u64;
        match chunk.stream {
            Stream::Stdout => stdout.extend(chunk.data.0),
            Stream::Stderr => stderr.extend(chunk.data.0),
        }
    }
    let lines = |wanted: fn(&u32) -> bool| -> String {
        (0..4000).filter(wanted).map(|number| format!("{number}\n")).collect()
    };
    assert_eq!(String::from_utf8_lossy(&stdout), lines(|number| number % 3 != 0));
    assert_eq!(String::from_utf8_lossy(&stderr), lines(|number| number % 3 == 0));
    let mut again = agent.follow(id, Selection::Both, 0).expect("it can be followed");
    assert_eq!(again.both_to_the_end(0).expect("an end"), (stdout.clone(), stderr));
    for offset in [0, 1, 4095, stdout.len() - 1, stdout.len(), stdout.len() + 99] {
        let rest = agent.output(id, Selection::Stdout, offset as u64).expect("kept");
        assert_eq!(rest, stdout[offset.min(stdout.len())..], "from {offset}");
    }
}

#[test]
fn bytes_that_are_no_text_come_out_as_they_went_in() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let request = SubmitRequest { stdin: Some(Content(bytes.clone())), ..argv(&["cat"]) };
    let id = agent.finished(agent.start(&request)).id;
    assert_eq!(agent.output(id, Selection::Stdout, 0).expect("kept"), bytes);
    let mut both = agent.follow(id, Selection::Both, 0).expect("it can be followed");
    assert_eq!(both.both_to_the_end(0).expect("an end").0, bytes);
}

/// Ten megabytes of standard input to a program that reads none of it, or only the first line.
#[test]
fn standard_input_that_nobody_reads_holds_nobody_up() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let input = Some(Content(b"line\n".repeat(2_000_000)));
    for (program, expected) in [("true", ""), ("head", "line\n")] {
        let request = SubmitRequest { stdin: input.clone(), ..argv(&[program, "-n1"]) };
        let ended = agent.run(&request);
        ended.expect_exit(0);
        assert_eq!(ended.stdout, expected);
    }
    let whole = agent.run(&SubmitRequest { stdin: input, ..argv(&["wc", "-c"]) });
    assert_eq!(whole.stdout, "10000000\n");
    assert_eq!(agent.run(&argv(&["cat"])).stdout, "", "without input there is its end");
}

#[test]
fn an_execution_without_output_ends_for_its_followers_too() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&argv(&["true"]));
    for selection in [Selection::Stdout, Selection::Stderr, Selection::Both] {
        let mut follow = agent.follow(id, selection, 0).expect("it can be followed");
        assert_eq!(follow.to_the_end().expect("an end"), b"");
    }
    let unknown = "ex-aaaaaaaaaaaaaaaaaaaaaaaaaa".parse().expect("an id");
    let error = agent.output(unknown, Selection::Both, 0).expect_err("unknown");
    assert_eq!(error.code, ErrorCode::NotFound);
}

/// A slow reader gets everything, and nobody waits for it.
#[test]
fn a_reader_that_takes_nothing_holds_nobody_up() {
    let world = World::open();
    let agent = world.agent(AGENT);
    let id = agent.start(&bash("echo up; yes | head -c 8000000"));
    let mut idle = agent.follow(id, Selection::Stdout, 0).expect("it can be followed");
    let ended = agent.ended(id);
    ended.expect_exit(0);
    assert_eq!(ended.stdout.len(), 8_000_003);
    assert_eq!(idle.to_the_end().expect("an end").len(), 8_000_003);
}

fn disk_usage(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => disk_usage(&entry.path()),
            _ => entry.metadata().map_or(0, |found| found.len()),
        })
        .sum()
}
