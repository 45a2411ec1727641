//! What a caller does until the daemon dies under it, and what it was told by then.

use std::io::{self, ErrorKind};
use std::process::Command;
use std::thread::{self, JoinHandle};

use serde::de::DeserializeOwned;
use supervisor_api::{
    ArtifactRequest, ChangesMode, Content, Execution, ExecutionId, InputFile, LimitsRequest,
    Outcome, Session, SessionId, State, Stream, SubmitRequest,
};
use supervisor_tests::{Client, Follow, Selection, bash, python};

/// Bytes of standard input: more than a pipe holds.
const INPUT: usize = 200_000;

/// Bytes of output that are kept of the one that says too much.
pub const KEPT: usize = 65_536;

/// Seconds of an execution that is waited for in silence: more than it takes to be recorded, on a disk at rest.
pub const SLOW: f32 = 0.2;

/// Executions of every kind: what they are asked to do, and how each has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Has a sandbox parked for those like it.
    First,
    /// Says lines on both streams for a while.
    Talker,
    /// Runs into its wall time.
    Timed,
    /// Runs until it is cancelled.
    Cancelled,
    /// Takes input and a file, and leaves artifacts.
    Maker,
    /// Uses what a session holds, and adds to it.
    Within,
    /// Says more than is kept.
    Flood,
    /// Is like the first, and takes the sandbox that is parked for it if there is one by now.
    Second,
}

/// An execution whose id was told.
pub struct Told {
    pub id: ExecutionId,
    pub kind: Kind,
    /// It was seen to be past its start.
    pub started: bool,
    /// It was seen to have all of its input.
    pub fed: bool,
    /// Its end, if that was told.
    pub end: Option<Execution>,
}

/// A session whose id was told.
pub struct Held {
    pub id: SessionId,
    /// What was said to be in its workspace: name and bytes.
    pub files: Vec<(&'static str, Vec<u8>)>,
    /// Whether its end was asked for, and told.
    pub closing: Option<bool>,
}

/// What was told.
#[derive(Default)]
pub struct Story {
    pub executions: Vec<Told>,
    pub sessions: Vec<Held>,
    /// Whoever follows the talker's output, and what it was given.
    follower: Option<JoinHandle<Vec<(Stream, u8)>>>,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::First,
        Self::Talker,
        Self::Timed,
        Self::Cancelled,
        Self::Maker,
        Self::Within,
        Self::Flood,
        Self::Second,
    ];

    pub fn request(self, session: Option<SessionId>) -> SubmitRequest {
        let limits = LimitsRequest::default();
        match self {
            Kind::First | Kind::Second => python("print('same')\nraise SystemExit(8)"),
            Kind::Talker => bash(
                "for i in $(seq 30); do echo out $i; echo err $i >&2; sleep 0.01; done; exit 4",
            ),
            Kind::Timed => SubmitRequest {
                limits: LimitsRequest { wall_time: Some(1000), ..limits },
                ..bash("echo up; exec sleep 60")
            },
            Kind::Cancelled => SubmitRequest {
                limits: LimitsRequest { wall_time: Some(600_000), ..limits },
                ..bash("echo up; exec sleep 600")
            },
            Kind::Maker => SubmitRequest {
                stdin: Some(Content(vec![b'x'; INPUT])),
                files: vec![InputFile {
                    path: "in/word".to_owned(),
                    content: Content(b"word".to_vec()),
                    executable: false,
                }],
                artifacts: ArtifactRequest { globs: vec!["a*".to_owned()] },
                ..bash(
                    "cat >copy; echo fed; for i in 1 2 3; do head -c 50000 copy >a$i; done; \
                     cat in/word; exit 7",
                )
            },
            Kind::Within => SubmitRequest {
                session,
                changes: Some(ChangesMode::Record),
                ..bash("cat data; echo more >>log; exit 3")
            },
            Kind::Flood => SubmitRequest {
                limits: LimitsRequest { output_bytes: Some(KEPT as u64), ..limits },
                ..bash("head -c 300000 /dev/zero | tr '\\0' x; echo end >&2; exit 2")
            },
        }
    }

    /// How it ends, whatever happens to the daemon.
    pub fn outcome(self) -> Outcome {
        match self {
            Kind::First | Kind::Second => Outcome::Exited { code: 8 },
            Kind::Talker => Outcome::Exited { code: 4 },
            Kind::Timed => Outcome::TimedOut,
            Kind::Cancelled => Outcome::Cancelled,
            Kind::Maker => Outcome::Exited { code: 7 },
            Kind::Within => Outcome::Exited { code: 3 },
            Kind::Flood => Outcome::Exited { code: 2 },
        }
    }

    /// What is kept of its output.
    pub fn output(self) -> (String, String) {
        let lines = |word| (1..=30).map(|number| format!("{word} {number}\n")).collect();
        match self {
            Kind::First | Kind::Second => ("same\n".to_owned(), String::new()),
            Kind::Talker => (lines("out"), lines("err")),
            Kind::Timed | Kind::Cancelled => ("up\n".to_owned(), String::new()),
            Kind::Maker => ("fed\nword".to_owned(), String::new()),
            Kind::Within => ("forty-two".to_owned(), String::new()),
            Kind::Flood => ("x".repeat(KEPT), "end\n".to_owned()),
        }
    }
}

impl Story {
    /// Does one thing of every kind, until all of it is done or the daemon is dead.
    pub fn tell(client: &Client) -> Self {
        Self::tell_until(client, None, SLOW)
    }

    /// The same, no further than this has started; what is waited for in silence takes so long.
    pub fn tell_until(client: &Client, last: Option<Kind>, slow: f32) -> Self {
        let mut story = Self::default();
        if let Err(error) = story.go_on(client, last, slow) {
            let kinds = [
                ErrorKind::UnexpectedEof,
                ErrorKind::ConnectionReset,
                ErrorKind::ConnectionRefused,
                ErrorKind::BrokenPipe,
                ErrorKind::NotFound,
            ];
            assert!(kinds.contains(&error.kind()), "{error}");
        }
        story
    }

    /// What whoever followed was given. The daemon has to be dead, or the talker done.
    pub fn followed(&mut self) -> Vec<(Stream, u8)> {
        self.follower.take().map(|each| each.join().expect("it only reads")).unwrap_or_default()
    }

    fn go_on(&mut self, client: &Client, last: Option<Kind>, slow: f32) -> io::Result<()> {
        self.open_session(client)?;
        self.open_session(client)?;
        self.fill(client)?;
        for kind in Kind::ALL {
            self.submit(client, kind)?;
            if last == Some(kind) {
                return Ok(());
            }
        }
        for script in ["echo quick; exit 5", &format!("sleep {slow}; echo slow; exit 6")] {
            let request = SubmitRequest { wait: true, ..bash(script) };
            let body = serde_json::to_vec(&request)?;
            done(client, "POST", "/v1/executions", Some(&body))?;
        }
        let cancelled = self.executions.iter().find(|told| told.kind == Kind::Cancelled);
        if let Some(cancelled) = cancelled.map(|told| told.id) {
            let target = format!("/v1/executions/{cancelled}/cancel");
            done(client, "POST", &target, None)?;
        }
        self.see_ends(client)?;
        self.close_session(client)
    }

    fn open_session(&mut self, client: &Client) -> io::Result<()> {
        let session: Session = ask(client, "POST", "/v1/sessions", Some(b"{}"))?;
        self.sessions.push(Held { id: session.id, files: Vec::new(), closing: None });
        Ok(())
    }

    /// Puts a file and an archive into the first session, and moves its end.
    fn fill(&mut self, client: &Client) -> io::Result<()> {
        let Some(held) = self.sessions.first_mut() else { return Ok(()) };
        let target = format!("/v1/sessions/{}", held.id);
        done(client, "PUT", &format!("{target}/files/data"), Some(b"forty-two"))?;
        held.files.push(("data", b"forty-two".to_vec()));
        let archive = archive();
        done(client, "PUT", &format!("{target}/archive"), Some(&archive))?;
        held.files.extend([("one", b"1".to_vec()), ("two", b"22".to_vec())]);
        done(client, "POST", &format!("{target}/extend"), Some(b"{\"time_to_live\":7200}"))?;
        Ok(())
    }

    /// Submits, and sees it start.
    fn submit(&mut self, client: &Client, kind: Kind) -> io::Result<()> {
        let session = self.sessions.first().map(|held| held.id);
        let body = serde_json::to_vec(&kind.request(session))?;
        let execution: Execution = ask(client, "POST", "/v1/executions", Some(&body))?;
        let id = execution.id;
        self.executions.push(Told { id, kind, started: false, fed: false, end: None });
        if kind == Kind::Talker {
            let follow = client.follow(id, Selection::Both, 0)?;
            self.follower = Some(thread::spawn(|| all_of(follow)));
        }
        let Some(told) = self.executions.last_mut() else { return Ok(()) };
        let mut follow = client.follow(id, Selection::Stdout, 0)?;
        let mut text = Vec::new();
        while let Some(bytes) = follow.bytes()? {
            text.extend(bytes);
            told.started = true;
            told.fed = kind != Kind::Maker || text.starts_with(b"fed");
            if told.fed {
                break;
            }
        }
        Ok(())
    }

    fn see_ends(&mut self, client: &Client) -> io::Result<()> {
        for told in &mut self.executions {
            let target = format!("/v1/executions/{}?wait=60", told.id);
            let execution: Execution = ask(client, "GET", &target, None)?;
            assert_eq!(execution.state, State::Finished, "{execution:?}");
            told.end = Some(execution);
            let target = format!("/v1/executions/{}/artifacts", told.id);
            done(client, "GET", &target, None)?;
        }
        Ok(())
    }

    fn close_session(&mut self, client: &Client) -> io::Result<()> {
        let Some(held) = self.sessions.get_mut(1) else { return Ok(()) };
        held.closing = Some(false);
        done(client, "DELETE", &format!("/v1/sessions/{}", held.id), None)?;
        held.closing = Some(true);
        Ok(())
    }
}

/// All that a follower is given, until the end or until the daemon is dead.
pub fn all_of(mut follow: Follow) -> Vec<(Stream, u8)> {
    let mut all = Vec::new();
    while let Ok(Some(chunk)) = follow.chunk() {
        assert_eq!(chunk.offset, all.len() as u64, "a byte is missing or comes twice");
        all.extend(chunk.data.0.into_iter().map(|byte| (chunk.stream, byte)));
    }
    all
}

/// An archive with two files.
fn archive() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("one"), "1").expect("written");
    std::fs::write(directory.path().join("two"), "22").expect("written");
    let mut tar = Command::new("tar");
    let output = tar.arg("-cC").arg(directory.path()).args(["one", "two"]).output();
    output.expect("tar is needed by this test").stdout
}

/// One call of whose answer nothing is of interest but that it is no refusal.
fn done(client: &Client, method: &str, target: &str, body: Option<&[u8]>) -> io::Result<()> {
    ask::<serde_json::Value>(client, method, target, body).map(drop)
}

/// One call, whose answer is never a refusal.
fn ask<T: DeserializeOwned>(
    client: &Client,
    method: &str,
    target: &str,
    body: Option<&[u8]>,
) -> io::Result<T> {
    let reply = client.call(method, target, body)?;
    assert!(reply.status < 300, "{method} {target}: {:?}", reply.problem());
    serde_json::from_slice(&reply.body).map_err(io::Error::other)
}
