//! The profile that has Unix sockets.

use supervisor_api::SubmitRequest;
use supervisor_tests::{AGENT, Settings, World, attack};

/// With the profile that has Unix sockets, programs talk to each other by paths of their own.
#[test]
fn a_policy_with_unix_sockets_gives_those_of_the_workspace_and_none_of_the_hosts() {
    let default = include_str!("../../../policies/default.toml");
    let local = default
        .replace("name = \"default\"", "name = \"local\"")
        .replace("profile = \"default\"", "profile = \"unix-sockets\"");
    let policies =
        vec![("default.toml".to_owned(), default.to_owned()), ("local.toml".to_owned(), local)];
    let world = World::with(Settings { policies, ..Settings::default() });
    let api = world.socket().display().to_string();
    let source = format!(
        "
listener = socket.socket(socket.AF_UNIX)
listener.bind('own')
listener.listen()
attempt('own', lambda: socket.socket(socket.AF_UNIX).connect('own'))
attempt('api', lambda: socket.socket(socket.AF_UNIX).connect({api:?}))
attempt('run', lambda: os.listdir('/run'))
"
    );
    let request = SubmitRequest { policy: Some("local".to_owned()), ..attack(&source) };
    let attempts = world.agent(AGENT).run(&request).attempts();
    attempts.expect_allowed("own");
    attempts.expect_denied("api", &["ENOENT"]);
    assert_eq!(attempts.expect_allowed("run"), "[]");
}
